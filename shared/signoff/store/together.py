"""Several runs in one statement: claiming those that queue, and handing them back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from signoff.store.database import Cursor
from signoff.store.leases import LAZY
from signoff.store.rows import RUN_COLUMNS, RunRow, run_from_row

# Rows that others have locked are passed over, so that two workers who take at once take different runs and nobody
# waits while holding several. What a worker would not begin it leaves; and whoever lost a worker is taken alone, so
# that a step which kills its process is not held against those that were taken with it. By an array of ids the plan
# stays on the primary key, whatever the statistics say of a table that was empty when they were made.
_CLAIM = f"""
WITH waiting AS MATERIALIZED (
    SELECT id, lost = 0 AND workflow || '/' || version || '/' || node = ANY (%(steps)s) AS fits
    FROM runs WHERE status = 'queued' AND queue = %(queue)s
    ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE runs SET status = 'running', epoch = epoch + 1, worker = %(worker)s, resends = 0,
    due_at = clock_timestamp() + %(lease)s * interval '1 second'
FROM {LAZY}
WHERE id = ANY (ARRAY(SELECT id FROM waiting WHERE fits))
RETURNING {RUN_COLUMNS}, clock_timestamp()
"""  # noqa: S608


def step_key(workflow: str, version: int, step: str) -> str:
    """How a step of a version is named to `claim_waiting`."""
    return f"{workflow}/{version}/{step}"


def claim_waiting(
    cursor: Cursor, queue: str, *, steps: Sequence[str], limit: int, worker: str, lease_seconds: float
) -> list[tuple[RunRow, datetime]]:
    """Take runs of this queue, oldest first, as `claim` takes one; only those that stand at one of `steps`.

    It looks at `limit` of them and takes what fits, which may be none. With each comes the database's clock.
    """
    cursor.execute(
        _CLAIM,
        {"queue": queue, "steps": list(steps), "limit": limit, "worker": worker, "lease": lease_seconds},
    )
    return sorted(
        ((run_from_row(row[:-1], {}), row[-1]) for row in cursor.fetchall()), key=lambda found: found[0].state.run_id
    )


_GIVE_BACK = """
UPDATE runs SET status = 'queued', worker = NULL, resends = 0, due_at = clock_timestamp()
WHERE id = ANY (ARRAY(
    SELECT runs.id FROM runs JOIN unnest(%(ids)s::uuid[], %(epochs)s::int[]) AS held (id, epoch)
        ON runs.id = held.id AND runs.epoch = held.epoch
    WHERE runs.id = ANY (%(ids)s) AND runs.status = 'running'
    FOR NO KEY UPDATE OF runs SKIP LOCKED
))
RETURNING id
"""


def give_back_all(cursor: Cursor, held: Sequence[tuple[UUID, int]]) -> set[UUID]:
    """Hand back claimed runs whose steps have not begun; those that come back were still ours.

    One that somebody has locked at this moment is left to its lease.
    """
    cursor.execute(_GIVE_BACK, {"ids": [run_id for run_id, _ in held], "epochs": [epoch for _, epoch in held]})
    return {row[0] for row in cursor.fetchall()}
