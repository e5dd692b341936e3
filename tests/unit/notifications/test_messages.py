"""What a message says, and what no text in it can do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from signoff.model import EventType
from signoff.notifications.messages import MAX_TITLE, Facts, Templates, plain


def facts(**options: Any) -> Facts:
    given: dict[str, Any] = {
        "kind": EventType.GATE_OPENED,
        "at": datetime(2026, 11, 24, tzinfo=UTC),
        "data": {},
        "actor": "ana",
        "run_id": UUID(int=1),
        "workflow": "refund",
        "human_task_id": UUID(int=2),
        "gate": "ok",
        "title": "Refund",
        "why": "amount > 100",
    }
    return Facts(**(given | options))


def test_a_title_is_one_short_line_whatever_a_template_makes_of_it(tmp_path: Path) -> None:
    (tmp_path / "message.title.txt").write_text("{{ title }}\r\nBcc: eve@example.com\n" + "x" * 500)
    title = Templates(folder=tmp_path).message(facts()).title
    assert title.splitlines() == [title]
    assert len(title) == MAX_TITLE


@pytest.mark.parametrize("text", ["a\r\nb", "a\u2028b", "a\x0bb", "a\x85b", "a\nb"])
def test_text_of_others_is_one_line(text: str) -> None:
    assert len(plain(text).splitlines()) == 1


def test_a_template_reaches_nothing_but_what_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "message.txt").write_text("{{ title.__class__.__base__.__subclasses__() }}")
    assert Templates(folder=tmp_path).message(facts()).text.startswith("Decision needed: Refund")


def test_what_is_recommended_and_when_it_is_due_is_said() -> None:
    due = datetime(2026, 11, 24, 17, 30, tzinfo=UTC)
    said = Templates().message(facts(recommendation={"value": "approve", "score": 0.92}, due_at=due)).text
    assert "Recommended: approve (0.92)" in said
    assert "Due: 24 Nov 2026, 17:30 UTC" in said


def test_a_payload_is_bounded() -> None:
    said = Templates().message(facts(with_payload=True, has_payload=True, payload={"a": ["x" * 50] * 5_000})).text
    assert len(said) < 10_000
