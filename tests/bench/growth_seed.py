"""Many parked refunds in a database: a few are made by the engine, the others are copies of their rows.

The rows of the copies come in by COPY and have the product's own form and size. Their ids, titles, moments and who is
asked are their own; the logs are those of their originals, hashes too: enough to decide on them, nothing for an audit.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from signoff.engine import Engine
from signoff.identity import Principal
from signoff.ids import new_id
from signoff.store.schema import events, human_tasks, runs
from tests.bench.pages_seed import insert_copies
from tests.bench.timed import REVIEWERS, complaint

CHUNK = 50_000
"""Runs of one transaction."""

SHARES = {REVIEWERS: 0.40, "finance": 0.25, "legal": 0.20, "operations": 0.15}
"""Which part of the human tasks asks which group."""

Original = tuple[UUID, UUID]
"""A run that the engine made, and its human task."""

_SEEDS = """
CREATE TEMP TABLE seeds (
    from_run uuid, from_task uuid, run_id uuid, task_id uuid, title text, groups text[],
    due_at timestamptz, wake_at timestamptz, at timestamptz
) ON COMMIT DROP
"""


def originals(engine: Engine, requester: Principal, count: int = 20) -> list[Original]:
    """Parked refunds whose steps were carried out here, as a worker does."""
    made = [_parked(engine, run_id, epoch) for run_id, epoch in queue(engine, requester, count)]
    with engine.database.transaction() as cursor:
        # Nobody is asked by them and no sweep finds them, so that they stay as they are: more copies are made later.
        cursor.execute(
            "UPDATE human_tasks SET candidate_groups = '{}', wake_at = NULL WHERE id = ANY(%s)",
            ([task_id for _, task_id in made],),
        )
    return made


def queue(engine: Engine, requester: Principal, count: int) -> list[tuple[UUID, int]]:
    """Runs that wait for a worker, and their epochs."""
    run_ids = [
        engine.start(workflow="bench-refund", input=complaint(number), requester=requester).run_id
        for number in range(count)
    ]
    with engine.database.transaction() as cursor:
        cursor.execute("SELECT id, epoch FROM runs WHERE id = ANY(%s)", (run_ids,))
        return [(row[0], row[1]) for row in cursor.fetchall()]


def seed(engine: Engine, made: list[Original], count: int) -> None:
    """So many more parked runs, and statistics as autovacuum would have made them."""
    chance = random.Random(count)
    for begin in range(0, count, CHUNK):
        with engine.database.transaction() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute(_SEEDS)
            with cursor.copy("COPY seeds FROM STDIN") as copy:
                for row in _rows(chance, made, begin, min(CHUNK, count - begin)):
                    copy.write_row(row)
            _copy(cursor)
    with engine.database.autocommit() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
        cursor.execute("RESET statement_timeout")


def _parked(engine: Engine, run_id: UUID, epoch: int) -> Original:
    claimed = engine.claim_run(run_id, epoch=epoch, worker="seed")
    while claimed is not None:
        claimed = engine.complete(claimed, complaint(1), worker="seed", go_on=True)
    with engine.database.transaction() as cursor:
        row = cursor.execute("SELECT id FROM human_tasks WHERE run_id = %s", (run_id,)).fetchone()
    assert row is not None
    return run_id, row[0]


def _rows(chance: random.Random, made: list[Original], begin: int, count: int) -> Iterator[tuple[Any, ...]]:
    now = datetime.now(UTC)
    groups = chance.choices(list(SHARES), list(SHARES.values()), k=count)
    for number, group in enumerate(groups):
        from_run, from_task = made[number % len(made)]
        # They wake within the next weeks, none of them today: what is due is made so by whoever measures it.
        wake_at = now + timedelta(hours=chance.uniform(24, 1_000))
        yield (
            from_run,
            from_task,
            new_id(),
            new_id(),
            f"Refund {chance.uniform(1, 5000):.2f} for B-{begin + number}",
            [group],
            wake_at + timedelta(hours=3),
            wake_at,
            now - timedelta(minutes=chance.uniform(1, 40_000)),
        )


def _copy(cursor: Any) -> None:
    insert_copies(cursor, runs, "t.id = s.from_run", {"id": "s.run_id", "created_at": "s.at", "updated_at": "s.at"})
    task_id = "replace(t.data::text, s.from_task::text, s.task_id::text)::json"
    insert_copies(cursor, events, "t.run_id = s.from_run", {"run_id": "s.run_id", "data": task_id})
    changed = {"id": "s.task_id", "run_id": "s.run_id", "title": "s.title", "candidate_groups": "s.groups"}
    changed |= {"due_at": "s.due_at", "wake_at": "s.wake_at"}
    changed |= {"created_at": "s.at", "revised_at": "s.at", "changed_at": "s.at"}
    insert_copies(cursor, human_tasks, "t.id = s.from_task", changed)
