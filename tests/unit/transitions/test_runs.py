"""Whole runs: created, canceled, retried by hand."""

from __future__ import annotations

import pytest
from tests.unit.transitions.desk import REQUESTER, Desk, person
from tests.unit.transitions.graphs import FAILED, STANDARD, gate, graph, pay, step

from signoff.errors import Conflict, InvalidInput
from signoff.model import EventType, RunStatus, TaskState
from signoff.transitions import advance
from signoff.transitions.runs import values_received

GUARDED = graph(step("draft", "ok"), gate("ok", "pay", editable=("amount",)), pay(following="tell"), step("tell"))


def test_a_run_begins_at_the_first_node_with_its_input() -> None:
    desk = Desk.opened(GUARDED, {"a": 1})
    assert (desk.status, desk.state.node, desk.state.value) == (RunStatus.QUEUED, "draft", {"a": 1})
    (event,) = desk.log
    assert (event.seq, event.actor) == (1, REQUESTER)
    assert event.data["sha256"] == GUARDED.sha256


def test_a_run_ends_with_its_last_value() -> None:
    desk = Desk.opened(graph(step("draft")), {}).complete({"done": True})
    assert (desk.status, desk.state.outcome, desk.state.value) == (RunStatus.COMPLETED, "completed", {"done": True})
    assert desk.state.finished_at == desk.now


@pytest.mark.parametrize("end", ["completed", "failed", "canceled"])
def test_a_finished_run_can_not_be_canceled(end: str) -> None:
    desk = Desk.opened(graph(step("draft")), {})
    desk = {"completed": lambda: desk.complete({}), "failed": desk.fail, "canceled": desk.cancel}[end]()
    assert str(desk.status) == end
    with pytest.raises(Conflict) as caught:
        desk.cancel()
    assert caught.value.code == "run_finished"


def test_a_canceled_run_closes_its_gate_and_names_who_did_it() -> None:
    desk = Desk.opened(GUARDED, {}).complete({"amount": 5}).cancel("boss")
    assert (desk.status, desk.state.outcome) == (RunStatus.CANCELED, "canceled")
    assert (desk.tasks[0].state, desk.tasks[0].completed_at) == (TaskState.CANCELED, desk.now)
    assert (desk.log[-1].actor, desk.log[-1].data["reason"]) == (person("boss"), "enough")


def test_a_run_that_fails_at_a_gate_leaves_no_gate_open() -> None:
    desk = Desk.opened(GUARDED, {}).complete({"amount": 5})
    desk = desk.do(lambda fold, _: advance.fail(fold, "too_many_events", "it loops"))
    assert desk.status is RunStatus.FAILED
    assert desk.tasks[0].state is TaskState.CANCELED
    assert desk.retry().task.state is TaskState.OPEN, "and going on asks again"


def test_a_failed_run_goes_on_from_the_failed_step_with_the_value_it_had() -> None:
    desk = Desk.opened(GUARDED, {}).complete({"amount": 5}).decide("ana", "approve", patch={"amount": 4}).fail()
    assert (desk.status, desk.state.node) == (RunStatus.FAILED, "pay")
    desk = desk.retry()
    assert (desk.status, desk.state.node, desk.state.value) == (RunStatus.QUEUED, "pay", {"amount": 4})
    assert (desk.state.attempt, desk.state.error, desk.state.finished_at) == (1, None, None)
    assert desk.complete({}).complete({}).state.outcome == "approved", "what the gate concluded still holds"


def test_an_earlier_step_gets_the_value_it_had() -> None:
    desk = Desk.opened(GUARDED, {"a": 1}).complete({"amount": 5}).decide("ana", "approve", patch={"amount": 4}).fail()
    back = desk.retry("draft")
    assert (back.state.node, back.state.value, back.state.outcome) == ("draft", {"a": 1}, None)
    gate_again = desk.retry("ok")
    assert (gate_again.status, gate_again.task.payload) == (RunStatus.WAITING, {"amount": 5})


def test_the_last_value_counts_where_a_run_came_by_twice() -> None:
    drafts = graph(step("draft", "ok"), gate("ok", "pay", options=STANDARD, changes_to="draft"), pay())
    desk = (
        Desk.opened(drafts, {"a": 1}).complete({"amount": 5}).decide("ana", "request_changes").complete({"amount": 4})
    )
    received = values_received(drafts, desk.state.run_id, desk.log)
    assert received == {"draft": {"a": 1}, "ok": {"amount": 4}}


def test_a_step_that_drafts_again_gets_what_it_got_before() -> None:
    drafts = graph(step("read", "draft"), step("draft", "ok"),
                   gate("ok", "pay", options=STANDARD, changes_to="draft"), pay())  # fmt: skip
    desk = Desk.opened(drafts, {"a": 1}).complete({"read": True}).complete({"amount": 5})
    desk = desk.decide("ana", "request_changes", note="less")
    assert (desk.state.node, desk.state.value) == ("draft", {"read": True})


def test_a_step_the_run_has_not_been_at_is_refused() -> None:
    desk = Desk.opened(GUARDED, {}).fail()
    for name in ("pay", "nowhere"):
        with pytest.raises(InvalidInput) as caught:
            desk.retry(name)
        assert caught.value.errors[0].path == "/from_step"
        assert "draft" in str(caught.value.errors[0].fix)


@pytest.mark.parametrize("end", ["completed", "canceled", "queued"])
def test_only_a_failed_run_is_retried(end: str) -> None:
    desk = Desk.opened(graph(step("draft")), {})
    desk = {"completed": lambda: desk.complete({}), "canceled": desk.cancel, "queued": lambda: desk}[end]()
    with pytest.raises(Conflict) as caught:
        desk.retry()
    assert caught.value.code == "run_not_failed"


def test_one_approval_is_one_execution_for_who_retries_too() -> None:
    desk = Desk.opened(GUARDED, {}).complete({"amount": 5}).decide("ana", "approve").complete({"paid": True}).fail()
    assert desk.state.node == "tell"
    with pytest.raises(Conflict) as caught:
        desk.retry("pay")
    assert "'pay'" in caught.value.detail
    assert desk.retry().state.node == "tell"
    again = desk.retry("ok").decide("ben", "approve")
    assert again.state.node == "pay", "a new approval allows a new execution"
    assert again.fail().retry("pay").state.node == "pay"


def test_a_step_that_leads_to_one_that_was_done_is_no_way_around() -> None:
    nodes = graph(gate("ok", "prepare"), step("prepare", "pay"), pay(following="tell"), step("tell"))
    desk = Desk.opened(nodes, {}).decide("ana", "approve").complete({}).complete({}).fail()
    with pytest.raises(Conflict):
        desk.retry("prepare")


@pytest.mark.parametrize("said", ["reject", "request_changes", "approve"])
@pytest.mark.parametrize("from_step", ["prepare", "pay"])
def test_an_approval_is_worth_nothing_once_its_gate_was_asked_again(said: str, from_step: str) -> None:
    nodes = graph(
        step("draft", "ok"),
        gate("ok", "prepare", options=STANDARD, changes_to="draft", routes={"reject": FAILED}),
        step("prepare", "pay"),
        pay(),
    )
    desk = Desk.opened(nodes, {}).complete({"amount": 500}).decide("ana", "approve").complete({"amount": 500}).fail()
    assert desk.retry("pay").state.node == "pay", "so far it is good"
    again = desk.retry("draft").complete({"amount": 7}).decide("ben", said, note="no")
    if again.status is not RunStatus.FAILED:
        again = again.fail()
    if (said, from_step) == ("approve", "prepare"):
        assert again.retry(from_step).state.value == {"amount": 7}
        return
    with pytest.raises(Conflict) as caught:
        again.retry(from_step)
    assert "'ok'" in caught.value.detail
    assert again.retry("draft").state.node == "draft"


def test_a_run_that_its_gate_failed_is_asked_again() -> None:
    desk = Desk.opened(graph(gate("ok", "pay", routes={"reject": FAILED}), pay()), {"a": 1}).decide("ana", "reject")
    assert desk.status is RunStatus.FAILED
    assert desk.state.error is not None
    assert desk.state.error.code == "gate_rejected"
    desk = desk.retry()
    assert (desk.status, desk.task.revision, len(desk.tasks)) == (RunStatus.WAITING, 1, 2)


def test_feedback_reaches_the_step_that_is_retried() -> None:
    drafts = graph(step("draft", "ok"), gate("ok", "pay", options=STANDARD, changes_to="draft"), pay())
    desk = Desk.opened(drafts, {}).complete({}).decide("ana", "request_changes", note="shorter").fail().retry()
    assert desk.state.feedback is not None
    assert desk.state.feedback["note"] == "shorter"
    assert [event.type for event in desk.log[-1:]] == [EventType.RUN_RETRIED]
