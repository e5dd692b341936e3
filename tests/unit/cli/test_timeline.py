"""Each event of a log is a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from signoff.cli.timeline import Timeline
from signoff.model import EventType


def event(
    kind: str, data: dict[str, Any], *, at: str = "2026-01-01T12:00:00.000000Z", who: str = "ana"
) -> dict[str, Any]:
    return {"seq": 1, "type": kind, "at": at, "actor": {"type": "user", "id": "1", "name": who}, "data": data}


CASES: list[tuple[EventType, dict[str, Any], str, str]] = [
    (EventType.RUN_CREATED, {"workflow": "refund", "version": 2}, "refund v2 started", "by ana"),
    (EventType.STEP_COMPLETED, {"step": "draft", "attempt": 1}, "draft", ""),
    (EventType.STEP_COMPLETED, {"step": "draft", "attempt": 3}, "draft", "attempt 3"),
    (EventType.STEP_FAILED, {"step": "pay", "attempt": 3, "code": "c", "message": "m"}, "pay failed", "c: m"),
    (
        EventType.STEP_RETRY_SCHEDULED,
        {"step": "pay", "attempt": 1, "code": "c", "message": "m", "delay_ms": 2000},
        "pay attempt 1 failed, again in 2s",
        "c: m",
    ),
    (
        EventType.STEP_RETRY_SCHEDULED,
        {"step": "pay", "attempt": 1, "code": "c", "message": "m", "delay_ms": 0},
        "pay attempt 1 failed, again at once",
        "c: m",
    ),
    (
        EventType.GATE_OPENED,
        {"gate": "g", "candidates": {"users": ["max"], "groups": ["leads"]}, "why": "because", "mode": "before"},
        "g asks leads, max",
        "because",
    ),
    (
        EventType.GATE_OPENED,
        {"gate": "g", "candidates": {"users": [], "groups": []}, "why": "always", "mode": "after"},
        "g asks nobody beside the run",
        "always",
    ),
    (EventType.GATE_PASSED, {"gate": "g", "why": "score is 90"}, "g passed by policy", "score is 90"),
    (EventType.GATE_REVISED, {"gate": "g", "revision": 2, "why": "a new draft"}, "g shows revision 2", "a new draft"),
    (EventType.GATE_DECIDED, {"gate": "g", "outcome": "approved", "decided_by": "human"}, "g: approved, by human", ""),
    (
        EventType.GATE_DECIDED,
        {"gate": "g", "outcome": "approved", "decided_by": "human", "edited": ["amount", "reply"]},
        "g: approved, by human",
        "edited amount, reply",
    ),
    (EventType.GATE_REMINDED, {"gate": "g", "overdue": False}, "g reminded its candidates", ""),
    (EventType.GATE_REMINDED, {"gate": "g", "overdue": True}, "g is overdue", ""),
    (
        EventType.GATE_ESCALATED,
        {"gate": "g", "action": "reroute", "to": {"users": [], "groups": ["managers"]}},
        "g rerouted to managers",
        "",
    ),
    (EventType.GATE_TIMED_OUT, {"gate": "g", "action": "reject"}, "g: nobody decided in time", "→ reject"),
    (EventType.HUMAN_TASK_CLAIMED, {"human_task_id": "7"}, "ana claimed approve-refund", ""),
    (EventType.HUMAN_TASK_RELEASED, {"human_task_id": "7"}, "ana released approve-refund", ""),
    (
        EventType.HUMAN_TASK_ASSIGNED,
        {"human_task_id": "7", "assignee": "max"},
        "ana assigned approve-refund to max",
        "",
    ),
    (EventType.HUMAN_TASK_COMMENTED, {"human_task_id": "7", "text": "hm"}, "ana commented on approve-refund", "hm"),
    (
        EventType.DECISION_RECORDED,
        {"gate": "g", "decision": "approve", "note": "fine", "patch": {"amount": "4"}, "reason": "small"},
        "ana said approve at g",
        "edited amount · “fine” · small",
    ),
    (
        EventType.DECISION_RECORDED,
        {"gate": "g", "decision": "withdraw", "withdraws": "1"},
        "ana took the decision on g back",
        "",
    ),
    (
        EventType.DECISION_RECORDED,
        {"gate": "g", "decision_id": "1"},
        "ana decided g",
        "not shown before the gate is decided",
    ),
    (EventType.RUN_COMPLETED, {"outcome": "completed"}, "completed", ""),
    (EventType.RUN_COMPLETED, {"outcome": "rejected"}, "completed", "outcome rejected"),
    (EventType.RUN_FAILED, {"code": "c", "message": "m", "step": "pay"}, "failed at pay", "c: m"),
    (EventType.RUN_CANCELED, {"reason": "twice"}, "canceled", "twice (by ana)"),
    (EventType.RUN_RETRIED, {"from": "draft"}, "ana retried it", "from draft"),
]


@pytest.mark.parametrize(("kind", "data", "what", "detail"), CASES)
def test_an_event_is_a_sentence(kind: EventType, data: dict[str, Any], what: str, detail: str) -> None:
    timeline = Timeline()
    timeline.entry(event("gate.opened", {"gate": "approve-refund", "human_task_id": "7"}))

    entry = timeline.entry(event(kind, data))

    assert (entry.what, entry.detail) == (what, detail)


def test_every_type_of_event_has_a_sentence_here() -> None:
    assert {kind for kind, *_ in CASES} == set(EventType)


def test_a_type_that_a_later_release_adds_is_shown_by_its_name() -> None:
    assert Timeline().entry(event("gate.blessed", {"gate": "g"})).what == "g blessed"
    assert Timeline().entry(event("moon.risen", {})).what == "moon.risen a gate"


def test_escape_sequences_in_a_log_are_made_visible() -> None:
    entry = Timeline().entry(event("run.canceled", {"reason": "\x1b[2J"}, who="\x1b[1m"))

    assert "\x1b" not in entry.what + entry.detail


def test_later_events_have_the_time_since_the_first() -> None:
    timeline = Timeline()
    first = timeline.line(timeline.entry(event("run.created", {"workflow": "w", "version": 1})))
    later = timeline.line(timeline.entry(event("run.completed", {}, at="2026-01-01T12:03:20.000000Z")))

    assert "+" not in first.plain
    assert later.plain.strip().startswith("+3 min 20 s")
