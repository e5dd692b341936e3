"""What time does to a human task: the ladder, the due time, once and never early."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.transitions.desk import Desk
from tests.unit.transitions.graphs import (
    CANCELED,
    COMPLETED,
    FAILED,
    STANDARD,
    escalate,
    gate,
    graph,
    pay,
    remind,
    reroute,
    step,
    take,
)

from signoff.definition.graph import Goto
from signoff.model import DecidedBy, EventType, RunStatus, TaskState

HOUR = 3_600_000


def _asked(payload: Any = None, **options: Any) -> Desk:
    return Desk.opened(graph(gate("ok", "pay", **options), pay(), step("sorry")), payload or {"amount": 5})


def _kinds(desk: Desk) -> list[str]:
    return [str(event.type) for event in desk.log[2:]]


def test_the_ladder_is_climbed_rung_by_rung() -> None:
    desk = _asked(ladder=(remind(HOUR), escalate(2 * HOUR, "managers"), remind(3 * HOUR)))
    for hours, kinds in ((1, ["gate.reminded"]), (2, ["gate.reminded", "gate.escalated"])):
        assert desk.later(hours * HOUR - 1).fire().log[2:] == desk.log[2:] or hours > 1
        assert _kinds(desk.later(hours * HOUR).fire()) == kinds
    late = desk.later(5 * HOUR).fire()
    assert _kinds(late) == ["gate.reminded", "gate.escalated", "gate.reminded"], "a late sweep makes up for all"
    assert late.task.wake_at is None


def test_a_rung_at_or_after_the_due_time_never_comes() -> None:
    desk = _asked(ladder=(remind(HOUR), remind(2 * HOUR)), due=2 * HOUR, on_timeout=take("reject")).later(3 * HOUR)
    assert _kinds(desk.fire()) == ["gate.reminded", "gate.timed_out", "gate.decided", "run.completed"]


def test_escalating_adds_people_and_keeps_the_earlier_ones() -> None:
    desk = _asked(ladder=(escalate(HOUR, "managers", "user:max"),)).later(HOUR).fire()
    assert (desk.task.candidates.groups, desk.task.candidates.users) == (("leads", "managers"), ("max",))


def test_rerouting_hands_the_task_to_others_instead() -> None:
    desk = _asked(ladder=(reroute(HOUR, "managers"),)).claim("ana").later(HOUR).fire()
    assert desk.task.candidates.groups == ("managers",)
    assert desk.task.assignee is None, "who had claimed it is not asked any more"


def test_a_claim_survives_an_escalation() -> None:
    assert _asked(ladder=(escalate(HOUR, "managers"),)).claim("ana").later(HOUR).fire().task.assignee == "ana"


def test_rerouting_to_nobody_leaves_the_task_with_those_who_have_it() -> None:
    desk = _asked({"boss": 3}, ladder=(reroute(HOUR, "{boss.name}"),)).later(HOUR).fire()
    assert desk.task.candidates.groups == ("leads",)
    (event,) = desk.events(EventType.GATE_ESCALATED)
    assert event.data["alarm"] == "reviewers names nobody"


def test_a_due_time_without_on_timeout_decides_nothing() -> None:
    desk = _asked(due=HOUR).later(HOUR).fire()
    assert (desk.status, desk.task.state, desk.task.wake_at) == (RunStatus.WAITING, TaskState.OPEN, None)
    (event,) = desk.events(EventType.GATE_REMINDED)
    assert event.data["overdue"] is True
    assert desk.later(10 * HOUR).fire().log == desk.log
    assert desk.decide("ana", "approve").state.node == "pay", "it can still be decided"


@pytest.mark.parametrize(
    ("on_timeout", "status", "outcome", "node"),
    [
        (take("reject"), RunStatus.COMPLETED, "rejected", "ok"),
        (take("approve"), RunStatus.QUEUED, "approved", "pay"),
        (CANCELED, RunStatus.CANCELED, "timed_out", "ok"),
        (FAILED, RunStatus.FAILED, "timed_out", "ok"),
        (COMPLETED, RunStatus.COMPLETED, "timed_out", "ok"),
        (Goto(node="sorry"), RunStatus.QUEUED, "timed_out", "sorry"),
    ],
)
def test_silence_leads_where_the_gate_says(on_timeout: Any, status: RunStatus, outcome: str, node: str) -> None:
    desk = _asked(due=HOUR, on_timeout=on_timeout).later(HOUR).fire()
    assert (desk.status, desk.state.outcome, desk.state.node) == (status, outcome, node)
    (task,) = desk.tasks
    assert (task.state, task.decided_by, task.outcome) == (TaskState.TIMED_OUT, DecidedBy.TIMEOUT, outcome)
    assert task.decisions == ()
    assert [str(event.type) for event in desk.log[2:4]] == ["gate.timed_out", "gate.decided"]


def test_a_run_that_silence_failed_says_so() -> None:
    desk = _asked(due=HOUR, on_timeout=FAILED).later(HOUR).fire()
    assert desk.state.error is not None
    assert desk.state.error.code == "gate_timed_out"


def test_a_decision_stops_the_clock() -> None:
    desk = _asked(due=HOUR, on_timeout=take("reject"), ladder=(remind(60_000),)).decide("ana", "approve")
    assert desk.later(2 * HOUR).fire(desk.tasks[0]).log == desk.log


def test_a_new_draft_starts_the_clock_again() -> None:
    drafts = graph(
        step("draft", "ok"),
        gate("ok", "pay", options=STANDARD, changes_to="draft", due=2 * HOUR, ladder=(remind(HOUR),)),
        pay(),
    )
    desk = Desk.opened(drafts, {}).complete({"a": 1}).later(HOUR).fire().decide("ana", "request_changes")
    desk = desk.later(HOUR).complete({"a": 2})
    assert (desk.task.wake_at - desk.now).total_seconds() == 3_600
    assert (desk.task.due_at - desk.now).total_seconds() == 7_200


def test_a_due_time_of_the_payloads_own_is_kept() -> None:
    desk = _asked({"hours": 3}, due='{hours > 2 ? "30m" : "2h"}', on_timeout=take("reject"))
    assert (desk.task.due_at - desk.now).total_seconds() == 1_800


def test_a_due_time_that_can_not_be_read_is_none() -> None:
    desk = _asked({"hours": "x"}, due='{hours > 2 ? "30m" : "2h"}', on_timeout=take("reject"))
    assert (desk.task.due_at, desk.task.wake_at) == (None, None)


def test_a_clock_that_goes_back_never_takes_the_log_with_it() -> None:
    desk = _asked(due=HOUR, on_timeout=take("reject")).later(1_000).claim("ana")
    desk = desk.later(-900).decide("ana", "approve")
    moments = [event.at for event in desk.log]
    assert moments == sorted(moments)
