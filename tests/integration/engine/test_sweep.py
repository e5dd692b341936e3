"""The sweep: what is due, once, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.engine.flows import BESIDE, CHAIN, GATE, HOUR, REFUND
from tests.integration.engine.world import ANA, World, together
from tests.unit.transitions.graphs import escalate, gate, graph, pay, remind, take

from signoff.model import EventType, RunStatus, TaskState
from signoff.transitions import timers


def test_a_message_that_nobody_took_is_sent_again_later_and_later(own_world: World) -> None:
    world = own_world
    run_id = world.start(CHAIN, {})
    world.publisher.taken()
    for wait in (5, 10, 20, 40, 80, 160, 300, 300):
        world.later(wait - 1)
        assert world.engine.sweep().resent == 0
        world.later(1.01)
        assert world.engine.sweep().resent == 1
        assert world.publisher.taken() == [(run_id, 0, "signoff.default")], "the epoch stays"
    world.check(run_id)
    assert world.claim(run_id).epoch == 1, "the first message is as good as the last"
    assert world.row(run_id).resends == 0
    assert world.kinds(run_id) == ["run.created"], "that a message was sent again is no fact of the run"


def test_a_message_that_no_broker_took_is_due_again_at_once(own_world: World) -> None:
    world = own_world
    run_id = world.start(CHAIN, {})
    world.publisher.taken()
    world.publisher.away = True
    world.later(5.01)
    for _ in range(4):
        assert world.engine.sweep().resent == 1
        assert world.engine.sweep().resent == 0, "not twice in one go"
        world.later(1.01)
    world.publisher.away = False
    assert world.engine.sweep().resent == 1
    assert world.publisher.taken() == [(run_id, 0, "signoff.default")]
    world.later(9)
    assert world.engine.sweep().resent == 0
    world.later(1.01)
    assert world.engine.sweep().resent == 1, "it goes on where it was"


def test_a_message_that_most_likely_still_waits_is_not_sent_twice(own_world: World) -> None:
    world = own_world
    run_id = world.start(CHAIN, {})
    world.publisher.queued["signoff.default"] = 100
    world.publisher.taken()
    sent = []
    for wait in (5, 10, 20):
        world.later(wait + 0.1)
        world.engine.sweep()
        sent.append(len(world.publisher.taken()))
    assert sent == [0, 0, 1]
    assert world.claim(run_id).epoch == 1


def test_a_sweep_of_nothing_does_nothing(own_world: World) -> None:
    world = own_world
    for flow in (GATE, REFUND, BESIDE):
        world.start(flow, {"amount": 5})
    world.publisher.taken()
    swept = world.engine.sweep()
    assert (swept.resent, swept.leases_expired, swept.human_tasks) == (0, 0, 0)
    assert world.publisher.taken() == []


def test_many_sweeps_at_once_do_each_thing_once(own_world: World) -> None:
    world = own_world
    gates = [world.start(GATE, {"amount": n}) for n in range(6)]
    chains = [world.start(CHAIN, {}) for _ in range(6)]
    taken = [world.start(CHAIN, {}) for _ in range(6)]
    for run_id in taken:
        world.claim(run_id)
    world.later(3_601)
    world.publisher.taken()
    results = together(*[world.engine.sweep] * 6)
    assert not [result for result in results if isinstance(result, BaseException)]
    assert sum(result.resent for result in results) == 6
    assert sum(result.leases_expired for result in results) == 6
    assert sum(result.human_tasks for result in results) == 6
    for run_id in (*gates, *chains, *taken):
        world.check(run_id)
    for run_id in gates:
        kinds = world.kinds(run_id)
        assert kinds.count("gate.timed_out") == 1
        assert kinds.count("gate.decided") == 1
    assert len(world.publisher.taken()) == 12


def test_the_ladder_is_climbed_in_time_and_after_a_long_silence(own_world: World) -> None:
    world = own_world
    run_id, late = world.start(REFUND, {}), world.start(REFUND, {})
    for each in (run_id, late):
        world.work(each, {"amount": 9})
    seen = []
    for _ in range(4):
        world.later(3_600)
        world.engine.sweep()
        world.check(run_id)
        seen.append(world.kinds(run_id)[3:])
    assert seen[0] == ["gate.reminded"]
    assert seen[1][1:] == ["gate.escalated"]
    assert seen[2] == seen[1]
    assert seen[3][2:] == ["gate.timed_out", "gate.decided", "run.completed"]
    (task,) = world.state(run_id).human_tasks.values()
    assert task.candidates.groups == ("leads", "managers")
    assert (task.state, task.outcome) == (TaskState.TIMED_OUT, "rejected")


def test_everything_that_came_due_while_nobody_swept_is_made_up_for(own_world: World) -> None:
    world = own_world
    run_id = world.start(REFUND, {})
    world.work(run_id, {"amount": 9})
    world.later(365 * 86_400)
    assert world.engine.sweep().human_tasks == 1
    assert world.kinds(run_id)[3:] == [
        "gate.reminded", "gate.escalated", "gate.timed_out", "gate.decided", "run.completed",
    ]  # fmt: skip
    world.check(run_id)
    assert world.engine.sweep().human_tasks == 0


def test_nothing_fires_early(own_world: World) -> None:
    world = own_world
    asked = gate("ok", "pay", ladder=(remind(HOUR),), due=2 * HOUR, on_timeout=take("reject"))
    run_id = world.start(graph(asked, pay(), name="clock"), {})
    opened = world.task(run_id).opened_at
    for minutes in range(0, 135, 15):
        for event in world.log(run_id)[2:]:
            hours = (event.at - opened).total_seconds() / 3600
            assert hours >= (1 if event.type is EventType.GATE_REMINDED else 2)
        assert len(world.log(run_id)) >= 2 + (minutes > 60) + 3 * (minutes > 120)
        world.later(900.01)
        world.engine.sweep()


def test_a_silent_gate_stays_open_and_is_not_looked_at_again(own_world: World) -> None:
    world = own_world
    run_id = world.start(graph(gate("ok", "pay", due=HOUR), pay(), name="silent"), {})
    world.later(3_601)
    assert world.engine.sweep().human_tasks == 1
    world.later(10 * 86_400)
    assert world.engine.sweep().human_tasks == 0
    world.check(run_id)
    world.decide(run_id, ANA, "approve")
    assert world.state(run_id).node == "pay"


def test_silence_beside_a_run_starts_its_branch(own_world: World) -> None:
    world = own_world
    quiet = graph(
        *[
            gate("audit", None, mode="after", due=HOUR, on_timeout=take("reject"), routes=BESIDE.gate("audit").routes),
            BESIDE.step("undo"),
        ],
        name="quiet",
    )
    run_id = world.start(quiet, {"amount": 1})
    assert world.state(run_id).status is RunStatus.COMPLETED
    world.later(3_601)
    world.publisher.taken()
    world.engine.sweep()
    ((child, _, _),) = world.publisher.taken()
    world.check(run_id)
    world.check(child)
    assert world.claim(child).step.name == "undo"


def test_a_sweep_takes_no_more_than_it_may(database_url: str, own_world: World) -> None:
    for _ in range(7):
        own_world.start(CHAIN, {})
    own_world.later(6)
    small = World.on(database_url, sweep_batch=2, sweep_max_rows=4)
    try:
        assert small.engine.sweep().resent == 4
        assert small.engine.sweep().resent == 3
    finally:
        small.engine.close()


def test_runs_that_can_not_be_moved_keep_nobody_else_waiting(
    database_url: str, own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = [own_world.start(graph(gate("ok", "pay", ladder=(escalate(n + 1, "x"),)), pay(), name="stuck"), {"n": n})
             for n in range(5)]  # fmt: skip
    fine = [own_world.start(GATE, {"amount": n}) for n in range(3)]
    fire = timers.fire

    def broken(fold: Any, task: Any, new_id: Any) -> Any:
        if fold.graph.workflow == "stuck":
            raise KeyError("something nobody thought of")
        return fire(fold, task, new_id)

    monkeypatch.setattr(timers, "fire", broken)
    own_world.later(3_601)
    small = World.on(database_url, sweep_batch=2)
    try:
        assert small.engine.sweep().human_tasks == 3
    finally:
        small.engine.close()
    assert all(own_world.state(run_id).status is RunStatus.COMPLETED for run_id in fine)
    assert all(own_world.state(run_id).status is RunStatus.WAITING for run_id in stuck)


def test_a_run_that_somebody_works_on_is_left_for_the_next_sweep(own_world: World) -> None:
    world = own_world
    run_id = world.start(GATE, {"amount": 5})
    world.later(3_601)
    with world.engine.database.transaction() as cursor:
        cursor.execute("SELECT 1 FROM runs WHERE id = %s FOR UPDATE", (run_id,))
        assert world.engine.sweep().human_tasks == 0, "it does not wait for a lock"
    assert world.engine.sweep().human_tasks == 1


def test_parked_runs_have_nothing_due(own_world: World) -> None:
    world = own_world
    run_id = world.start(REFUND, {})
    world.work(run_id, {"amount": 9})
    row = world.row(run_id)
    assert (row.due_at, row.worker, row.queue) == (None, None, None)
    assert seconds_until_wake(world, run_id) == pytest.approx(3_600, abs=5)


def seconds_until_wake(world: World, run_id: Any) -> float:
    wake_at = world.task(run_id).wake_at
    assert wake_at is not None
    seconds: float = (wake_at - world.now()).total_seconds()
    return seconds
