"""What there is to do, in numbers: for metrics and for `signoff doctor`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from signoff.store.database import Database
from signoff.store.leases import oldest_overdue_seconds
from signoff.store.notifications import count_notifications
from signoff.store.queries_candidates import stranded_human_tasks

_SECONDS = 2
"""How long the counting may take: a number that is late is worth less than a database that is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much there is now. `oldest_overdue_run_seconds` says how long a run or human task has been waiting beyond
    the moment at which the sweep should have seen to it: it grows when there is no beat, or no worker for its sweeps.
    `human_tasks_without_candidates` are among the newest that are open; see `queries_candidates`.
    """

    runs: Mapping[str, int]
    open_human_tasks: int
    overdue_human_tasks: int
    human_tasks_without_candidates: int
    oldest_overdue_run_seconds: float
    notifications_pending: int
    notifications_dead: int


def count(database: Database) -> Counts:
    """Count. Raises Unavailable, also when it takes longer than two seconds."""
    with database.transaction() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{_SECONDS}s'")
        by_status = dict(cursor.execute("SELECT status, count(*) FROM runs GROUP BY status").fetchall())
        tasks = cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE due_at < now()) FROM human_tasks WHERE state = 'open'"
        ).fetchone()
        oldest = oldest_overdue_seconds(cursor)
        stranded = stranded_human_tasks(cursor)
        pending, dead, _ = count_notifications(cursor)
    assert tasks is not None
    return Counts(
        runs=by_status,
        open_human_tasks=tasks[0],
        overdue_human_tasks=tasks[1],
        human_tasks_without_candidates=stranded.count,
        oldest_overdue_run_seconds=oldest,
        notifications_pending=pending,
        notifications_dead=dead,
    )
