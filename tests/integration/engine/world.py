"""An engine on a real database whose clock the test moves, with the people and the checks that go with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import psycopg
from tests.unit.transitions.ledger import Ledger, check_head

from signoff.canonical import Json
from signoff.definition.graph import Graph, StepNode
from signoff.engine import Claimed, Decided, DecisionRequest, Engine, Failure, IdempotencyKey
from signoff.identity import Principal
from signoff.model import SYSTEM, Event, HumanTask, RunState, RunStatus, TaskState
from signoff.settings import Settings
from signoff.store.database import Database
from signoff.store.rows import RunRow
from signoff.store.runs import load_events, lock_run
from signoff.transitions.fold import replay

NAMES = UUID(int=0x51)

# The engine's statements ask for `clock_timestamp()` by its bare name. In a test's database that name is found in a
# schema of its own first, where it is the real clock and what the test has added to it.
SHIFTED_CLOCK = """
CREATE SCHEMA shifted;
CREATE TABLE shifted.by (seconds double precision NOT NULL);
INSERT INTO shifted.by VALUES (0);
CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT pg_catalog.clock_timestamp() + (SELECT seconds FROM shifted.by) * interval ''1 second''';
"""


def principal(name: str, *groups: str, kind: str = "user", roles: Iterable[str] = ()) -> Principal:
    """Somebody; the same name is the same id everywhere."""
    return Principal(
        id=uuid5(NAMES, name),
        name=name,
        kind=kind,  # type: ignore[arg-type]
        groups=frozenset(groups),
        roles=frozenset(roles),
    )


REQUESTER = principal("portal", kind="service", roles=("requester",))
ANA, BEN, CLEO = (principal(name, "leads", roles=("reviewer",)) for name in ("ana", "ben", "cleo"))
ADMIN = principal("admin", roles=("admin",))
PEOPLE = {"ana": ANA, "ben": BEN, "cleo": CLEO}


def shift_clock(database_url: str) -> None:
    """Let a database have a clock that tests can move."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SHIFTED_CLOCK)
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET search_path = shifted, public, pg_catalog')


class RecordingPublisher:
    """Keeps what would be sent. `queued` is what a broker would say waits in a queue, unless it is `away`."""

    def __init__(self) -> None:
        self.sent: list[tuple[UUID, int, str]] = []
        self.queued: dict[str, int] = {}
        self.away = False

    def publish_all(self, messages: Iterable[tuple[UUID, int, str]]) -> bool:
        if self.away:
            return False
        self.sent += messages
        return True

    def backlog(self, queue: str) -> int:
        return self.queued.get(queue, 0)

    def ping(self) -> None:
        pass

    def close(self) -> None:
        pass

    def taken(self) -> list[tuple[UUID, int, str]]:
        """What was sent since the last time somebody asked."""
        sent, self.sent = self.sent, []
        return sent


@dataclass(kw_only=True)
class World:
    """One database, one engine, one clock."""

    url: str
    engine: Engine
    publisher: RecordingPublisher
    graphs: dict[str, Graph] = field(default_factory=dict)

    @classmethod
    def on(cls, database_url: str, **options: Any) -> World:
        """An engine on the database of this URL; options are settings."""
        settings = Settings(database_url=database_url, **({"republish_seconds": 5, "lease_seconds": 20} | options))
        publisher = RecordingPublisher()
        database = Database.connect(database_url, pool_size=16)
        return cls(
            url=database_url,
            engine=Engine(database=database, publisher=publisher, settings=settings),
            publisher=publisher,
        )

    # Time ----------------------------------------------------------------------------------------------------------

    def later(self, seconds: float) -> None:
        """Move the database's clock on."""
        self.sql("UPDATE shifted.by SET seconds = seconds + %s", seconds)

    def now(self) -> datetime:
        moment: datetime = self.sql("SELECT shifted.clock_timestamp()")[0][0]
        return moment

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """One statement behind the engine's back."""
        with self.engine.database.transaction() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    # What is there --------------------------------------------------------------------------------------------------

    def row(self, run_id: UUID) -> RunRow:
        with self.engine.database.transaction() as cursor:
            found = lock_run(cursor, run_id)
            assert found is not None
            return found[0]

    def state(self, run_id: UUID) -> RunState:
        return self.row(run_id).state

    def log(self, run_id: UUID) -> list[Event]:
        with self.engine.database.transaction() as cursor:
            return [stored.event for stored in load_events(cursor, run_id)]

    def kinds(self, run_id: UUID) -> list[str]:
        return [str(event.type) for event in self.log(run_id)]

    def task(self, run_id: UUID) -> HumanTask:
        """The only open human task of the run."""
        (found,) = [task for task in self.state(run_id).human_tasks.values() if task.state is TaskState.OPEN]
        return found

    # What happens, each followed by a look at everything --------------------------------------------------------------

    def start(
        self,
        graph: Graph,
        value: Json,
        *,
        by: Principal = REQUESTER,
        idempotency: IdempotencyKey | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> UUID:
        """A run of the graph, registered if need be."""
        if self.graphs.get(graph.workflow) != graph:
            self.engine.register(graph, by=SYSTEM)
            self.graphs[graph.workflow] = graph
        started = self.engine.start(
            workflow=graph.workflow, input=value, requester=by, idempotency=idempotency, labels=labels
        )
        self.check(started.run_id)
        return started.run_id

    def claim(self, run_id: UUID, *, worker: str = "w1") -> Claimed:
        """Take the run as a worker would on the newest message."""
        claimed = self.engine.claim_run(run_id, epoch=self.row(run_id).epoch, worker=worker)
        assert claimed is not None
        self.check(run_id)
        return claimed

    def work(self, run_id: UUID, output: Json) -> None:
        """A worker takes the run and its step gives `output`."""
        self.engine.complete(self.claim(run_id), output, worker="w1", go_on=False)
        self.check(run_id)

    def fail(self, run_id: UUID, *, retryable: bool = True, code: str = "step_raised") -> RunStatus:
        failure = Failure(code=code, message="it broke", trace="Traceback …", retryable=retryable)
        status = self.engine.fail(self.claim(run_id), failure)
        self.check(run_id)
        return status

    def decide(
        self, run_id: UUID, by: Principal, decision: str, *, task: HumanTask | None = None, **said: Any
    ) -> Decided:
        on = task or self.task(run_id)
        key = said.pop("idempotency", None)
        if not said.keys() & {"payload_sha256", "revision"}:
            said["payload_sha256"] = on.payload_sha256
        decided = self.engine.decide(on.id, DecisionRequest(decision=decision, **said), by=by, idempotency=key)
        self.check(run_id)
        return decided

    def check(self, run_id: UUID) -> None:
        """That head and log agree, that the log keeps every promise, and that somebody will look at the run again."""
        verified = self.engine.verify(run_id)
        assert verified.ok, verified.first_bad
        row = self.row(run_id)
        log = self.log(run_id)
        graph = self.graphs[row.state.workflow]
        state = replay(graph, run_id, log)
        check_head(graph, state, Ledger.read(graph, log))
        _check_row(graph, row)
        stored = self.sql(
            "SELECT state, wake_at FROM human_tasks WHERE run_id = %s AND wake_at IS NOT NULL AND state <> 'open'",
            run_id,
        )
        assert stored == [], "what is over is not woken"


def _check_row(graph: Graph, row: RunRow) -> None:
    status = row.row_status
    moving = status in (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.RETRYING)
    assert (row.due_at is not None) == moving, "whatever moves is looked at again, and nothing else"
    assert (row.worker is not None) == (status is RunStatus.RUNNING)
    node = graph.nodes.get(row.state.node or "")
    if moving:
        assert isinstance(node, StepNode)
        assert row.queue == node.queue
    else:
        assert row.queue is None


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Run the calls at once, one thread each, from a barrier on; what each returned or raised."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(index: int, call: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            results[index] = call()
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            results[index] = error

    threads = [threading.Thread(target=run, args=(index, call)) for index, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def seconds_until(row: RunRow, now: datetime) -> float:
    """How far away the run's next look is."""
    assert row.due_at is not None
    return (row.due_at - now) / timedelta(seconds=1)
