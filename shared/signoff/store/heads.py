"""What an anchor reads: the heads of the runs whose logs have grown, once nobody still writes to what it reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from signoff.errors import Unavailable
from signoff.store.database import Cursor, Database

_HEADS_AT_ONCE = 5_000
_LOOK_SECONDS = 0.02
_WRITERS = """
SELECT array_agg(DISTINCT virtualtransaction) FROM pg_locks
WHERE relation IN ('runs'::regclass, 'events'::regclass) AND database IS NOT NULL AND granted
    AND mode IN ('RowShareLock', 'RowExclusiveLock') AND pid <> pg_backend_pid()
"""


def settled_moment(database: Database, *, patience_seconds: float) -> datetime:
    """A moment of the database's clock, once every transaction has ended that was then writing to a run.

    Locks nothing: those who begin later are not waited for, their events are later. Raises Unavailable when one is
    still open after `patience_seconds`.
    """
    deadline = time.monotonic() + patience_seconds
    with database.autocommit() as cursor:
        moment: datetime = _one(cursor, "SELECT clock_timestamp()")
        # Asked after the clock: whoever has read an earlier moment for an event holds its lock by now.
        waited_for = set(_one(cursor, _WRITERS) or ())
        while waited_for:
            if time.monotonic() >= deadline:
                raise Unavailable(
                    f"a transaction has been writing to a run for more than {patience_seconds:g} s",
                    fix="end it (pg_stat_activity shows it), or try again",
                )
            time.sleep(_LOOK_SECONDS)
            waited_for &= set(_one(cursor, _WRITERS) or ())
        return moment


def heads(database: Database, since: datetime | None) -> Iterator[tuple[UUID, int, bytes]]:
    """The runs that have an event of `since` or later, or all, as id, number and hash of the last; in order of ids."""
    grown = "" if since is None else "WHERE id IN (SELECT run_id FROM events WHERE at >= %(since)s) "
    with database.transaction() as cursor, cursor.connection.cursor("heads") as found:
        found.itersize = _HEADS_AT_ONCE
        found.execute(f"SELECT id, seq, hash FROM runs {grown}ORDER BY id", {"since": since})  # noqa: S608
        yield from found


def _one(cursor: Cursor, statement: str) -> Any:
    row = cursor.execute(statement).fetchone()
    assert row is not None
    return row[0]
