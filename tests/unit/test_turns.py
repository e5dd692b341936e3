"""Whom a gate hands its human task to, in the harness that is shipped for tests of workflows."""

from __future__ import annotations

from signoff import Gate, Workflow, testing

PEOPLE = {"ana": ["leads"], "sam": ["leads"], "max": ["managers"]}


def test_turns_are_taken_by_the_members_of_the_group_and_not_by_who_asked() -> None:
    flow = Workflow("w", [Gate("ok", reviewers="leads", assign="round_robin")])
    assert testing.run(flow, {}, people=PEOPLE).task.assignee in ("ana", "sam")
    assert testing.run(flow, {}, people=PEOPLE, requester="ana").task.assignee == "sam"
    assert testing.run(flow, {}, people=PEOPLE, away={"sam": "max"}).task.assignee == "ana"


def test_who_stands_in_is_asked_and_assigned() -> None:
    flow = Workflow("w", [Gate("ok", reviewers="user:ana", assign="user:ana")])
    run = testing.run(flow, {}, people=PEOPLE, away={"ana": "sam", "sam": "max"})
    assert (run.task.candidates.users, run.task.assignee) == (("ana", "max"), "max")
    run.decide("approve", by="max")
    assert run.outcome == "approved"
    circle = testing.run(flow, {}, people=PEOPLE, away={"ana": "sam", "sam": "ana"})
    assert (circle.task.candidates.users, circle.task.assignee) == (("ana",), "ana")


def test_an_escalation_to_somebody_who_is_away_asks_who_stands_in() -> None:
    flow = Workflow("w", [Gate("ok", reviewers="leads", escalate=[("1h", "user:max")])])
    run = testing.run(flow, {}, people=PEOPLE, away={"max": "ana"}).skip("1h")
    assert run.task.candidates.users == ("max", "ana")
