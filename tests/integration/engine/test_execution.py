"""Workers and runs: claims, completions, failures, leases and those who lost them."""

from __future__ import annotations

import pytest
from tests.integration.engine.flows import BESIDE, CHAIN, GATE, QUEUES, REFUND
from tests.integration.engine.world import ADMIN, ANA, REQUESTER, World, seconds_until, together
from tests.unit.transitions.graphs import gate, graph, step

from signoff.engine import Claimed, Engine, Failure
from signoff.errors import Conflict, LeaseLost, NotFound
from signoff.ids import new_id
from signoff.model import EventType, RunStatus


def test_a_started_run_is_queued_with_its_input_and_a_message(world: World) -> None:
    world.publisher.taken()
    run_id = world.start(CHAIN, {"a": 1}, labels={"team": "blue"})
    row = world.row(run_id)
    assert (row.row_status, row.epoch, row.queue) == (RunStatus.QUEUED, 0, "default")
    assert (row.state.value, row.state.labels) == ({"a": 1}, {"team": "blue"})
    assert world.publisher.taken() == [(run_id, 0, "signoff.default")]


def test_a_run_goes_from_step_to_step_to_its_end(world: World) -> None:
    run_id = world.start(CHAIN, {})
    for value in ({"n": 1}, {"n": 2}, {"n": 3}):
        world.work(run_id, value)
    state = world.state(run_id)
    assert (state.status, state.outcome, state.value) == (RunStatus.COMPLETED, "completed", {"n": 3})
    assert world.kinds(run_id) == ["run.created", *["step.completed"] * 3, "run.completed"]


def test_each_step_queues_where_it_says_and_a_decision_resumes_first(world: World) -> None:
    run_id = world.start(QUEUES, {})
    world.publisher.taken()
    world.work(run_id, {})
    assert world.publisher.taken() == [(run_id, 1, "signoff.llm")]
    world.work(run_id, {})
    assert world.publisher.taken() == [], "at a gate nothing is sent"
    world.decide(run_id, ANA, "approve")
    assert world.publisher.taken() == [(run_id, 2, "signoff.llm")], "another queue's continuation keeps its queue"
    refund = world.start(REFUND, {})
    world.work(refund, {"amount": 9})
    world.publisher.taken()
    world.decide(refund, ANA, "approve")
    assert world.publisher.taken() == [(refund, 1, "signoff.resume")]


def test_a_claim_is_for_one_worker(world: World) -> None:
    run_id = world.start(CHAIN, {})
    results = together(*[lambda n=n: world.engine.claim_run(run_id, epoch=0, worker=f"w{n}") for n in range(8)])
    claims = [claimed for claimed in results if claimed is not None]
    assert len(claims) == 1
    assert isinstance(claims[0], Claimed)
    assert claims[0].epoch == 1
    world.check(run_id)


def test_a_message_that_comes_late_or_twice_takes_nothing(world: World) -> None:
    run_id = world.start(CHAIN, {})
    assert world.engine.claim_run(run_id, epoch=1, worker="w") is None, "a message of another life"
    world.work(run_id, {})
    assert world.engine.claim_run(run_id, epoch=0, worker="w") is None, "the message again"
    assert world.engine.claim_run(new_id(), epoch=0, worker="w") is None
    parked = world.start(GATE, {"amount": 1})
    assert world.engine.claim_run(parked, epoch=0, worker="w") is None


def test_a_result_counts_once(world: World) -> None:
    run_id = world.start(CHAIN, {})
    claimed = world.claim(run_id)
    results = together(*[lambda: world.engine.complete(claimed, {"n": 1}, worker="w1", go_on=False)] * 4)
    assert sum(isinstance(result, LeaseLost) for result in results) == 3
    assert world.kinds(run_id) == ["run.created", "step.completed"]
    world.check(run_id)


def test_going_straight_on_is_a_claim_like_any_other(world: World) -> None:
    run_id = world.start(CHAIN, {})
    world.publisher.taken()
    first = world.claim(run_id)
    second = world.engine.complete(first, {"n": 1}, worker="w1", go_on=True)
    assert second is not None
    assert (second.step.name, second.epoch, second.state.value) == ("two", 2, {"n": 1})
    assert world.publisher.taken() == []
    world.check(run_id)
    assert world.row(run_id).row_status is RunStatus.RUNNING
    with pytest.raises(LeaseLost):
        world.engine.complete(first, {"n": 9}, worker="w1", go_on=True)
    third = world.engine.complete(second, {"n": 2}, worker="w1", go_on=True)
    assert third is not None
    assert world.engine.complete(third, {"n": 3}, worker="w1", go_on=True) is None
    assert world.state(run_id).status is RunStatus.COMPLETED
    world.check(run_id)


def test_nobody_goes_straight_on_into_another_queue_a_gate_or_a_step_that_refuses(world: World) -> None:
    other_queue = world.start(QUEUES, {})
    assert world.engine.complete(world.claim(other_queue), {}, worker="w", go_on=True) is None
    assert world.engine.complete(world.claim(other_queue), {}, worker="w", go_on=True) is None
    assert world.state(other_queue).status is RunStatus.WAITING
    refusing = graph(step("one", "two"), step("two", inline=False), name="refusing")
    run_id = world.start(refusing, {})
    assert world.engine.complete(world.claim(run_id), {}, worker="w", go_on=True) is None
    assert world.row(run_id).row_status is RunStatus.QUEUED


def test_going_straight_on_past_a_gate_that_policy_passes(world: World) -> None:
    run_id = world.start(REFUND, {})
    following = world.engine.complete(world.claim(run_id), {"amount": 1}, worker="w", go_on=True)
    assert following is not None
    assert following.step.name == "pay"
    world.check(run_id)


def test_a_failed_attempt_waits_and_is_then_sent(own_world: World) -> None:
    world = own_world
    run_id = world.start(CHAIN, {})
    assert world.fail(run_id) is RunStatus.RETRYING
    world.publisher.taken()
    row = world.row(run_id)
    assert row.state.retry_at == row.due_at
    assert world.engine.claim_run(run_id, epoch=row.epoch, worker="w") is None, "not before its time"
    world.engine.sweep()
    assert world.publisher.taken() == []
    world.later(1.1)
    world.engine.sweep()
    assert world.publisher.taken() == [(run_id, 1, "signoff.default")]
    world.check(run_id)
    claimed = world.claim(run_id)
    assert claimed.state.attempt == 2
    assert world.engine.fail(claimed, Failure(code="step_raised", message="again")) is RunStatus.FAILED
    world.check(run_id)
    error = world.state(run_id).error
    assert error is not None
    assert (error.code, error.step, error.attempt, error.message) == ("step_raised", "one", 2, "again")


def test_a_key_is_the_same_for_every_attempt_and_new_for_every_execution(world: World) -> None:
    run_id = world.start(REFUND, {})
    world.work(run_id, {"amount": 1})
    first = world.claim(run_id)
    world.engine.fail(first, Failure(code="x", message="x"))
    world.engine.retry(run_id, by=ADMIN)
    again = world.claim(run_id)
    assert again.idempotency_key == first.idempotency_key
    world.engine.complete(again, {}, worker="w", go_on=False)
    world.fail(run_id)
    world.engine.retry(run_id, from_step="ok", by=ADMIN)
    anew = world.claim(run_id)
    assert anew.step.name == "pay"
    assert anew.idempotency_key != first.idempotency_key, "a second approval is a second execution"


def test_a_step_gets_the_input_and_earlier_outputs_it_asks_for(world: World) -> None:
    run_id = world.start(CHAIN, {"a": 1})
    world.work(run_id, {"n": 1})
    world.work(run_id, {"n": 2})
    claimed = world.claim(run_id)
    wanted = {"input", "one", "two", "three", "feedback", "nobody"}
    assert world.engine.arguments(claimed, wanted) == {"input": {"a": 1}, "one": {"n": 1}, "two": {"n": 2}}
    assert world.engine.arguments(claimed, {"one"}) == {"one": {"n": 1}}
    assert world.engine.arguments(claimed, {"run"}) == {}


# Cancel, retry ----------------------------------------------------------------------------------------------------


def test_canceling_a_running_run_refuses_its_workers_result(world: World) -> None:
    run_id = world.start(CHAIN, {})
    claimed = world.claim(run_id)
    world.engine.cancel(run_id, reason="enough", by=REQUESTER)
    world.check(run_id)
    with pytest.raises(LeaseLost):
        world.engine.complete(claimed, {}, worker="w", go_on=True)
    assert world.state(run_id).status is RunStatus.CANCELED
    with pytest.raises(Conflict):
        world.engine.cancel(run_id, reason="again", by=REQUESTER)


def test_a_zombie_of_the_time_before_a_retry_is_refused(world: World) -> None:
    run_id = world.start(CHAIN, {})
    zombie = world.claim(run_id)
    world.engine.fail(zombie, Failure(code="step_timeout", message="x", retryable=False))
    world.engine.retry(run_id, by=ADMIN)
    world.check(run_id)
    with pytest.raises(LeaseLost):
        world.engine.complete(zombie, {}, worker="w", go_on=False)
    world.claim(run_id)
    with pytest.raises(LeaseLost):
        world.engine.complete(zombie, {}, worker="w", go_on=False)


def test_a_retry_goes_on_from_an_earlier_step_with_its_value(world: World) -> None:
    run_id = world.start(CHAIN, {"a": 1})
    world.work(run_id, {"n": 1})
    world.work(run_id, {"n": 2})
    world.fail(run_id)
    world.publisher.taken()
    world.engine.retry(run_id, from_step="two", by=ADMIN)
    world.check(run_id)
    (sent,) = world.publisher.taken()
    assert sent[2] == "signoff.default"
    claimed = world.claim(run_id)
    assert (claimed.step.name, claimed.state.value) == ("two", {"n": 1})
    with pytest.raises(Conflict):
        world.engine.retry(run_id, by=ADMIN)


def test_what_is_not_there_is_not_found(world: World) -> None:
    for call in (
        lambda: world.engine.cancel(new_id(), reason="x", by=ADMIN),
        lambda: world.engine.retry(new_id(), by=ADMIN),
        lambda: world.engine.verify(new_id()),
        lambda: world.engine.start(workflow="nowhere", input={}, requester=REQUESTER),
        lambda: world.engine.start(workflow="chain", version=99, input={}, requester=REQUESTER),
    ):
        with pytest.raises(NotFound):
            call()


# Beside the run ---------------------------------------------------------------------------------------------------


def test_a_decision_beside_a_running_run_leaves_its_worker_the_lease(world: World) -> None:
    run_id = world.start(BESIDE, {"order": 1})
    world.work(run_id, {"amount": 5})
    claimed = world.claim(run_id)
    due_at = world.row(run_id).due_at
    world.publisher.taken()
    world.engine.comment(world.task(run_id).id, text="hm", by=ANA)
    world.decide(run_id, ANA, "approve")
    row = world.row(run_id)
    assert (row.row_status, row.epoch, row.due_at) == (RunStatus.RUNNING, claimed.epoch, due_at)
    assert world.publisher.taken() == []
    world.engine.complete(claimed, {"sent": True}, worker="w1", go_on=False)
    world.check(run_id)


def test_a_late_rejection_starts_its_branch_in_the_same_moment(world: World) -> None:
    run_id = world.start(BESIDE, {"order": 1})
    world.work(run_id, {"amount": 5})
    world.work(run_id, {"sent": True})
    assert world.state(run_id).status is RunStatus.COMPLETED
    world.publisher.taken()
    world.decide(run_id, ANA, "reject", note="undo it", task=world.task(run_id))
    ((child_id, epoch, queue),) = world.publisher.taken()
    assert (epoch, queue) == (0, "signoff.default")
    world.check(child_id)
    claimed = world.claim(child_id)
    assert (claimed.step.name, claimed.state.value) == ("undo", {"amount": 5})
    assert claimed.state.labels["compensates"] == str(run_id)
    assert world.engine.arguments(claimed, {"draft", "send", "input"}) == {
        "draft": {"amount": 5}, "send": {"sent": True}, "input": {"order": 1},
    }  # fmt: skip
    assert claimed.state.feedback is not None
    assert claimed.state.feedback["note"] == "undo it"
    world.engine.complete(claimed, None, worker="w", go_on=False)
    world.check(child_id)
    assert world.state(child_id).status is RunStatus.COMPLETED


def test_a_run_that_loops_is_stopped(module_database_url: str, world: World) -> None:
    loop = graph(
        step("draft", "ok", takes=("feedback",)),
        gate("ok", None, options=("approve", "request_changes"), changes_to="draft"),
        name="loop",
    )
    small = World.on(module_database_url, max_events_per_run=100)
    try:
        run_id = small.start(loop, {})
        for _ in range(30):
            small.work(run_id, {})
            if small.state(run_id).status is RunStatus.FAILED:
                break
            small.decide(run_id, ANA, "request_changes", note="once more")
        state = small.state(run_id)
        assert state.status is RunStatus.FAILED
        assert state.error is not None
        assert state.error.code == "too_many_events"
        assert 100 <= state.seq < 110
        assert not small.sql("SELECT 1 FROM human_tasks WHERE run_id = %s AND state = 'open'", run_id)
    finally:
        small.engine.close()


def test_the_engine_survives_a_restart_of_its_process(module_database_url: str, world: World) -> None:
    run_id = world.start(REFUND, {})
    world.work(run_id, {"amount": 9})
    other = World.on(module_database_url)
    other.graphs = world.graphs
    try:
        other.decide(run_id, ANA, "approve")
        assert isinstance(other.engine, Engine)
        assert seconds_until(other.row(run_id), other.now()) <= 5
    finally:
        other.engine.close()
    assert [event.type for event in world.log(run_id)][-1] is EventType.GATE_DECIDED
