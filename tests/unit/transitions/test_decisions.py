"""Decisions: on what was shown, by distinct people, in grace, once."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.transitions.desk import Desk, person
from tests.unit.transitions.graphs import STANDARD, gate, graph, pay, step, take

from signoff.definition.graph import Goto
from signoff.errors import Conflict, InvalidInput, PreconditionRequired, StaleView
from signoff.model import DecidedBy, EventType, RunStatus, TaskState
from signoff.transitions.decisions import DecisionRequest, replayed, winner


def _asked(payload: Any = None, **options: Any) -> Desk:
    return Desk.opened(graph(gate("ok", "pay", **options), pay()), payload or {"amount": 5})


def _redrafted(**options: Any) -> Desk:
    """A gate that shows its second draft."""
    drafts = graph(step("draft", "ok"), gate("ok", "pay", options=STANDARD, changes_to="draft", **options), pay())
    desk = Desk.opened(drafts, {}).complete({"amount": 5}).decide("ana", "request_changes", note="less")
    return desk.complete({"amount": 4})


def test_an_approval_sends_on_the_payload_as_shown() -> None:
    desk = _asked().decide("ana", "approve")
    assert (desk.status, desk.state.node, desk.state.value) == (RunStatus.QUEUED, "pay", {"amount": 5})
    (task,) = desk.tasks
    assert (task.state, task.outcome, task.decided_by) == (TaskState.COMPLETED, "approved", DecidedBy.HUMAN)


def test_a_rejection_ends_the_run_as_completed_without_a_result() -> None:
    desk = _asked().decide("ana", "reject")
    assert (desk.status, desk.state.outcome, desk.state.value) == (RunStatus.COMPLETED, "rejected", None)


def test_a_rejection_leads_to_its_step_with_the_note() -> None:
    sorry = graph(gate("ok", "pay", routes={"reject": Goto(node="sorry")}), pay(), step("sorry"))
    desk = Desk.opened(sorry, {"amount": 5}).decide("ana", "reject", note="no", reason="policy")
    assert (desk.state.node, desk.state.value) == ("sorry", {"amount": 5})
    assert desk.state.feedback == {
        "gate": "ok", "decision": "reject", "note": "no", "reason": "policy", "by": "ana", "revision": 1,
    }  # fmt: skip


def test_an_approval_leaves_no_feedback() -> None:
    desk = _redrafted().decide("ana", "approve", note="fine")
    assert desk.state.feedback is None


def test_what_was_seen_has_to_be_said() -> None:
    desk = _asked()
    with pytest.raises(PreconditionRequired):
        desk.decide("ana", "approve", payload_sha256=None)


@pytest.mark.parametrize("seen", [{"revision": 1}, {"payload_sha256": "0" * 64}, {"revision": 3}])
def test_a_decision_on_what_is_no_longer_shown_is_refused(seen: dict[str, Any]) -> None:
    desk = _redrafted()
    with pytest.raises(StaleView) as caught:
        desk.decide("ana", "approve", **seen)
    assert caught.value.current == {"revision": 2, "payload_sha256": desk.task.payload_sha256}


def test_a_hash_and_a_revision_have_to_agree_with_what_is_shown_both() -> None:
    desk = _asked()
    with pytest.raises(StaleView):
        desk.decide("ana", "approve", payload_sha256=desk.task.payload_sha256, revision=2)
    assert desk.decide("ana", "approve", payload_sha256=desk.task.payload_sha256, revision=1).state.node == "pay"


def test_a_late_decision_is_told_who_won() -> None:
    desk = _asked().decide("ana", "approve")
    (task,) = desk.tasks
    with pytest.raises(Conflict) as caught:
        desk.later(5_000).decide("ben", "reject", task=task)
    assert caught.value.winner == {
        "by": person("ana").to_json(), "decision": "approve", "state": "completed", "outcome": "approved",
        "decided_by": "human", "at": "2030-01-07T09:00:00.000000Z",
    }  # fmt: skip


def test_a_decision_after_the_due_time_is_told_that_time_won() -> None:
    desk = _asked(due=1_000, on_timeout=take("reject")).later(1_000).fire()
    (task,) = desk.tasks
    with pytest.raises(Conflict) as caught:
        desk.decide("ana", "approve", task=task)
    assert caught.value.winner is not None
    assert caught.value.winner["by"]["type"] == "system"
    assert caught.value.winner["decided_by"] == "timeout"
    assert caught.value.winner["state"] == "timed_out"


def test_a_decision_on_a_canceled_task_is_told_so() -> None:
    desk = _asked().cancel()
    with pytest.raises(Conflict) as caught:
        desk.decide("ana", "approve", task=desk.tasks[0])
    assert caught.value.winner is not None
    assert (caught.value.winner["state"], caught.value.winner["outcome"]) == ("canceled", None)


def test_the_order_of_what_is_wrong_is_precondition_conflict_view_form() -> None:
    desk = _redrafted().decide("ana", "approve")
    (task,) = desk.tasks
    with pytest.raises(PreconditionRequired):
        desk.decide("ana", "dance", task=task, payload_sha256=None)
    with pytest.raises(Conflict):
        desk.decide("ben", "dance", task=task, revision=1)
    with pytest.raises(StaleView):
        _redrafted().decide("ben", "dance", revision=1)
    with pytest.raises(InvalidInput):
        _redrafted().decide("ben", "dance")


# Quorum -----------------------------------------------------------------------------------------------------------


def test_a_quorum_is_of_distinct_people() -> None:
    desk = _asked(approvals=2).decide("ana", "approve")
    assert desk.status is RunStatus.WAITING
    with pytest.raises(Conflict) as caught:
        desk.decide("ana", "approve")
    assert caught.value.code == "already_voted"
    assert caught.value.winner is None, "nobody has won yet"
    desk = desk.decide("ben", "approve")
    assert desk.state.node == "pay"
    assert len(desk.log[-1].data["decision_ids"]) == 2


def test_one_rejection_decides_a_quorum() -> None:
    desk = _asked(approvals=2).decide("ana", "approve").decide("ben", "reject")
    assert desk.state.outcome == "rejected"


def test_as_many_must_reject_as_the_gate_says() -> None:
    desk = _asked(approvals=2, reject_after=2).decide("ana", "reject").decide("ben", "approve")
    assert desk.status is RunStatus.WAITING
    assert desk.decide("cleo", "reject").state.outcome == "rejected"
    assert desk.decide("cleo", "approve").state.outcome == "approved"


def test_one_person_who_asks_for_changes_voids_what_others_said() -> None:
    drafts = graph(step("draft", "ok"), gate("ok", "pay", options=STANDARD, changes_to="draft", approvals=2), pay())
    desk = Desk.opened(drafts, {}).complete({"a": 1}).decide("ana", "approve").decide("ben", "request_changes")
    desk = desk.complete({"a": 2})
    assert (desk.task.revision, desk.task.current_decisions) == (2, ())
    assert desk.decide("ana", "approve").status is RunStatus.WAITING


def test_an_edit_is_a_new_revision_that_only_its_editor_has_approved() -> None:
    desk = (
        _asked(approvals=3, editable=("amount",)).decide("ana", "approve").decide("ben", "approve", patch={"amount": 4})
    )
    task = desk.task
    assert (task.revision, task.payload, desk.state.value) == (2, {"amount": 4}, {"amount": 4})
    assert [decision.actor.name for decision in task.current_decisions] == ["ben"]
    with pytest.raises(StaleView):
        desk.decide("cleo", "approve", revision=1)
    desk = desk.decide("cleo", "approve").decide("ana", "approve")
    assert (desk.state.node, desk.state.value) == ("pay", {"amount": 4})


def test_an_edit_of_an_edit_voids_the_first_editors_approval_too() -> None:
    desk = _asked(approvals=2, editable=("amount",)).decide("ana", "approve", patch={"amount": 4})
    desk = desk.decide("ben", "approve", patch={"amount": 3})
    assert [decision.actor.name for decision in desk.task.current_decisions] == ["ben"]
    assert desk.decide("ana", "approve").state.value == {"amount": 3}


def test_an_edit_does_not_start_the_clock_again() -> None:
    desk = _asked(approvals=2, editable=("amount",), due=10_000).later(4_000)
    due_at = desk.task.due_at
    assert desk.decide("ana", "approve", patch={"amount": 4}).task.due_at == due_at


REVIEWERS = ('{amount > 10.0 ? "managers" : "leads"}',)


def test_an_edit_that_is_for_others_to_approve_is_shown_to_them() -> None:
    desk = _asked({"amount": 5}, reviewers=REVIEWERS, editable=("amount",))
    assert desk.task.candidates.groups == ("leads",)
    desk = desk.decide("ana", "approve", patch={"amount": 5_000})
    task = desk.task
    assert desk.status is RunStatus.WAITING
    assert (task.revision, task.payload, task.candidates.groups) == (2, {"amount": 5_000}, ("managers",))
    assert task.current_decisions == (), "whoever edited it was asked about another amount"
    assert desk.decide("max", "approve").state.value == {"amount": 5_000}


def test_an_edit_for_the_same_people_stands_at_once() -> None:
    desk = _asked({"amount": 5}, reviewers=REVIEWERS, editable=("amount",)).decide(
        "ana", "approve", patch={"amount": 4}
    )
    assert (desk.state.node, desk.state.value) == ("pay", {"amount": 4})


def test_a_new_draft_asks_the_people_it_is_for() -> None:
    drafts = graph(
        step("draft", "ok"), gate("ok", "pay", options=STANDARD, changes_to="draft", reviewers=REVIEWERS), pay()
    )
    desk = Desk.opened(drafts, {}).complete({"amount": 5}).decide("ana", "request_changes").complete({"amount": 5_000})
    assert desk.task.candidates.groups == ("managers",)


# Grace ------------------------------------------------------------------------------------------------------------


def test_a_decision_in_grace_moves_nothing_until_it_is_released() -> None:
    desk = _asked(grace_ms=10_000).decide("ana", "approve")
    assert (desk.status, desk.task.pending) == (RunStatus.WAITING, "approve")
    assert desk.later(9_999).fire().log == desk.log
    desk = desk.later(10_000).fire()
    assert (desk.status, desk.state.node) == (RunStatus.QUEUED, "pay")
    assert desk.log[-1].actor == person("ana"), "a released decision is that of the person who made it"


def test_a_decision_in_grace_can_be_taken_back_and_made_anew() -> None:
    desk = _asked(grace_ms=10_000).decide("ana", "approve").later(5_000).withdraw("ana")
    assert (desk.status, desk.task.pending, desk.task.wake_at) == (RunStatus.WAITING, None, None)
    desk = desk.decide("ana", "reject").later(10_000).fire()
    assert desk.state.outcome == "rejected"


def test_nobody_else_decides_during_grace() -> None:
    desk = _asked(grace_ms=10_000).decide("ana", "approve")
    with pytest.raises(Conflict) as caught:
        desk.decide("ben", "reject")
    assert caught.value.winner is not None
    assert caught.value.winner["by"]["name"] == "ana"


def test_nobody_takes_back_what_another_said_or_what_has_been_released() -> None:
    desk = _asked(grace_ms=10_000).decide("ana", "approve")
    with pytest.raises(Conflict):
        desk.withdraw("ben")
    released = desk.later(10_000).fire()
    with pytest.raises(Conflict):
        released.withdraw("ana", released.tasks[0])


def test_grace_of_a_quorum_begins_with_the_decision_that_completes_it() -> None:
    desk = _asked(grace_ms=10_000, approvals=2).decide("ana", "approve")
    assert desk.task.pending is None
    desk = desk.later(3_000).decide("ben", "approve")
    assert (desk.task.release_at - desk.now).total_seconds() == 10.0
    again = desk.withdraw("ana")
    assert again.task.pending is None
    assert again.decide("cleo", "approve").later(10_000).fire().state.node == "pay"


def test_taking_back_a_word_that_did_not_decide_leaves_the_grace_running() -> None:
    desk = _asked(grace_ms=10_000, approvals=2, reject_after=2)
    desk = desk.decide("ana", "reject").decide("ben", "approve").decide("cleo", "approve").withdraw("ana")
    assert desk.task.pending == "approve"
    assert desk.later(10_000).fire().state.node == "pay"


def test_an_edit_that_changes_nothing_completes_a_quorum_in_grace() -> None:
    desk = _asked(grace_ms=10_000, approvals=2, editable=("amount",)).decide("ana", "approve")
    assert desk.decide("ben", "approve", patch={"amount": 5}).task.pending == "approve"


def test_the_due_time_waits_for_a_decision_in_grace() -> None:
    desk = _asked(grace_ms=10_000, due=5_000, on_timeout=take("reject")).later(4_000).decide("ana", "approve")
    assert desk.later(5_000).fire().log == desk.log
    assert desk.later(10_000).fire().state.outcome == "approved"
    withdrawn = desk.later(5_000).withdraw("ana")
    assert withdrawn.fire().state.outcome == "rejected", "what came due meanwhile comes at once"


def test_a_run_canceled_in_grace_decides_nothing_afterwards() -> None:
    desk = _asked(grace_ms=10_000).decide("ana", "approve").cancel()
    (task,) = desk.tasks
    assert (task.state, task.pending, task.wake_at) == (TaskState.CANCELED, None, None)
    assert desk.later(10_000).fire(task).log == desk.log


# Time, replay ------------------------------------------------------------------------------------------------------


def test_a_gate_takes_no_decision_before_its_time() -> None:
    desk = _asked(not_before_ms=60_000)
    with pytest.raises(Conflict) as caught:
        desk.later(59_999).decide("ana", "approve")
    assert caught.value.code == "too_early"
    assert desk.later(60_000).decide("ana", "approve").state.node == "pay"


def _request(desk: Desk, **said: Any) -> DecisionRequest:
    return DecisionRequest(**({"decision": "approve", "payload_sha256": desk.tasks[0].payload_sha256} | said))


def test_the_same_person_who_says_the_same_again_is_answered_the_same() -> None:
    desk = _asked(approvals=2).decide("ana", "approve", note="fine")
    for said in ({}, {"note": "another note"}, {"payload_sha256": None, "revision": 1}):
        assert replayed(desk.tasks[0], _request(desk, **said), person("ana")) == desk.recorded
    after = desk.decide("ben", "approve")
    assert replayed(after.tasks[0], _request(after), person("ana")) == desk.recorded


@pytest.mark.parametrize(
    "said",
    [
        {"decision": "reject"},
        {"patch": {"amount": 1}},
        {"payload_sha256": "0" * 64},
        {"revision": 2},
        {"payload_sha256": None},
    ],
)
def test_something_else_is_no_repetition(said: dict[str, Any]) -> None:
    desk = _asked(approvals=2).decide("ana", "approve")
    assert replayed(desk.tasks[0], _request(desk, **said), person("ana")) is None


def test_what_another_said_or_what_was_taken_back_is_no_repetition() -> None:
    desk = _asked(grace_ms=5_000).decide("ana", "approve")
    assert replayed(desk.tasks[0], _request(desk), person("ben")) is None
    desk = desk.withdraw("ana")
    assert replayed(desk.tasks[0], _request(desk), person("ana")) is None


def test_what_was_said_of_an_earlier_draft_with_the_same_bytes_is_no_repetition() -> None:
    drafts = graph(step("draft", "ok"), gate("ok", "pay", options=STANDARD, changes_to="draft"), pay())
    desk = Desk.opened(drafts, {}).complete({"a": 1}).decide("ana", "request_changes").complete({"a": 1})
    said = {"decision": "request_changes", "payload_sha256": desk.task.payload_sha256}
    assert replayed(desk.task, DecisionRequest(**said), person("ana")) is None
    assert replayed(desk.task, DecisionRequest(**said, revision=1), person("ana")) is not None


def test_an_edit_that_was_shown_to_others_is_repeated_by_the_hash_it_was_made_on() -> None:
    desk = _asked(approvals=2, editable=("amount",))
    seen = desk.task.payload_sha256
    desk = desk.decide("ana", "approve", patch={"amount": 4})
    again = DecisionRequest(decision="approve", payload_sha256=seen, patch={"amount": 4})
    assert replayed(desk.task, again, person("ana")) is not None


def test_who_wins_a_quorum_is_who_completed_it() -> None:
    desk = _asked(approvals=2).decide("ana", "approve").decide("ben", "approve")
    assert winner(desk.tasks[0])["by"]["name"] == "ben"


def test_a_decision_keeps_all_that_was_said_with_it() -> None:
    desk = _asked().decide("ana", "approve", note="n", reason="r", on_behalf_of="ben", bulk_id="b")
    (event,) = desk.events(EventType.DECISION_RECORDED)
    said = {key: event.data[key] for key in ("note", "reason", "on_behalf_of", "bulk_id", "patch", "revision")}
    assert said == {"note": "n", "reason": "r", "on_behalf_of": "ben", "bulk_id": "b", "patch": None, "revision": 1}
    assert event.actor == person("ana")
