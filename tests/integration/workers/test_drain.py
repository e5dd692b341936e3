"""Runs that a worker takes together: each as if alone, none kept waiting, and all given back by one that stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from tests.integration.engine.world import ANA, REQUESTER, World
from tests.integration.workers import short
from tests.servers import eventually

from signoff.definition.authoring import Workflow
from signoff.engine import Engine
from signoff.model import RunStatus
from signoff.store.clock import DatabaseClock
from signoff_workers import drain
from signoff_workers.drain import Drain
from signoff_workers.in_hand import InHand
from signoff_workers.runner import Runner
from signoff_workers.taken import Taken, said_of

WAITED = drain.QUEUED_SECONDS
"""From here on a run is one that has waited; a test may say that none has."""


class Bench:
    """An engine and one worker process's runner, in this process."""

    def __init__(self, world: World, **options: Any) -> None:
        self.world = world
        self.in_hand = InHand()
        self.taken = Taken(believed_seconds=60)
        self.runner = Runner(world.engine, self.in_hand, taken=self.taken, **options)

    def start(self, workflow: Workflow, count: int) -> list[UUID]:
        """Runs that have waited for a while."""
        runs = [self.world.start(workflow.graph, number) for number in range(count)]
        time.sleep(WAITED)
        self.world.publisher.taken()
        return runs

    def warm(self, *workflows: Workflow) -> None:
        """Let the process see how short the steps are."""
        for workflow in workflows:
            (run,) = self.start(workflow, 1)
            self.work(run)
            self.deliver()
        short.SEEN.clear()

    def work(self, run: UUID) -> None:
        """Its message arrives."""
        self.runner.execute(run, self.world.row(run).epoch)

    def deliver(self) -> None:
        """All that was sent arrives."""
        while sent := self.world.publisher.taken():
            for run, epoch, _ in sent:
                self.runner.execute(run, epoch)

    def statuses(self, runs: list[UUID]) -> list[RunStatus]:
        # Without a lock, which `world.row` takes: workers pass over what is locked as they take and give back.
        found = self.world.sql("SELECT id, status FROM runs WHERE id = ANY(%s)", runs)
        return [RunStatus(dict(found)[run]) for run in runs]


@pytest.fixture
def bench(own_world: World) -> Iterator[Bench]:
    made = Bench(own_world)
    yield made
    made.in_hand.close()
    made.taken.close()


@pytest.fixture(autouse=True)
def _nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "TAKE_SECONDS", 30.0)  # a busy machine must not end the company that a test is about
    monkeypatch.setattr(drain, "COMPANY_SECONDS", 60.0)
    monkeypatch.setattr("signoff_workers.pace.SHORT_SECONDS", 0.25)
    short.SEEN.clear()
    short.ON.clear()


@pytest.fixture
def own_world(database_url: str) -> Iterator[World]:
    made = World.on(database_url, drain_runs=16, lease_seconds=20)
    yield made
    made.engine.close()


def recorded_together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps each record of several held."""
    counts: list[int] = []
    complete = Engine.complete_together

    def counted(self: Engine, done: Any, **options: Any) -> Any:
        counts.append(len(done))
        return complete(self, done, **options)

    monkeypatch.setattr(Engine, "complete_together", counted)
    return counts


def test_one_message_takes_many_and_each_step_runs_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "RECORD_SECONDS", 30.0)
    bench.warm(short.three_short)
    counts = recorded_together(monkeypatch)
    runs = bench.start(short.three_short, 40)
    bench.work(runs[0])
    assert bench.statuses(runs) == [RunStatus.COMPLETED] * 40
    assert counts == [16, 16, 16, 15, 15, 15, 9, 9, 9]
    for run in runs:
        bench.runner.execute(run, 0)  # their own messages come late
        bench.world.check(run)
    assert sorted(short.SEEN) == sorted((name, n) for n in range(40) for name in ("one", "two", "three"))


def test_its_own_message_of_what_was_taken_beside_another_is_passed_over(bench: Bench) -> None:
    bench.warm(short.three_short)
    runs = bench.start(short.three_short, 3)
    assert not any(bench.taken.has(said_of(run, 0)) for run in runs)
    bench.work(runs[0])
    assert [bench.taken.has(said_of(run, 0)) for run in runs] == [False, True, True]
    assert not any(bench.taken.has(said_of(run, 1)) for run in runs), "one that comes back has another epoch"


def test_a_step_begins_when_what_led_to_it_is_on_disk(bench: Bench) -> None:
    bench.warm(short.three_short)
    wrong: list[Any] = []

    def look(steps: int) -> Any:
        def compare(_value: Any, run: Any) -> None:
            if bench.world.kinds(run.run_id) != ["run.created", *["step.completed"] * steps]:
                wrong.append(bench.world.kinds(run.run_id))

        return compare

    short.ON |= {"one": look(0), "two": look(1), "three": look(2)}
    runs = bench.start(short.three_short, 10)
    bench.work(runs[0])
    assert bench.statuses(runs) == [RunStatus.COMPLETED] * 10
    assert wrong == []


def test_nothing_waits_to_be_recorded_while_an_irreversible_step_runs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "RECORD_SECONDS", 30.0)
    bench.warm(short.paid_last)
    runs = bench.start(short.paid_last, 5)
    begun: list[Any] = []

    def look(_value: Any, _run: Any) -> None:
        ran = sum(name in ("one", "two") for name, _ in short.SEEN)
        paid = sum(name == "pay" for name, _ in short.SEEN)
        (recorded,) = bench.world.sql("SELECT count(*) FROM events WHERE type = 'step.completed'")
        begun.append((ran + paid - 1, recorded[0] - 3))  # the first run, which warmed, has three

    short.ON["pay"] = look
    bench.work(runs[0])
    assert bench.statuses(runs) == [RunStatus.COMPLETED] * 5
    assert len(begun) == 5
    assert all(ran == recorded for ran, recorded in begun)


def test_nor_where_runs_stand_at_different_steps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "RECORD_SECONDS", 30.0)
    bench.warm(short.paid_last)
    behind, ahead = runs = bench.start(short.paid_last, 2)
    bench.world.work(ahead, 1)
    logs: list[list[str]] = []
    short.ON["pay"] = lambda _value, run: logs.append(bench.world.kinds(behind if run.run_id == ahead else ahead)[1:])
    bench.work(behind)
    assert bench.statuses(runs) == [RunStatus.COMPLETED] * 2
    assert short.SEEN == [("one", 0), ("two", 1), ("two", 0), ("pay", 1), ("pay", 0)]
    # The second step of the one behind had just run as the one ahead came to be paid.
    assert logs[0] == ["step.completed"] * 2


def test_an_irreversible_step_is_taken_by_its_own_message_alone(bench: Bench) -> None:
    bench.warm(short.paid_blindly_last)
    runs = bench.start(short.paid_blindly_last, 4)
    bench.work(runs[0])
    # In company none goes straight on: a process that dies would leave each of them as one nobody knows of.
    assert bench.statuses(runs) == [RunStatus.QUEUED] * 4
    assert {name for name, _ in short.SEEN} == {"one"}
    held: list[int] = []
    short.ON["pay_blindly"] = lambda _value, _run: held.append(
        bench.world.sql("SELECT count(*) FROM runs WHERE status = 'running'")[0][0]
    )
    time.sleep(WAITED)
    bench.deliver()
    assert bench.statuses(runs) == [RunStatus.COMPLETED] * 4
    assert held == [1] * 4


def test_a_step_that_fails_fails_its_run_and_no_other(bench: Bench) -> None:
    bench.warm(short.three_short)
    runs = bench.start(short.three_short, 6)

    def fail(value: Any, _run: Any) -> None:
        if value == 3:
            raise ValueError("not this one")

    short.ON["two"] = fail
    bench.work(runs[0])
    assert bench.statuses(runs) == [RunStatus.FAILED if n == 3 else RunStatus.COMPLETED for n in range(6)]
    for run in runs:
        bench.world.check(run)


def test_an_output_that_is_refused_fails_its_run_and_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.warm(short.three_short)
    monkeypatch.setattr(drain, "RECORD_SECONDS", 30.0)
    runs = bench.start(short.three_short, 4)
    attempt = Runner.attempt

    def spoiled(self: Runner, claimed: Any) -> Any:
        output = attempt(self, claimed)
        return "\ud800" if output == 2 else output

    monkeypatch.setattr(Runner, "attempt", spoiled)
    bench.work(runs[0])
    assert bench.statuses(runs) == [RunStatus.FAILED if n == 2 else RunStatus.COMPLETED for n in range(4)]


def test_a_run_that_is_canceled_in_company_stays_canceled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "RECORD_SECONDS", 30.0)
    bench.warm(short.three_short)
    runs = bench.start(short.three_short, 4)

    def cancel(value: Any, _run: Any) -> None:
        if value == 3:
            bench.world.engine.cancel(runs[1], reason="no longer", by=REQUESTER)

    short.ON["one"] = cancel
    bench.work(runs[0])
    assert bench.statuses(runs) == [RunStatus.CANCELED if n == 1 else RunStatus.COMPLETED for n in range(4)]
    assert bench.world.kinds(runs[1]) == ["run.created", "run.canceled"]


def test_told_to_stop_it_records_what_ran_and_gives_back_what_was_not_begun(bench: Bench) -> None:
    bench.warm(short.three_short)
    runs = bench.start(short.three_short, 10)
    short.ON["one"] = lambda value, _run: bench.in_hand.stop() if value == 4 else None
    bench.work(runs[0])
    assert bench.statuses(runs) == [RunStatus.QUEUED] * 10
    assert short.SEEN[-1] == ("one", 4), "nothing is begun after it"
    assert [bench.world.state(run).node for run in runs] == ["two"] * 5 + ["one"] * 5
    assert {run for run, _, _ in bench.world.publisher.taken()} == set(runs), "others hear of them at once"


def test_a_step_that_suddenly_takes_long_keeps_no_other_waiting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "RECORD_SECONDS", 30.0)
    bench.warm(short.three_short)
    runs = bench.start(short.three_short, 8)
    go = threading.Event()
    short.ON["one"] = lambda value, _run: go.wait(30) if value == 3 else None
    worker = threading.Thread(target=bench.work, args=(runs[0],))
    worker.start()
    expected = [RunStatus.QUEUED] * 3 + [RunStatus.RUNNING] + [RunStatus.QUEUED] * 4
    try:
        eventually(lambda: bench.statuses(runs) == expected, seconds=20, why="the others are free")
        assert [bench.world.state(run).node for run in runs] == ["two"] * 3 + ["one"] * 5
    finally:
        go.set()
        worker.join(30)
    assert bench.world.row(runs[3]).row_status is RunStatus.COMPLETED
    bench.deliver()
    assert bench.statuses(runs) == [RunStatus.COMPLETED] * 8
    assert sorted(short.SEEN) == sorted((name, n) for n in range(8) for name in ("one", "two", "three"))


def test_a_step_that_took_long_is_taken_alone_from_then_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signoff_workers.pace.SHORT_SECONDS", 0.02)
    bench.warm(short.three_short)
    (slow,) = bench.start(short.three_short, 1)
    short.ON["one"] = lambda _value, _run: time.sleep(0.2)
    bench.work(slow)
    short.ON.clear()
    runs = bench.start(short.three_short, 3)
    bench.work(runs[0])
    assert bench.statuses(runs) == [RunStatus.COMPLETED, RunStatus.QUEUED, RunStatus.QUEUED]


def test_what_was_kept_too_long_is_not_begun(bench: Bench) -> None:
    bench.warm(short.three_short)
    (run,) = bench.start(short.three_short, 1)
    claimed = bench.world.engine.claim_run(run, epoch=0, worker=bench.runner.name)
    assert claimed is not None
    assert claimed.clock is not None
    clock = DatabaseClock(heard=claimed.clock.heard, at=claimed.clock.at - 6)
    Drain(bench.runner).run(replace(claimed, clock=clock))
    assert short.SEEN == []
    assert bench.world.row(run).row_status is RunStatus.QUEUED


def test_a_run_that_was_alone_asks_for_no_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "QUEUED_SECONDS", 30.0)
    monkeypatch.setattr(drain, "TAKE_SECONDS", 0.0)
    bench.warm(short.three_short)
    asked: list[str] = []
    monkeypatch.setattr(Engine, "claim_waiting", lambda _self, queue, **_options: asked.append(queue) or [])
    (run,) = bench.start(short.three_short, 1)
    bench.work(run)
    assert bench.world.row(run).row_status is RunStatus.COMPLETED
    assert asked == []


def test_one_at_a_time_where_it_is_so_set(database_url: str) -> None:
    world = World.on(database_url, drain_runs=1)
    bench = Bench(world)
    try:
        bench.warm(short.three_short)
        runs = bench.start(short.three_short, 3)
        bench.work(runs[0])
        assert bench.statuses(runs) == [RunStatus.COMPLETED, RunStatus.QUEUED, RunStatus.QUEUED]
    finally:
        bench.in_hand.close()
        world.engine.close()


@pytest.mark.parametrize(("queues", "status"), [((), RunStatus.QUEUED), (("default", "gpu"), RunStatus.COMPLETED)])
def test_a_worker_goes_straight_on_in_another_queue_that_it_serves(
    own_world: World, queues: tuple[str, ...], status: RunStatus
) -> None:
    bench = Bench(own_world, queues=queues)
    (run,) = bench.start(short.handed_over, 1)
    bench.work(run)
    assert own_world.row(run).row_status is status
    sent = [queue for _, _, queue in own_world.publisher.taken()]
    assert sent == ([] if status is RunStatus.COMPLETED else ["signoff.gpu"])
    bench.in_hand.close()


def test_behind_a_gate_a_run_goes_straight_on_to_its_end(bench: Bench) -> None:
    (run,) = bench.start(short.decided_first, 1)
    bench.deliver()
    bench.world.decide(run, ANA, "approve")
    bench.work(run)
    assert bench.statuses([run]) == [RunStatus.COMPLETED]
    assert bench.world.kinds(run)[-3:] == ["step.completed", "step.completed", "run.completed"]
    assert short.SEEN == [("two", 0), ("three", 0)]
