"""Pages of errors: what was typed is on them, a reference is, and nothing of the inside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from tests.integration.inbox.desk import Desk, open_desk

from signoff.errors import Unavailable
from signoff_api.inbox.pages import csrf_token

NOWHERE = "01a20304-6249-76bb-8d5a-b8ac3b7d68a5"


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as opened:
        yield opened


@pytest.fixture
def task(desk: Desk) -> UUID:
    return desk.start("plain", {"amount": "5"})


def test_a_fault_of_ours_has_a_reference_and_tells_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("signoff_api.inbox.lists.list_human_tasks", breaks)
    ana = desk.as_("ana")
    ana.get("/inbox", 500)
    assert ana.response is not None
    reference = ana.response.headers["X-Request-Id"]
    assert f"Reference {reference}" in ana.words
    assert "secret" not in ana.response.text
    assert reference in capsys.readouterr().out
    piece = ana.send("GET", "/inbox", headers={"HX-Request": "true"})
    assert "<html" not in piece.text
    assert "Reference" in piece.text


@pytest.mark.parametrize("where", ["signoff.engine.deciding.decide", "signoff_api.inbox.pages.session_principal"])
def test_what_was_typed_is_on_the_page_that_says_the_database_is_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], task: UUID, where: str
) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Approve", note="long & careful <b>words</b>\u202e")

    def away(*_: Any, **__: Any) -> None:
        raise Unavailable("the database is away")

    monkeypatch.setattr(where, away)
    ana.press("Confirm approve", 503)
    assert ana.response is not None
    assert "What you typed long & careful <b>words</b>⟦U+202E⟧" in ana.words
    reference = ana.response.headers["X-Request-Id"]
    assert f"Reference {reference}" in ana.words
    assert f"reference={reference}" in re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert ana.response.headers["Retry-After"]


@pytest.mark.parametrize("cookie", [True, False])
def test_what_others_sent_in_the_readers_name_is_not_shown_back_to_them(desk: Desk, cookie: bool) -> None:
    # Without a cookie its token can be made by anybody.
    browser = desk.as_("ana") if cookie else desk.browser()
    response = browser.send("POST", f"/inbox/{NOWHERE}/decide", data={"csrf": csrf_token(""), "note": "call 0800-EVIL"})
    assert response.status_code == (403 if cookie else 401)
    assert "0800-EVIL" not in response.text


def test_a_form_of_a_session_that_has_ended_says_so_and_keeps_what_was_typed(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Approve", note="typed before it ended")
    desk.sql("UPDATE sessions SET revoked_at = now() WHERE revoked_at IS NULL")
    ana.press("Confirm approve", 401)
    assert "Sign in again" in ana.words
    assert "typed before it ended" in ana.words
