"""What time does to a gate: never early, and once. All runs start together, so that their waiting overlaps."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from tests.acceptance.caller import Caller
from tests.acceptance.stack import Stack

pytestmark = pytest.mark.xdist_group("acceptance")

DUE = 0.6
"""Seconds. Short for a test's sake: nothing is decided by it but how long the tests take."""

GATE = """
workflow: {name}
steps:
  - gate: check
    reviewers: support-leads
    {rules}
"""

RULES = {
    "due-reject": "due: 600ms\n    on_timeout: reject",
    "due-cancel": "due: 600ms\n    on_timeout: cancel",
    "due-fail": "due: 600ms\n    on_timeout: fail",
    "due-continue": "due: 600ms\n    on_timeout: continue",
    "due-branch": "due: 600ms\n    on_timeout: tests.acceptance.flows:look",
    "due-silent": "due: 600ms",
    "remind": "remind: [300ms, 500ms]\n    due: 600ms",
    "escalate": "escalate: [{after: 300ms, to: support-managers}, {after: 600ms, to: 'user:cleo'}]",
    "reroute": "assign: user:ana\n    reroute: [{after: 300ms, to: support-managers}]",
    "grace": "grace: 600ms",
    "grace-reject": "grace: 600ms",
}


@pytest.fixture(scope="module")
def runs(running: Stack) -> dict[str, Any]:
    """One run of each kind, started at once."""
    for name, rules in RULES.items():
        running.as_("admin").register(GATE.format(name=name, rules=rules))
    return {name: running.as_("requester").start(name, {"name": name}) for name in RULES}


def seconds_between(earlier: Any, later: Any) -> float:
    """From one event to another."""
    return (datetime.fromisoformat(later["at"]) - datetime.fromisoformat(earlier["at"])).total_seconds()


@pytest.mark.parametrize(
    ("name", "status", "outcome", "output"),
    [
        ("due-reject", "completed", "rejected", None),
        ("due-cancel", "canceled", "timed_out", None),
        ("due-fail", "failed", "timed_out", None),
        ("due-continue", "completed", "timed_out", {"name": "due-continue"}),
        ("due-branch", "completed", "timed_out", {"name": "due-branch"}),
    ],
)
def test_a_due_time_does_what_the_gate_says_and_never_early(
    runs: dict[str, Any], admin: Caller, ana: Caller, name: str, status: str, outcome: str, output: Any
) -> None:
    run = admin.until(runs[name], "completed", "canceled", "failed")

    assert (run["status"], run["outcome"], run["output"]) == (status, outcome, output)
    timed_out = admin.event(run, "gate.timed_out")
    assert DUE <= seconds_between(admin.event(run, "gate.opened"), timed_out) < DUE + 10
    assert admin.types(run).count("gate.decided") == 1
    task = ana.task(run)
    assert (task["state"], task["outcome"], task["decided_by"]) == ("timed_out", outcome, "timeout")
    late = ana.decide(task, "approve").problem(409, "already_decided")
    assert late["winner"]["by"]["type"] == "system"
    assert (late["winner"]["decided_by"], late["winner"]["state"]) == ("timeout", "timed_out")


def test_silence_decides_nothing_where_the_gate_does_not_say_so(
    runs: dict[str, Any], admin: Caller, ana: Caller
) -> None:
    run = runs["due-silent"]
    admin.until_event(run, "gate.reminded")
    assert admin.event(run, "gate.reminded")["data"]["overdue"] is True
    assert seconds_between(admin.event(run, "gate.opened"), admin.event(run, "gate.reminded")) >= DUE
    task = ana.task(run)
    assert task["state"] == "open"
    overdue = ana.get("/human-tasks", due_before=admin.event(run, "gate.reminded")["at"], run=run["id"]).ok()
    assert [item["id"] for item in overdue["items"]] == [task["id"]]

    ana.decide(task, "approve").ok(201)
    assert admin.run(run)["outcome"] == "approved"


def test_each_reminder_comes_once_at_its_time(runs: dict[str, Any], admin: Caller) -> None:
    run = runs["remind"]
    admin.until_event(run, "gate.reminded", count=3)
    opened = admin.event(run, "gate.opened")
    reminded = [event for event in admin.events(run) if event["type"] == "gate.reminded"]
    assert [event["data"]["overdue"] for event in reminded] == [False, False, True]
    for event, after in zip(reminded, (0.3, 0.5, DUE), strict=True):
        assert after <= seconds_between(opened, event)


def test_escalation_asks_more_people_and_keeps_the_first(
    runs: dict[str, Any], admin: Caller, ana: Caller, max_: Caller
) -> None:
    run = runs["escalate"]
    admin.until_event(run, "gate.escalated", count=2)

    task = max_.task(run)

    assert task["candidates"] == {"users": ["cleo"], "groups": ["support-leads", "support-managers"]}
    assert run["id"] in [item["run_id"] for item in ana.get("/human-tasks", run=run["id"]).ok()["items"]]
    max_.decide(task, "approve").ok(201)
    escalated = [event for event in admin.events(run) if event["type"] == "gate.escalated"]
    for event, after in zip(escalated, (0.3, 0.6), strict=True):
        assert after <= seconds_between(admin.event(run, "gate.opened"), event)


def test_rerouting_asks_others_instead(runs: dict[str, Any], admin: Caller, ana: Caller, max_: Caller) -> None:
    run = runs["reroute"]
    admin.until_event(run, "gate.escalated")

    task = max_.task(run)

    assert (task["candidates"], task["assignee"]) == ({"users": [], "groups": ["support-managers"]}, None)
    assert ana.get("/human-tasks", run=run["id"]).ok()["items"] == []
    ana.decide(task, "approve").problem(403, "not_candidate")
    max_.decide(task, "approve").ok(201)


@pytest.mark.parametrize(
    ("name", "decision", "outcome"), [("grace", "approve", "approved"), ("grace-reject", "reject", "rejected")]
)
def test_a_decision_in_grace_is_released_by_the_sweep_and_by_nobody_else(
    runs: dict[str, Any], admin: Caller, ana: Caller, sam: Caller, name: str, decision: str, outcome: str
) -> None:
    run = runs[name]
    task = ana.task(run)

    said = ana.decide(task, decision, note="for now").ok(201)

    assert (said["run"]["status"], said["human_task"]["state"]) == ("waiting", "open")
    assert said["human_task"]["release_at"] > said["decision"]["at"]
    refused = sam.decide(task, "approve").problem(409, "already_decided")
    assert (refused["winner"]["by"]["name"], refused["winner"]["decision"]) == ("ana", decision)
    done = admin.until(run, "completed")
    assert done["outcome"] == outcome
    recorded, decided = admin.event(run, "decision.recorded"), admin.event(run, "gate.decided")
    assert seconds_between(recorded, decided) >= DUE
    assert (decided["data"]["decided_by"], decided["actor"]["name"]) == ("human", "ana")
