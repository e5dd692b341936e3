"""Every way a gate can end that takes a person, by workflows that are written in YAML and put over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.caller import Caller

pytestmark = pytest.mark.xdist_group("acceptance")

OPTIONS = """
workflow: options
input:
  type: object
  properties: {amount: {type: number}, folder: {type: string}}
  required: [amount]
steps:
  - gate: choose
    reviewers: support-leads
    title: "Choose for {amount}"
    review_if: amount >= 10.0
    editable: [amount]
    options: [approve, reject, park, stop, drop, repair]
    on_park: continue
    on_stop: fail
    on_drop: cancel
    on_repair:
      - tests.acceptance.flows:undo
"""

SECOND = """
workflow: then-more
steps:
  - gate: choose
    reviewers: support-leads
    options: [approve, skip]
    on_skip: continue
  - step: tests.acceptance.flows:look
"""


def options(admin: Caller, requester: Caller, amount: float = 50) -> Any:
    """A run of `options`, which is at its gate at once: nothing stands before it."""
    admin.register(OPTIONS)
    return requester.start("options", {"amount": amount})


def test_a_gate_without_a_step_before_it_shows_the_runs_input(admin: Caller, requester: Caller, ana: Caller) -> None:
    run = options(admin, requester)
    assert (run["status"], run["current_node"]) == ("waiting", "choose")
    task = ana.task(run)
    assert (task["title"], task["payload"], task["why"]) == (
        "Choose for 50",
        {"amount": 50},
        "amount >= 10.0 (amount is 50)",
    )


@pytest.mark.parametrize(
    ("decision", "status", "outcome", "output"),
    [
        ("approve", "completed", "approved", {"amount": 50}),
        ("reject", "completed", "rejected", None),
        ("park", "completed", "park", {"amount": 50}),
        ("stop", "failed", "stop", None),
        ("drop", "canceled", "drop", None),
        ("repair", "completed", "repair", {"undone": {"amount": 50}, "because": "as agreed"}),
    ],
)
def test_each_option_leads_where_the_gate_says(
    admin: Caller, requester: Caller, ana: Caller, decision: str, status: str, outcome: str, output: Any
) -> None:
    run = options(admin, requester)
    said = ana.decide(ana.task(run), decision, note="as agreed").ok(201)
    assert (said["human_task"]["state"], said["human_task"]["outcome"]) == ("completed", outcome)
    assert said["human_task"]["decided_by"] == "human"

    done = requester.until(run, "completed", "failed", "canceled")

    assert (done["status"], done["outcome"], done["output"]) == (status, outcome, output)
    assert (done["error"] is None) == (status != "failed")


def test_an_edit_at_an_option_of_the_gates_own_goes_on_as_well(admin: Caller, requester: Caller, ana: Caller) -> None:
    run = options(admin, requester)
    ana.decide(ana.task(run), "park", patch={"amount": 12}).ok(201)
    assert requester.until(run, "completed")["output"] == {"amount": 12}


def test_what_the_condition_lets_pass_waits_for_nobody(admin: Caller, requester: Caller) -> None:
    run = options(admin, requester, amount=9.5)
    assert (run["status"], run["outcome"], run["human_tasks"]) == ("completed", "approved", [])
    assert admin.types(run) == ["run.created", "gate.passed", "run.completed"]
    assert admin.event(run, "gate.passed")["data"]["values"] == {"amount": 9.5}


def test_what_the_condition_can_not_tell_is_seen_by_a_person(admin: Caller, requester: Caller, ana: Caller) -> None:
    admin.register(
        """
workflow: uncertain
steps:
  - gate: check
    reviewers: support-leads
    review_if: score < 0.5
"""
    )
    for blind in ({}, {"score": None}, {"score": "high"}, {"score": {}}):
        run = requester.start("uncertain", blind)
        assert run["status"] == "waiting", blind
        assert ana.task(run)["why"]
    assert requester.start("uncertain", {"score": 0.9})["status"] == "completed"


def test_an_option_that_continues_goes_to_the_next_step(
    admin: Caller, requester: Caller, ana: Caller, tmp_path: Path
) -> None:
    admin.register(SECOND)
    for decision in ("approve", "skip"):
        run = requester.start("then-more", {"folder": str(tmp_path)})
        ana.decide(ana.task(run), decision).ok(201)
        done = requester.until(run, "completed")
        assert done["output"] == {"folder": str(tmp_path)}
        assert admin.types(run)[-2:] == ["step.completed", "run.completed"]


def test_a_sampled_gate_shows_what_its_condition_would_let_pass(admin: Caller, requester: Caller, ana: Caller) -> None:
    admin.register(
        """
workflow: sampled
steps:
  - gate: check
    reviewers: support-leads
    review_if: amount > 100.0
    sample: 1.0
"""
    )
    run = requester.start("sampled", {"amount": 1})
    assert run["status"] == "waiting"
    assert admin.event(run, "gate.opened")["data"]["sampled"] is True
    assert ana.task(run)["why"]


def test_a_form_is_demanded_checked_and_passed_on(admin: Caller, requester: Caller, ana: Caller) -> None:
    admin.register(
        """
workflow: form
steps:
  - gate: inspect
    reviewers: support-leads
    form:
      type: object
      properties: {grade: {enum: [A, B]}}
      required: [grade]
      additionalProperties: false
"""
    )
    run = requester.start("form", {"id": 7})
    task = ana.task(run)
    assert task["form"]["required"] == ["grade"]
    for patch in (None, {"inspect": {}}, {"inspect": {"grade": "C"}}, {"inspect": {"grade": "A"}, "id": 8}):
        more = {} if patch is None else {"patch": patch}
        found = ana.decide(task, "approve", **more).problem(422, "invalid")
        assert all(error["path"].startswith("/patch/") for error in found["errors"])

    ana.decide(task, "approve", patch={"inspect": {"grade": "A"}}).ok(201)

    assert requester.until(run, "completed")["output"] == {"id": 7, "inspect": {"grade": "A"}}


def test_a_reviewer_and_a_due_time_may_depend_on_the_payload(
    admin: Caller, requester: Caller, ana: Caller, max_: Caller
) -> None:
    admin.register(
        """
workflow: by-amount
steps:
  - gate: check
    reviewers: '{amount > 1000.0 ? "support-managers" : "support-leads"}'
    assign: '{amount > 1000.0 ? "user:max" : "user:ana"}'
"""
    )
    small, large = (requester.start("by-amount", {"amount": amount}) for amount in (10, 10_000))
    assert (ana.task(small)["candidates"]["groups"], ana.task(small)["assignee"]) == (["support-leads"], "ana")
    assert (max_.task(large)["candidates"]["groups"], max_.task(large)["assignee"]) == (["support-managers"], "max")
    max_.decide(admin.task(small), "approve").problem(403, "not_candidate")
    max_.decide(max_.task(large), "approve").ok(201)


def test_a_gate_that_has_to_wait_takes_no_decision_before(admin: Caller, requester: Caller, ana: Caller) -> None:
    admin.register(
        """
workflow: cooling
steps:
  - gate: check
    reviewers: support-leads
    not_before: 1h
"""
    )
    task = ana.task(requester.start("cooling", {}))
    assert task["not_before_at"] > task["created_at"]
    ana.decide(task, "approve").problem(409, "too_early")


def test_a_definition_with_faults_is_refused_whole_with_every_fault(admin: Caller) -> None:
    answer = admin.send(
        "PUT",
        "/workflows/faulty",
        data=b"""
workflow: faulty
input: {type: object, properties: {amount: {type: number}}, required: [amount]}
steps:
  - gate: check
    reviewers: support-leads
    review_if: amout > 10.0
    title: "{nothing}"
    on_timeout: reject
""",
        headers={"Content-Type": "application/yaml"},
    )
    found = answer.problem(422, "definition")
    assert {error["code"] for error in found["errors"]} >= {"E104", "E117"}
    assert all(error["where"] and error["what"] for error in found["errors"])
    admin.get("/workflows/faulty").problem(404, "not_found")


def test_the_same_content_is_the_same_version_and_a_run_keeps_the_one_it_started_with(
    admin: Caller, requester: Caller, ana: Caller
) -> None:
    document = "workflow: twice\nsteps:\n  - gate: check\n    reviewers: {who}\n"
    first = admin.register(document.format(who="support-leads"))
    assert admin.register(document.format(who="support-leads"))["version"] == first["version"]
    run = requester.start("twice", {})

    second = admin.register(document.format(who="underwriters"))

    assert second["version"] == first["version"] + 1
    assert second["sha256"] != first["sha256"]
    assert requester.run(run)["version"] == first["version"]
    ana.decide(ana.task(run), "approve").ok(201)
    assert admin.task(requester.start("twice", {}))["candidates"]["groups"] == ["underwriters"]
    old = admin.start("twice", {}, version=first["version"])
    assert admin.task(old)["candidates"]["groups"] == ["support-leads"]
