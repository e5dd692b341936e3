"""On either broker: a parked run holds nothing, and whatever a broker or the database loses is no loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from tests.integration.workers import flows
from tests.integration.workers.brokers import Broker, Postgres, Rabbit, rabbit, valkey
from tests.integration.workers.site import Process, Site, lines, site
from tests.servers import eventually

from signoff.embedded.places import prepare_home, socket_directory
from signoff.engine import Engine
from signoff.errors import Unavailable
from signoff.model import RunStatus

pytestmark = pytest.mark.long

QUEUED = 8
LONG_TRANSACTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE state LIKE 'idle in transaction%' AND xact_start < now() - interval '1 second'
"""


@dataclass(kw_only=True)
class Stack:
    """Everything, each part of which a test may stop as long as it starts it again."""

    site: Site
    broker: Broker
    postgres: Postgres
    worker: Process
    beat: Process

    @property
    def engine(self) -> Engine:
        return self.site.engine

    def alive(self) -> None:
        assert self.worker.process.poll() is None, self.worker.said
        assert self.beat.process.poll() is None, self.beat.said


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("valkey", marks=pytest.mark.xdist_group("workers-valkey")),
        pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
    ],
)
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A worker of two processes and a beat, on servers of their own."""
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as open_parts:
        broker: Broker = open_parts.enter_context(
            valkey(folder / "broker")
            if request.param == "valkey"
            else rabbit(request.getfixturevalue("rabbitmq_server"))
        )
        home = prepare_home(folder / "pg")
        postgres = Postgres(home=home, sockets=socket_directory(home))
        open_parts.callback(postgres.close)
        postgres.start()
        url = postgres.migrated()
        made = open_parts.enter_context(site(url, broker.url, folder))
        yield Stack(site=made, broker=broker, postgres=postgres, worker=made.worker(), beat=made.beat())


def flood(stack: Stack, folder: Path) -> list[UUID]:
    """Two runs that keep the worker busy until `go`, and more that wait behind them."""
    runs = [stack.site.start(flows.stopped, folder) for _ in range(2)]
    eventually(lambda: len(lines(folder, "begun")) == 2, seconds=20, why="both processes are busy")
    return runs + [stack.site.start(flows.noted, folder, at=at) for at in range(QUEUED)]


def all_complete(stack: Stack, folder: Path, runs: list[UUID], *, seconds: float = 20.0) -> None:
    """Every run of the flood, each step recorded once."""
    for run in runs:
        stack.site.until(run, RunStatus.COMPLETED, seconds=seconds)
        assert stack.site.kinds(run).count("step.completed") == (2 if run in runs[:2] else 1)
    stack.alive()


def test_a_parked_run_holds_nothing_and_a_decision_resumes_it(stack: Stack, tmp_path: Path) -> None:
    runs = [stack.site.start(flows.parking, tmp_path, at=at) for at in range(3)]
    for run in runs:
        stack.site.until(run, RunStatus.WAITING)

    # Sweeps pass through the broker all the time, and leave as well.
    eventually(lambda: not any(stack.broker.held().values()), seconds=10, why="no message, acknowledged or not")
    assert stack.site.ask("SELECT count(*) FROM runs WHERE worker IS NOT NULL OR due_at IS NOT NULL") == 0
    assert stack.site.ask(LONG_TRANSACTIONS) == 0
    assert (sorted(lines(tmp_path, "second")), lines(tmp_path, "after")) == (["0", "1", "2"], [])

    stack.site.decide(runs[1])

    stack.site.until(runs[1], RunStatus.COMPLETED)
    assert lines(tmp_path, "after") == ["1"]
    assert {stack.site.state(run).status for run in (runs[0], runs[2])} == {RunStatus.WAITING}


def test_the_sweep_that_beat_sends_fires_a_due_time(stack: Stack, tmp_path: Path) -> None:
    run = stack.site.start(flows.fleeting, tmp_path)

    found = stack.site.until(run, RunStatus.COMPLETED)

    assert found.outcome == "rejected"
    opened, fired = (
        next(event.at for event in stack.site.log(run) if event.type == kind)
        for kind in ("gate.opened", "gate.timed_out")
    )
    assert 1 <= (fired - opened).total_seconds() < 6
    assert lines(tmp_path, "after") == []


def test_what_a_broker_loses_is_sent_again(stack: Stack, tmp_path: Path) -> None:
    runs = flood(stack, tmp_path)

    stack.broker.empty()
    (tmp_path / "go").touch()

    all_complete(stack, tmp_path, runs)


def test_a_killed_broker_is_waited_for(stack: Stack, tmp_path: Path) -> None:
    runs = flood(stack, tmp_path)

    stack.broker.kill()
    # The hint can't be sent, and that is no error.
    runs.append(stack.site.start(flows.noted, tmp_path, at="while it is away"))
    (tmp_path / "go").touch()
    stack.broker.start()

    all_complete(stack, tmp_path, runs, seconds=40)


def test_queues_that_were_deleted_are_made_again(stack: Stack, tmp_path: Path) -> None:
    if not isinstance(stack.broker, Rabbit):
        pytest.skip("a Redis-protocol broker deletes its queues whenever they are empty")
    runs = flood(stack, tmp_path)

    stack.broker.delete_queues()
    (tmp_path / "go").touch()

    all_complete(stack, tmp_path, runs)


def test_a_broker_has_no_queues_but_ours(stack: Stack) -> None:
    assert {name for name in stack.broker.held() if not name.startswith("signoff.")} <= {"unacked"}


def test_a_stopped_database_is_waited_for(stack: Stack, tmp_path: Path) -> None:
    runs = flood(stack, tmp_path)

    stack.postgres.stop()
    # Both steps end while there is nowhere to record them.
    (tmp_path / "go").touch()
    eventually(lambda: "sweep_failed" in stack.worker.said or is_away(stack), seconds=10, why="it is away")
    stack.postgres.start()

    all_complete(stack, tmp_path, runs, seconds=40)


def is_away(stack: Stack) -> bool:
    try:
        stack.engine.database.ping()
    except Unavailable:
        return True
    return False


def test_nothing_fell_over_and_every_log_verifies(stack: Stack) -> None:
    stack.alive()
    assert stack.engine.verify().ok
