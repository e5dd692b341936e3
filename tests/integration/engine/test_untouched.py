"""The quick way to record a step: one statement, on the condition that nobody has touched the run since its claim."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.integration.engine.flows import BESIDE, CHAIN, GATE, REFUND
from tests.integration.engine.world import ANA, REQUESTER, World
from tests.unit.transitions.graphs import gate, graph, step

from signoff.engine import execution
from signoff.engine.core import Core
from signoff.errors import LeaseLost
from signoff.model import EventType, RunStatus, TaskState
from signoff.store.recording import Batch, Lease, record
from signoff.store.rows import RunRow
from signoff.transitions import steps
from signoff.transitions.fold import Fold

TWO_GATES = graph(gate("first", "between"), step("between", "second"), gate("second"), name="two_gates")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the steps that were not recorded the quick way."""
    found: list[str] = []
    lock = Core.lock

    def counted(self: Core, *arguments: Any, **options: Any) -> Any:
        found.append("locked")
        return lock(self, *arguments, **options)

    monkeypatch.setattr(Core, "lock", counted)
    return found


def test_a_chain_of_steps_takes_no_lock_and_gives_the_same_log(world: World, slow: list[str]) -> None:
    run_id = world.start(CHAIN, {"a": 1})
    claimed = world.claim(run_id)
    while claimed is not None:
        claimed = world.engine.complete(claimed, {"a": claimed.epoch}, worker="w1", go_on=True)  # type: ignore[assignment]
        world.check(run_id)
    assert slow == []
    state = world.state(run_id)
    assert (state.status, state.value) == (RunStatus.COMPLETED, {"a": 3})
    assert world.kinds(run_id) == ["run.created", *["step.completed"] * 3, "run.completed"]


def test_parking_at_a_gate_takes_no_lock_either(world: World, slow: list[str]) -> None:
    run_id = world.start(REFUND, {})
    assert world.engine.complete(world.claim(run_id), {"amount": 6}, worker="w1", go_on=True) is None
    assert slow == []
    world.check(run_id)
    assert world.state(run_id).status is RunStatus.WAITING
    assert world.task(run_id).payload == {"amount": 6}


def test_a_run_with_a_human_task_beside_it_is_locked(world: World, slow: list[str]) -> None:
    run_id = world.start(BESIDE, {})
    following = world.engine.complete(world.claim(run_id), {"amount": 6}, worker="w1", go_on=True)
    assert following is not None
    assert slow == []
    world.engine.comment(world.task(run_id).id, text="seen", by=replace(REQUESTER))
    world.engine.complete(following, {}, worker="w1", go_on=True)
    assert slow == ["locked"]
    world.check(run_id)
    assert world.kinds(run_id)[-3:] == ["human_task.commented", "step.completed", "run.completed"]


def test_it_is_locked_also_where_nobody_has_said_anything(world: World, slow: list[str]) -> None:
    run_id = world.start(BESIDE, {})
    following = world.engine.complete(world.claim(run_id), {"amount": 6}, worker="w1", go_on=True)
    assert following is not None
    world.engine.complete(following, {}, worker="w1", go_on=True)
    assert slow == ["locked"]
    world.check(run_id)


def test_it_is_locked_when_it_is_claimed_anew_as_well(world: World, slow: list[str]) -> None:
    run_id = world.start(BESIDE, {})
    world.work(run_id, {"amount": 6})
    claimed = world.claim(run_id)
    slow.clear()
    world.engine.complete(claimed, {}, worker="w1", go_on=True)
    assert slow == ["locked"]
    world.check(run_id)


def test_a_step_after_a_decision_takes_no_lock_and_keeps_the_human_tasks(world: World, slow: list[str]) -> None:
    run_id = world.start(GATE, {"amount": 6})
    world.decide(run_id, ANA, "approve")
    claimed = world.claim(run_id)
    slow.clear()
    world.engine.complete(claimed, {}, worker="w1", go_on=True)
    assert slow == []
    world.check(run_id)
    state = world.state(run_id)
    assert state.status is RunStatus.COMPLETED
    assert [task.state for task in state.human_tasks.values()] == [TaskState.COMPLETED]


def test_what_is_said_while_the_step_runs_is_kept_before_its_end(world: World, slow: list[str]) -> None:
    run_id = world.start(GATE, {"amount": 6})
    task = world.task(run_id)
    world.decide(run_id, ANA, "approve")
    claimed = world.claim(run_id)
    world.engine.comment(task.id, text="late", by=ANA)
    slow.clear()
    world.engine.complete(claimed, {}, worker="w1", go_on=True)
    assert slow == ["locked"]
    world.check(run_id)
    assert world.kinds(run_id)[-3:] == ["human_task.commented", "step.completed", "run.completed"]


def test_a_draft_that_was_asked_for_goes_to_who_asked(world: World, slow: list[str]) -> None:
    run_id = world.start(REFUND, {})
    world.work(run_id, {"amount": 6})
    asked = world.task(run_id)
    world.decide(run_id, ANA, "request_changes", note="friendlier")
    claimed = world.claim(run_id)
    slow.clear()
    world.engine.complete(claimed, {"amount": 7}, worker="w1", go_on=True)
    assert slow == ["locked"]
    world.check(run_id)
    again = world.task(run_id)
    assert (again.id, again.revision, again.payload) == (asked.id, asked.revision + 1, {"amount": 7})


def test_a_second_gate_opens_without_a_lock_beside_a_human_task_that_is_over(world: World, slow: list[str]) -> None:
    run_id = world.start(TWO_GATES, {"amount": 6})
    world.decide(run_id, ANA, "approve")
    claimed = world.claim(run_id)
    slow.clear()
    world.engine.complete(claimed, {"amount": 7}, worker="w1", go_on=True)
    assert slow == []
    world.check(run_id)
    assert [task.state for task in world.state(run_id).human_tasks.values()] == [TaskState.COMPLETED, TaskState.OPEN]


def test_a_step_of_a_canceled_run_is_refused(world: World) -> None:
    run_id = world.start(CHAIN, {})
    claimed = world.claim(run_id)
    world.engine.cancel(run_id, reason="no longer wanted", by=REQUESTER)
    with pytest.raises(LeaseLost):
        world.engine.complete(claimed, {}, worker="w1", go_on=True)
    assert world.kinds(run_id) == ["run.created", "run.canceled"]


@pytest.mark.parametrize(
    "touched",
    ["epoch = epoch + 1", "seq = seq + 1", "status = 'queued'", "status = 'canceled'"],
)
def test_whatever_was_touched_is_not_written(world: World, touched: str) -> None:
    run_id = world.start(CHAIN, {})
    claimed = world.claim(run_id)
    assert isinstance(claimed.row, RunRow)
    assert claimed.clock is not None
    fold = Fold(claimed.graph, claimed.state, run_id=run_id, now=claimed.clock.now())
    steps.complete(fold, step="one", output={}, new_id=world.engine.core.new_id)
    lease = Lease(status=RunStatus.QUEUED, epoch=claimed.epoch, queue=None, due_at=fold.now)
    batch = Batch(before=claimed.row, state=fold.state, events=fold.events, lease=lease)
    with world.engine.database.transaction() as cursor:
        cursor.execute("SAVEPOINT untouched")
        cursor.execute(f"UPDATE runs SET {touched} WHERE id = %s", (run_id,))
        assert record(cursor, [batch]) == {}
        cursor.execute("ROLLBACK TO SAVEPOINT untouched")
        assert set(record(cursor, [batch])) == {run_id}
    assert [event.type for event in world.log(run_id)] == [EventType.RUN_CREATED, EventType.STEP_COMPLETED]


def test_the_carried_clock_is_never_ahead_of_the_databases(world: World) -> None:
    run_id = world.start(CHAIN, {})
    clock = world.claim(run_id).clock
    assert clock is not None
    for _ in range(200):
        carried = clock.now()
        assert carried <= world.now()
    assert (world.now() - clock.now()).total_seconds() < 5


def test_a_claim_that_was_not_read_here_is_recorded_under_lock(world: World, slow: list[str]) -> None:
    run_id = world.start(CHAIN, {})
    bare = replace(world.claim(run_id), row=None, clock=None)
    assert isinstance(bare, execution.Claimed)
    world.engine.complete(bare, {}, worker="w1", go_on=False)
    assert slow == ["locked"]
    world.check(run_id)
