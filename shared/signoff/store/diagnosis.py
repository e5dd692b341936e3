"""What `signoff doctor` asks the database about itself and about progress."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from signoff.store.database import Database

MIN_SERVER_VERSION = 140_000
"""PostgreSQL 14, as the server numbers it."""

_IGNORED_RESENDS = 2
"""A message may be late; one that was sent again this often finds no worker."""

_MAX_COUNTED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """The server: its version as a number and in words, its clock, and whether it is a standby."""

    version: int
    version_text: str
    now: datetime
    standby: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """Rows whose moment has passed without a sweep seeing to them, and for how many seconds the oldest of them."""

    count: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnservedQueue:
    """Runs that stay queued although their message was sent again and again: nobody serves the queue, or too few."""

    queue: str
    runs: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Whether somebody sees to what is due. `leases` are of workers that fell silent; `wakes` are all the rest."""

    leases: Overdue
    wakes: Overdue
    unserved: tuple[UnservedQueue, ...]


_SERVER = (
    "SELECT current_setting('server_version_num')::int, current_setting('server_version'), clock_timestamp(),"
    " pg_is_in_recovery()"
)
_OVERDUE = """
SELECT lease, count(*), extract(epoch FROM clock_timestamp() - min(due_at)) FROM (
    SELECT status = 'running' AS lease, due_at FROM runs WHERE due_at < (SELECT clock_timestamp())
    UNION ALL
    SELECT false, wake_at FROM human_tasks WHERE wake_at < (SELECT clock_timestamp())
) AS due GROUP BY lease
"""
_UNSERVED = """
SELECT queue, count(*), extract(epoch FROM clock_timestamp() - min(updated_at)) FROM (
    SELECT queue, updated_at FROM runs WHERE status = 'queued' AND resends >= %s LIMIT %s
) AS waiting GROUP BY queue ORDER BY 2 DESC LIMIT 10
"""


def server_facts(database: Database) -> ServerFacts:
    """Ask the server who it is. Raises Unavailable."""
    with database.autocommit() as cursor:
        row = cursor.execute(_SERVER).fetchone()
    assert row is not None
    return ServerFacts(version=row[0], version_text=row[1], now=row[2], standby=row[3])


def progress(database: Database) -> Progress:
    """What is overdue now. Raises Unavailable."""
    with database.autocommit() as cursor:
        due = {row[0]: Overdue(count=row[1], oldest_seconds=float(row[2])) for row in cursor.execute(_OVERDUE)}
        waiting = cursor.execute(_UNSERVED, (_IGNORED_RESENDS, _MAX_COUNTED)).fetchall()
    nothing = Overdue(count=0, oldest_seconds=0.0)
    return Progress(
        leases=due.get(True, nothing),
        wakes=due.get(False, nothing),
        unserved=tuple(
            UnservedQueue(queue=row[0] or "default", runs=row[1], oldest_seconds=float(row[2])) for row in waiting
        ),
    )
