"""Races for gates: one process approves, one rejects, one cancels and one is the clock, all from a barrier on.

Everybody has an engine of their own on the same PostgreSQL. Nothing is judged here: each race is a line of JSON with
what everybody was told, for whoever has the guards that this process may lack.

    python -m tests.chaos.racer DATABASE_URL RACES SEED NOTES
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, ForkProcess
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from signoff.definition.graph import Graph
from signoff.engine import DecisionRequest, Engine
from signoff.errors import Conflict
from signoff.model import SYSTEM
from signoff.settings import Settings
from signoff.store.database import Database
from tests.integration.engine.flows import GATE
from tests.integration.engine.world import ADMIN, ANA, BEN, REQUESTER, RecordingPublisher

BATCH = 50
PARTIES = ("approve", "reject", "cancel", "clock")
LONGEST_LATE_SECONDS = 0.002
"""Who is late is so by less than what a decision takes, so that each of them wins now and then."""
BARRIER_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """One gate to be raced for, with how late each party is."""

    number: int
    run_id: UUID
    human_task_id: UUID
    payload_sha256: str
    late: dict[str, float]


def made_engine(database_url: str, *, pool_size: int) -> Engine:
    """An engine that sends nothing: nobody works here."""
    # What was approved stays queued, and no sweep is to look at it again.
    settings = Settings(database_url=database_url, republish_seconds=600)
    database = Database.connect(database_url, pool_size=pool_size)
    return Engine(database=database, publisher=RecordingPublisher(), settings=settings)


class Parties:
    """The four processes, and the barrier that they start from."""

    def __init__(self, database_url: str) -> None:
        context: ForkContext = multiprocessing.get_context("fork")
        barrier = context.Barrier(len(PARTIES))
        self._pipes: dict[str, Connection] = {}
        self._processes: list[ForkProcess] = []
        for party in PARTIES:
            ours, theirs = context.Pipe()
            process = context.Process(target=_take_part, args=(database_url, party, barrier, theirs), daemon=True)
            process.start()
            self._pipes[party] = ours
            self._processes.append(process)

    def race(self, races: list[Race]) -> list[dict[str, Any]]:
        """All of these, one after the other; what each party was told and when."""
        for pipe in self._pipes.values():
            pipe.send(races)
        told = {party: pipe.recv() for party, pipe in self._pipes.items()}
        return [
            {"number": each.number, "run": str(each.run_id)} | {party: told[party][at] for party in PARTIES}
            for at, each in enumerate(races)
        ]

    def close(self) -> None:
        for pipe in self._pipes.values():
            pipe.send(None)
        for process in self._processes:
            process.join(10)


def _take_part(database_url: str, party: str, barrier: Any, orders: Connection) -> None:
    engine = made_engine(database_url, pool_size=2)
    while (races := orders.recv()) is not None:
        told = []
        for race in races:
            act = _act(engine, party, race)
            barrier.wait(BARRIER_SECONDS)
            _wait(race.late[party])
            began = time.monotonic()
            answer = _told(act)
            told.append({"began": began, "ended": time.monotonic(), **answer})
        orders.send(told)
    engine.close()


def _act(engine: Engine, party: str, race: Race) -> Callable[[], Any]:
    """What this party will do; the clock's gate comes due now."""
    match party:
        case "cancel":
            return lambda: engine.cancel(race.run_id, reason="enough", by=ADMIN)
        case "clock":
            with engine.database.transaction() as cursor:
                cursor.execute("UPDATE human_tasks SET wake_at = revised_at WHERE id = %s", (race.human_task_id,))
            return engine.sweep
        case _:
            request = DecisionRequest(decision=party, payload_sha256=race.payload_sha256)
            who = ANA if party == "approve" else BEN
            return lambda: engine.decide(race.human_task_id, request, by=who)


def _told(act: Callable[[], Any]) -> dict[str, Any]:
    try:
        made = act()
    except Conflict as error:
        return {"told": "conflict", "winner": error.winner}
    except Exception as error:  # noqa: BLE001  # it is noted, and the judge looks at it
        return {"told": "error", "error": repr(error)}
    decision_id = getattr(made, "decision_id", None)
    return {"told": "stands", "decision_id": None if decision_id is None else str(decision_id)}


def _wait(seconds: float) -> None:
    """By the clock and not by the scheduler, whose grain is coarser than this."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def _gates(engine: Engine, graph: Graph, numbers: range, seed: int) -> list[Race]:
    races = []
    for number in numbers:
        draw = random.Random(f"{seed}:{number}")
        run_id = engine.start(workflow=graph.workflow, input={"amount": number}, requester=REQUESTER).run_id
        with engine.database.transaction() as cursor:
            found = cursor.execute("SELECT id, payload_sha256 FROM human_tasks WHERE run_id = %s", (run_id,)).fetchone()
        assert found is not None
        late = {party: draw.uniform(0, LONGEST_LATE_SECONDS) for party in PARTIES}
        races.append(Race(number=number, run_id=run_id, human_task_id=found[0], payload_sha256=found[1], late=late))
    return races


def main() -> None:
    database_url, count, seed, notes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    # Plain lines: the usual traces, with all their colours, cost more than the races.
    structlog.configure(processors=[structlog.processors.JSONRenderer(default=repr)])
    parties = Parties(database_url)
    engine = made_engine(database_url, pool_size=2)
    engine.register(GATE, by=SYSTEM)
    with notes.open("w") as file:
        for first in range(0, count, BATCH):
            races = _gates(engine, GATE, range(first, min(first + BATCH, count)), seed)
            for line in parties.race(races):
                file.write(json.dumps(line) + "\n")
            file.flush()
    parties.close()
    engine.close()


if __name__ == "__main__":
    main()
