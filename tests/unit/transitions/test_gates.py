"""Gates that the cursor reaches: passed by policy, opened, reopened, beside the run."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from tests.unit.transitions.desk import RUN_ID, Desk
from tests.unit.transitions.graphs import STANDARD, gate, graph, pay, step, take

from signoff.canonical import sha256_hex
from signoff.definition.graph import Goto
from signoff.definition.policy import rules_for
from signoff.model import DecidedBy, EventType, RunStatus, TaskState


def _asked(payload: Any, **options: Any) -> Desk:
    return Desk.opened(graph(gate("ok", "pay", **options), pay()), payload)


def test_a_gate_whose_condition_does_not_hold_is_passed_by_policy() -> None:
    desk = _asked({"amount": 5}, review_if="amount > 100")
    assert (desk.state.node, desk.tasks) == ("pay", [])
    (event,) = desk.events(EventType.GATE_PASSED)
    assert event.data["decided_by"] == str(DecidedBy.POLICY)
    assert event.data["rule"] == "amount > 100"
    assert event.data["values"] == {"amount": 5}
    assert event.data["payload_sha256"] == sha256_hex({"amount": 5})


@pytest.mark.parametrize("payload", [{"amount": 500}, {}, {"amount": "much"}, {"amount": None}, [], "text", None])
def test_what_the_condition_holds_for_or_can_not_judge_is_shown_to_a_person(payload: Any) -> None:
    assert _asked(payload, review_if="amount > 100").status is RunStatus.WAITING


def test_why_a_person_is_asked_is_in_the_log_and_in_the_task() -> None:
    desk = _asked({"amount": 500}, review_if="amount > 100 || false")
    (event,) = desk.events(EventType.GATE_OPENED)
    assert "500" in desk.task.why
    assert event.data["values"] == {"amount": 500}
    assert _asked({}, review_if="amount > 100").events(EventType.GATE_OPENED)[0].data["error"]


def test_a_sample_of_what_would_pass_is_reviewed_and_always_the_same_one() -> None:
    sampled = graph(gate("ok", "pay", review_if="amount > 100", sample=0.25), pay())
    rules = rules_for(sampled, "ok")
    chosen = [number for number in range(2_000) if rules.samples(UUID(int=number))]
    assert 400 < len(chosen) < 600
    assert chosen == [number for number in range(2_000) if rules.samples(UUID(int=number))]
    for share, status in ((1.0, RunStatus.WAITING), (0.0, RunStatus.QUEUED)):
        desk = _asked({"amount": 5}, review_if="amount > 100", sample=share)
        assert desk.status is status
    assert _asked({"amount": 5}, review_if="amount > 100", sample=1.0).log[-1].data["sampled"] is True


def test_turns_spread_the_runs_over_the_people_named() -> None:
    rules = rules_for(graph(gate("ok", "pay", assign="round_robin"), pay()), "ok")
    turns = Counter(rules.in_turn({"ana", "ben", "sam"}, UUID(int=number)) for number in range(3_000))
    assert set(turns) == {"ana", "ben", "sam"}
    assert min(turns.values()) > 900
    named = ("leads", "user:ana", "user:ben")
    desk = _asked({}, assign="round_robin", reviewers=named)
    assert desk.task.assignee == rules.in_turn(["ben", "ana"], RUN_ID)
    assert _asked({}, assign="round_robin", reviewers=("leads",)).task.assignee is None


def test_nobody_is_assigned_who_could_not_decide() -> None:
    requester = _asked({}).state.requester.name
    for assign in (f"user:{requester}", "round_robin"):
        asked = {"assign": assign, "reviewers": (f"user:{requester}",)}
        assert _asked({}, **asked).task.assignee is None
        assert _asked({}, **asked, four_eyes=False).task.assignee == requester
    assert _asked({"who": "zoe"}, assign="user:{who}", reviewers=("user:ana",)).task.assignee is None
    assert _asked({"who": "ana"}, assign="user:{who}", reviewers=("user:ana",)).task.assignee == "ana"
    assert _asked({"who": "zoe"}, assign="user:{who}", reviewers=("user:ana", "leads")).task.assignee == "zoe"


def test_a_gate_that_names_nobody_opens_with_an_alarm() -> None:
    desk = _asked({"team": 3}, reviewers=("{team.lead}",))
    assert desk.status is RunStatus.WAITING
    assert desk.task.candidates.to_json() == {"users": [], "groups": []}
    assert desk.log[-1].data["alarm"] == "reviewers names nobody"
    assert _asked({}).log[-1].data["alarm"] is None


def test_a_new_draft_is_shown_again_even_where_the_condition_would_wave_it_through() -> None:
    drafts = graph(
        step("draft", "ok"),
        gate("ok", "pay", review_if="amount > 100", options=STANDARD, changes_to="draft", title="Pay {amount}"),
        pay(),
    )
    desk = Desk.opened(drafts, {}).complete({"amount": 500})
    first = desk.task
    desk = desk.decide("ana", "request_changes", note="less")
    assert (desk.state.node, desk.state.feedback["note"]) == ("draft", "less")
    desk = desk.complete({"amount": 5})
    again = desk.task
    assert (again.id, again.revision, again.payload, again.title) == (first.id, 2, {"amount": 5}, "Pay 5")
    assert again.opened_at == first.opened_at
    assert desk.state.feedback is None
    assert desk.decide("ana", "approve").state.node == "pay"


def test_after_an_approval_the_gate_opens_a_new_task() -> None:
    desk = Desk.opened(graph(step("draft", "ok"), gate("ok", "pay"), pay()), {}).complete({}).decide("ana", "approve")
    desk = desk.fail(retryable=False).retry("draft").complete({"a": 2})
    assert len(desk.tasks) == 2
    assert desk.task.revision == 1


def test_gates_in_a_row_are_evaluated_in_one_batch() -> None:
    chain = graph(
        gate("first", "second", review_if="amount > 100"),
        gate("second", "third", mode="after"),
        gate("third", "pay"),
        pay(),
    )
    desk = Desk.opened(chain, {"amount": 5})
    kinds = [str(event.type) for event in desk.log]
    assert kinds == ["run.created", "gate.passed", "gate.opened", "gate.opened"]
    assert (desk.state.node, desk.status) == ("third", RunStatus.WAITING)


def test_a_chain_of_gates_ends_the_run_with_the_payload() -> None:
    desk = Desk.opened(graph(gate("first", "second"), gate("second")), {"a": 1})
    desk = desk.decide("ana", "approve").decide("ben", "approve")
    assert (desk.status, desk.state.outcome, desk.state.value) == (RunStatus.COMPLETED, "approved", {"a": 1})


def test_what_follows_a_rejection_that_goes_on_is_a_result() -> None:
    kept = graph(gate("ok", "audit", routes={"reject": Goto(node="audit")}), gate("audit", None, mode="after"))
    desk = Desk.opened(kept, {"a": 1}).decide("ana", "reject")
    assert (desk.status, desk.state.outcome, desk.state.value) == (RunStatus.COMPLETED, "rejected", {"a": 1})


# Beside the run -----------------------------------------------------------------------------------------------------


def _beside(**options: Any) -> Desk:
    nodes = graph(
        step("draft", "audit"),
        gate("audit", "send", mode="after", routes={"reject": Goto(node="undo")}, **options),
        step("send"),
        step("undo"),
    )
    return Desk.opened(nodes, {"order": 1}).complete({"amount": 5})


def test_a_review_beside_the_run_lets_it_go_on_and_outlives_it() -> None:
    desk = _beside()
    assert (desk.status, desk.state.node) == (RunStatus.QUEUED, "send")
    desk = desk.complete({"sent": True})
    assert desk.status is RunStatus.COMPLETED
    assert desk.task.state is TaskState.OPEN
    after = desk.decide("cleo", "approve")
    assert (after.status, after.state.value, after.state.outcome) == (RunStatus.COMPLETED, {"sent": True}, "completed")
    assert after.children == ()


def test_a_late_rejection_starts_the_branch_as_a_run_of_its_own() -> None:
    desk = _beside().complete({"sent": True}).decide("cleo", "reject", note="undo it")
    (child,) = desk.children
    assert (child.state.node, child.state.status, child.state.value) == ("undo", RunStatus.QUEUED, {"amount": 5})
    assert child.state.feedback is not None
    assert child.state.feedback["note"] == "undo it"
    assert child.state.labels == {"team": "blue", "compensates": str(RUN_ID)}
    assert child.state.requester == desk.state.requester
    created = child.log[0].data
    assert created["parent"] == {"run_id": str(RUN_ID), "human_task_id": str(desk.tasks[0].id)}
    assert created["carried"] == {"draft": {"amount": 5}, "send": {"sent": True}}
    assert created["input"] == {"order": 1}
    assert desk.state.value == {"sent": True}, "the run itself stays as it ended"


def test_a_review_beside_the_run_never_moves_the_run() -> None:
    desk = _beside(approvals=2, editable=("amount",)).decide("ana", "approve", patch={"amount": 4})
    assert (desk.status, desk.state.node, desk.state.value) == (RunStatus.QUEUED, "send", {"amount": 5})
    assert (desk.task.revision, desk.task.payload) == (2, {"amount": 4})
    assert desk.complete({"sent": True}).status is RunStatus.COMPLETED


def test_silence_beside_the_run_can_start_the_branch_too() -> None:
    desk = _beside(due=1_000, on_timeout=take("reject")).complete({}).later(1_000).fire()
    assert [child.state.node for child in desk.children] == ["undo"]


def test_a_run_that_is_canceled_takes_the_review_beside_it_along_and_a_failed_one_does_not() -> None:
    canceled = _beside().cancel()
    assert canceled.tasks[0].state is TaskState.CANCELED
    failed = _beside().fail()
    assert failed.status is RunStatus.FAILED
    assert failed.task.state is TaskState.OPEN
