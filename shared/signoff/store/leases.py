"""Statements that touch only the lease of a run, which is no part of its log: claim, renew, give back, resend.

Each is one conditional UPDATE by the database's own clock. When it changes no row there is nothing to do.

What is due is asked with `(SELECT clock_timestamp())`: a clock that is read once bounds the index, where one that is
read for each row makes PostgreSQL look at every row that will ever be due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from signoff.definition.graph import DEFAULT_QUEUE
from signoff.store.database import Cursor
from signoff.store.rows import RUN_COLUMNS, RunRow, run_from_row

# Losing a claim in a crash of the database means that the step is run again, which at-least-once allows. So the wait
# for the disk is left to the commits that record something; the setting ends with the statement's transaction.
LAZY = "(SELECT set_config('synchronous_commit', 'off', true)) AS lazy"

_CLAIM = f"""
UPDATE runs SET status = 'running', epoch = epoch + 1, worker = %(worker)s, resends = 0,
    due_at = clock_timestamp() + %(lease)s * interval '1 second'
FROM {LAZY}
WHERE id = %(id)s AND epoch = %(epoch)s AND status = 'queued'
RETURNING {RUN_COLUMNS}, clock_timestamp()
"""  # noqa: S608


def claim(
    cursor: Cursor, run_id: UUID, *, epoch: int, worker: str, lease_seconds: float
) -> tuple[RunRow, datetime] | None:
    """Take a queued run that still has this epoch; None when the message was a duplicate or came too late.

    With it comes the database's clock.
    """
    cursor.execute(_CLAIM, {"id": run_id, "epoch": epoch, "worker": worker, "lease": lease_seconds})
    row = cursor.fetchone()
    return None if row is None else (run_from_row(row[:-1], {}), row[-1])


# Runs that are locked at this moment are passed over: they are being recorded, and whoever waited for one while
# holding others could wait in a circle.
_RENEW = f"""
UPDATE runs SET due_at = clock_timestamp() + %(lease)s * interval '1 second'
FROM {LAZY}
WHERE runs.id = ANY (ARRAY(
    SELECT runs.id FROM runs JOIN unnest(%(ids)s::uuid[], %(epochs)s::int[]) AS held (id, epoch)
        ON runs.id = held.id AND runs.epoch = held.epoch
    WHERE runs.id = ANY (%(ids)s) AND runs.status = 'running'
    FOR NO KEY UPDATE OF runs SKIP LOCKED
))
RETURNING runs.id
"""  # noqa: S608


def renew(cursor: Cursor, held: Sequence[tuple[UUID, int]], *, lease_seconds: float) -> set[UUID]:
    """Lengthen the leases that are still ours; the ids that come back are those.

    One that somebody has locked at this moment is not lengthened now; there are three more times.
    """
    ids, epochs = [run_id for run_id, _ in held], [epoch for _, epoch in held]
    cursor.execute(_RENEW, {"ids": ids, "epochs": epochs, "lease": lease_seconds})
    return {row[0] for row in cursor.fetchall()}


_GIVE_BACK = """
UPDATE runs SET status = 'queued', worker = NULL, resends = 0, due_at = clock_timestamp()
WHERE id = %(id)s AND epoch = %(epoch)s AND status = 'running'
RETURNING queue
"""


def give_back(cursor: Cursor, run_id: UUID, *, epoch: int) -> bool:
    """Hand a claimed run back before its step has begun: the worker is stopping. False when it was not ours."""
    cursor.execute(_GIVE_BACK, {"id": run_id, "epoch": epoch})
    return cursor.fetchone() is not None


_LET_GO = """
UPDATE runs SET due_at = clock_timestamp() + %(seconds)s * interval '1 second'
WHERE id = ANY (ARRAY(
    SELECT id FROM runs
    WHERE status = 'running' AND due_at > clock_timestamp() + %(seconds)s * interval '1 second'
        AND right(worker, length(%(mark)s) + 1) = ':' || %(mark)s
    FOR NO KEY UPDATE SKIP LOCKED
))
"""


def let_go(cursor: Cursor, mark: str, *, seconds: float) -> int:
    """End the leases of a worker so soon: of all whose name ends with this mark. Answers how many there were."""
    cursor.execute(_LET_GO, {"mark": mark, "seconds": seconds})
    return cursor.rowcount


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """A run whose message is due. `resends` counts those before it; 0 is a retry's first, which nobody has sent."""

    run_id: UUID
    epoch: int
    queue: str
    resends: int


_RESEND = """
WITH due AS (
    SELECT id, CASE WHEN status = 'queued' THEN least(resends + 1, 30) ELSE 0 END AS resends FROM runs
    WHERE due_at <= (SELECT clock_timestamp()) AND status IN ('queued', 'retrying')
    ORDER BY due_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE runs SET status = 'queued', resends = due.resends,
    due_at = clock_timestamp() + interval '1 second' * least(%(first)s * power(2, due.resends), %(longest)s)
FROM due WHERE runs.id = due.id
RETURNING runs.id, runs.epoch, runs.queue, runs.resends
"""


def take_due_messages(cursor: Cursor, *, limit: int, first_seconds: float, longest_seconds: float) -> list[Resend]:
    """Runs that are queued and not picked up, and retries that have come due; each is looked at again later.

    The epoch stays, so that a message still under way is as good as the new one.
    """
    cursor.execute(_RESEND, {"limit": limit, "first": first_seconds, "longest": longest_seconds})
    return [
        Resend(run_id=row[0], epoch=row[1], queue=row[2] or DEFAULT_QUEUE, resends=row[3]) for row in cursor.fetchall()
    ]


_IN_VAIN = """
UPDATE runs SET resends = greatest(resends - 1, 0), due_at = clock_timestamp() + %(pause)s * interval '1 second'
WHERE id = ANY (ARRAY(
    SELECT runs.id FROM runs JOIN unnest(%(ids)s::uuid[], %(epochs)s::int[]) AS due (id, epoch)
        ON runs.id = due.id AND runs.epoch = due.epoch
    WHERE runs.id = ANY (%(ids)s) AND runs.status = 'queued'
    FOR NO KEY UPDATE OF runs SKIP LOCKED
))
"""
IN_VAIN_SECONDS = 1.0
"""Longer than a sweep takes, so that it does not come by them again at once."""


def resent_in_vain(cursor: Cursor, resends: Sequence[Resend]) -> None:
    """The broker took none of these messages. They are due again as soon as there is one that does.

    A sweep that finds no broker is the last for a while: the next one comes by a message as well.
    """
    ids, epochs = [item.run_id for item in resends], [item.epoch for item in resends]
    cursor.execute(_IN_VAIN, {"ids": ids, "epochs": epochs, "pause": IN_VAIN_SECONDS})


def expired_leases(cursor: Cursor, *, limit: int, past: int = 0) -> list[UUID]:
    """Runs whose worker has not been heard of for a lease, without the first `past` of them."""
    cursor.execute(
        "SELECT id FROM runs WHERE due_at <= (SELECT clock_timestamp()) AND status = 'running'"
        " ORDER BY due_at, id LIMIT %s OFFSET %s",
        (limit, past),
    )
    return [row[0] for row in cursor.fetchall()]


def due_human_tasks(cursor: Cursor, *, limit: int, past: int = 0) -> list[tuple[UUID, UUID]]:
    """Human tasks whose wake-up has come, as (run, human task), earliest first, without the first `past` of them."""
    cursor.execute(
        "SELECT run_id, id FROM human_tasks WHERE wake_at <= (SELECT clock_timestamp())"
        " ORDER BY wake_at, id LIMIT %s OFFSET %s",
        (limit, past),
    )
    return [(row[0], row[1]) for row in cursor.fetchall()]


def hold_claim(cursor: Cursor, human_task_id: UUID, *, minutes: float, taken: bool = False) -> None:
    """Let the claim on an open human task last this much longer. Its run has to be locked, as for every write.

    What was assigned has no end, and is given none by whom it was assigned to: only a claim `taken` now begins one.
    """
    cursor.execute(
        "UPDATE human_tasks SET claim_expires_at = clock_timestamp() + %s * interval '1 minute'"
        " WHERE id = %s AND state = 'open' AND assignee IS NOT NULL AND (claim_expires_at IS NOT NULL OR %s)",
        (minutes, human_task_id, taken),
    )


def lapsed_claims(cursor: Cursor, *, limit: int) -> list[tuple[UUID, UUID]]:
    """Open human tasks that somebody claimed and left, as (run, human task)."""
    cursor.execute(
        "SELECT run_id, id FROM human_tasks WHERE claim_expires_at <= (SELECT clock_timestamp())"
        " AND state = 'open' ORDER BY claim_expires_at LIMIT %s",
        (limit,),
    )
    return [(row[0], row[1]) for row in cursor.fetchall()]


def claim_has_lapsed(cursor: Cursor, human_task_id: UUID) -> bool:
    """The same of one, asked again under its run's lock."""
    cursor.execute(
        "SELECT 1 FROM human_tasks WHERE id = %s AND claim_expires_at <= clock_timestamp() AND state = 'open'",
        (human_task_id,),
    )
    return cursor.fetchone() is not None


_OLDEST_OVERDUE = """
SELECT coalesce(extract(epoch FROM clock_timestamp() - least(
    (SELECT min(due_at) FROM runs WHERE due_at IS NOT NULL),
    (SELECT min(wake_at) FROM human_tasks WHERE wake_at IS NOT NULL)
)), 0)
"""


def oldest_overdue_seconds(cursor: Cursor) -> float:
    """How long the run or human task that waits longest for somebody to look at it has been due; 0 when none is.

    The measure of progress: sweeps keep it near their interval, and it grows when they, or all workers, are gone.
    """
    cursor.execute(_OLDEST_OVERDUE)
    row = cursor.fetchone()
    assert row is not None
    return max(0.0, float(row[0]))


def database_now(cursor: Cursor) -> datetime:
    """The database's clock, which is the only one that counts."""
    cursor.execute("SELECT clock_timestamp()")
    row = cursor.fetchone()
    assert row is not None
    now: datetime = row[0]
    return now
