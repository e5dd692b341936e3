"""Decided human tasks, with what a test does not care for filled in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from signoff.canonical import Json
from signoff.insights.cases import Reviewed, Said

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def later(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def said(decision: str = "approve", *, minutes: float = 10, revision: int = 1, **more: Any) -> Said:
    """A decision, ten minutes after noon."""
    return Said(decision=decision, revision=revision, at=later(minutes), **more)


def task(outcome: str = "approved", *words: Said, shown: Json = None, **more: Any) -> Reviewed:
    """A human task that opened at noon and that one person decided, unless `words` say otherwise."""
    values: dict[str, Any] = {
        "id": UUID(int=1),
        "run_id": UUID(int=2),
        "version": 1,
        "revision": 1,
        "outcome": outcome,
        "decided_by": "human",
        "since": NOON,
        "due_at": None,
        "completed_at": later(10),
        "shown": shown or {},
        "said": words or (said({"rejected": "reject"}.get(outcome, "approve")),),
    }
    return Reviewed(**(values | more))


def timed_out(**more: Any) -> Reviewed:
    return task("rejected", decided_by="timeout", said=(), **more)
