"""What 1,000 to 1,000,000 parked runs do to the sweep, decisions, the inbox, claims and the database's size."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from signoff.engine import DecisionRequest, Engine, build_engine
from signoff.model import SYSTEM
from signoff.settings import Settings
from signoff.store.identity import create_api_key
from tests import servers
from tests.bench import growth_seed, pages, stack, timed
from tests.bench.figures import WARM_UP, percentile, say, until
from tests.bench.product import Api
from tests.bench.usage import cpu_seconds

DUE = 500
"""Human tasks, and as many queued runs, that one measured sweep finds due."""

SMALL = 1_000
BESIDE_SMALL = "decide p50, × that with 1,000"

EMPTY_SWEEPS = 30
IDLE_SECONDS = 10.0
REVIEWER = "bench-reviewer"
_MOVING = "SELECT 1 FROM runs WHERE status <> 'waiting' AND finished_at IS NULL LIMIT 1"

T = TypeVar("T")


def measure(counts: list[int], *, samples: int) -> list[dict[str, float]]:
    """One line of figures for each number of parked runs; milliseconds unless their name says otherwise."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name,
        contextlib.ExitStack() as undo,
    ):
        folder = Path(name)
        postgres = undo.enter_context(servers.postgres(folder / "pg"))
        postgres.migrate_template()
        broker_url = undo.enter_context(servers.valkey(folder / "vk"))

        def grown() -> Grown:
            database_url = postgres.create(template=servers.TEMPLATE)
            engine = build_engine(Settings(database_url=database_url, broker_url=broker_url))  # type: ignore[arg-type]
            undo.callback(engine.close)
            engine.register(timed.refund.graph, by=SYSTEM)
            return Grown(engine, folder, database_url, broker_url)

        large, small = grown(), grown()
        return [large.to(count, samples, small) for count in sorted(counts)]


class Grown:
    """A database that gets more and more parked runs, and what is measured on it."""

    def __init__(self, engine: Engine, folder: Path, database_url: str, broker_url: str) -> None:
        self._engine = engine
        self._folder = folder
        self._environment = stack.process_environment(folder, database_url, broker_url)
        self._requester, self._reviewer = stack.people(engine)
        key = create_api_key(engine.database, REVIEWER)
        self._site = pages.Site(
            port=int(self._environment["SIGNOFF_API_PORT"]), keys={REVIEWER: key}, database_url=database_url
        )
        self._originals = growth_seed.originals(engine, self._requester)

    def to(self, count: int, samples: int, small: Grown) -> dict[str, float]:
        """Seed up to so many parked runs, and measure; `small` is a database that stays at about SMALL."""
        began = time.perf_counter()
        parked, before = self._parked(), self._sizes()
        growth_seed.seed(self._engine, self._originals, count - parked)
        seeded = time.perf_counter() - began
        figures: dict[str, float] = {"parked": count}
        for name, size in self._sizes().items():
            figures[f"{name}, bytes a run"] = (size - before[name]) / (count - parked)
        figures["database, MiB"] = self._bytes() / 2**20
        figures |= self._sweeps() | self._claims(samples) | self._decisions(samples, small)
        with stack.api(self._folder, self._environment):
            until(self._api_ready, 30, "the API", every=0.1)
            figures |= self._http(samples)
        figures["idle cpu"] = self._idle()
        said = ", ".join(f"{name} {value:,.4g}" for name, value in figures.items())
        say(f"  {count:,} parked, {count - parked:,} seeded in {seeded:.0f} s: {said}")
        return figures

    def _sweeps(self) -> dict[str, float]:
        empty = _timed(lambda _: self._engine.sweep(), range(EMPTY_SWEEPS))
        growth_seed.queue(self._engine, self._requester, DUE)
        self._run("UPDATE runs SET due_at = clock_timestamp() WHERE status = 'queued'")
        (resent,) = _timed(lambda _: self._engine.sweep(), range(1))
        self._run(
            "UPDATE human_tasks SET wake_at = clock_timestamp(),"
            " revised_at = clock_timestamp() - interval '61 minutes',"
            " due_at = clock_timestamp() + interval '179 minutes'"
            f" WHERE id IN (SELECT id FROM human_tasks WHERE state = 'open' AND rung = 0 ORDER BY wake_at LIMIT {DUE})"
        )
        (woken,) = _timed(lambda _: self._engine.sweep(), range(1))
        return {
            "empty sweep p50": percentile(empty, 0.5),
            "empty sweep p95": percentile(empty, 0.95),
            f"sweep, {DUE} messages due": resent,
            f"sweep, {DUE} human tasks due": woken,
        }

    def _claims(self, samples: int) -> dict[str, float]:
        claimed = []

        def claim(run: tuple[UUID, int]) -> None:
            found = self._engine.claim_run(run[0], epoch=run[1], worker="bench")
            assert found is not None, "a queued run could not be claimed"
            claimed.append(found)

        queued = self._rows("SELECT id, epoch FROM runs WHERE status = 'queued' LIMIT %s", samples + WARM_UP)
        taken = _timed(claim, queued)[WARM_UP:]
        for each in claimed:
            self._engine.give_back(each)
        return {"claim p50": percentile(taken, 0.5), "claim p95": percentile(taken, 0.95)}

    def _decisions(self, samples: int, small: Grown) -> dict[str, float]:
        """Here and on a small database in turns: what else the machine does then slows both."""
        wanted = samples + WARM_UP
        few = small.some(wanted)
        taken, beside = [], []
        for (task_id, _), (other_id, _) in zip(self._open(wanted), few, strict=True):
            beside += _timed(small.decide, [other_id])
            taken += _timed(self.decide, [task_id])
        taken, beside = taken[WARM_UP:], beside[WARM_UP:]
        return {
            "decide p50": percentile(taken, 0.5),
            "decide p99": percentile(taken, 0.99),
            BESIDE_SMALL: percentile(taken, 0.5) / percentile(beside, 0.5),
        }

    def decide(self, task_id: UUID) -> None:
        self._engine.decide(task_id, DecisionRequest(decision="approve", revision=1), by=self._reviewer)

    def some(self, count: int) -> list[tuple[UUID, str]]:
        """So many that may be decided on, in a database of about SMALL parked runs."""
        growth_seed.seed(self._engine, self._originals, max(SMALL - self._parked(), 3 * count))
        return self._open(count)

    def _http(self, samples: int) -> dict[str, float]:
        api = Api(self._site.port, self._site.keys[REVIEWER])
        client = pages.Client(self._site, REVIEWER)
        decided = _timed(api.decide, self._open(samples + WARM_UP))[WARM_UP:]
        inbox = _timed(lambda _: client.page("/inbox"), range(min(samples, 100) + WARM_UP))[WARM_UP:]
        listed = _timed(lambda _: client.api("GET", "/human-tasks"), range(min(samples, 100) + WARM_UP))[WARM_UP:]
        return {
            "HTTP decide p50": percentile(decided, 0.5),
            "HTTP decide p99": percentile(decided, 0.99),
            "inbox page p50": percentile(inbox, 0.5),
            "inbox page p95": percentile(inbox, 0.95),
            "API list p95": percentile(listed, 0.95),
        }

    def _idle(self) -> float:
        """Per cent of a core that worker, beat, API, broker and database take when nobody does anything."""
        folder, environment = self._folder, self._environment
        beat = [sys.executable, "-m", "signoff_workers", "beat"]
        with (
            stack.worker(folder, environment),
            stack.process(beat, environment, folder / "beat.log"),
            stack.api(folder, environment),
        ):
            until(lambda: not self._rows(_MOVING), 60, "the queued runs", every=0.1)
            with self._engine.database.autocommit() as cursor:
                cursor.execute("VACUUM ANALYZE")
            time.sleep(1)
            used = cpu_seconds()
            time.sleep(IDLE_SECONDS)
            return (cpu_seconds() - used) / IDLE_SECONDS * 100

    def _api_ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self._site.port, timeout=5)
        with contextlib.suppress(OSError, json.JSONDecodeError):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False

    def _open(self, count: int) -> list[tuple[UUID, str]]:
        """Some of what the reviewer may decide on, from all over the table: copies have ids as old as their chunk."""
        return self._rows(
            "SELECT id, payload_sha256 FROM human_tasks"
            f" WHERE state = 'open' AND '{timed.REVIEWERS}' = ANY(candidate_groups) AND revision = 1"
            " ORDER BY md5(id::text) LIMIT %s",
            count,
        )

    def _parked(self) -> int:
        return int(self._rows("SELECT count(*) FROM runs WHERE status = 'waiting'")[0][0])

    def _sizes(self) -> dict[str, int]:
        """Bytes of the tables a parked run is in, with what is stored out of line, and of all their indexes."""
        tables = ("runs", "events", "human_tasks")
        sizes = {name: int(self._rows(f"SELECT pg_table_size('{name}')")[0][0]) for name in tables}
        indexes = sum(int(self._rows(f"SELECT pg_indexes_size('{name}')")[0][0]) for name in tables)
        return {"all": sum(sizes.values()) + indexes, **sizes, "indexes": indexes}

    def _bytes(self) -> int:
        return int(self._rows("SELECT pg_database_size(current_database())")[0][0])

    def _run(self, statement: str) -> None:
        with self._engine.database.autocommit() as cursor:
            cursor.execute(statement.encode())

    def _rows(self, query: str, *parameters: object) -> list[Any]:
        with self._engine.database.transaction() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute(query.encode(), parameters)
            return cursor.fetchall()


def _timed(call: Callable[[T], object], items: Iterable[T]) -> list[float]:
    """Milliseconds of each call."""
    taken = []
    for item in items:
        began = time.perf_counter()
        call(item)
        taken.append((time.perf_counter() - began) * 1000)
    return taken
