"""Notifications: rows that say what is still to be sent to which channel, and whether as a digest.

A channel gets its messages one by one until there are many of them in a while. Then what waits for it is sent as one
message, at most one in that while, and each row it covers keeps the digest's id. What becomes of rows is in
`signoff.store.outbox`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from signoff.ids import new_id
from signoff.model import format_time
from signoff.notifications.audience import USER_PREFIX
from signoff.notifications.pace import Pace
from signoff.store.database import Cursor, Database, Row
from signoff.store.outbox import NOTIFICATIONS, Taken

MAX_DIGEST = 500
"""Rows that one digest covers; the rest is in the next one."""

_COLUMNS = "id, channel_id, run_id, seq, type, state, attempts, error, digest_id, created_at, attempted_at, due_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What is shown of a notification. `state` is pending, sent or dead; `error` why the last attempt failed."""

    id: UUID
    channel_id: UUID
    run_id: UUID | None
    seq: int | None
    type: str
    state: str
    attempts: int
    error: str | None
    digest_id: UUID | None
    created_at: datetime
    attempted_at: datetime | None
    due_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        moments = {"created_at": self.created_at, "attempted_at": self.attempted_at, "due_at": self.due_at}
        return {
            "id": str(self.id),
            "channel_id": str(self.channel_id),
            "run_id": None if self.run_id is None else str(self.run_id),
            "seq": self.seq,
            "type": self.type,
            "state": self.state,
            "attempts": self.attempts,
            "error": self.error,
            "digest_id": None if self.digest_id is None else str(self.digest_id),
        } | {name: None if at is None else format_time(at) for name, at in moments.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one message is to say, and to whom. `url` has secrets: it is for who sends.

    `holds` means that what comes after it waits for a while.
    """

    channel_id: UUID
    subject: str
    url: str
    include_payload: bool
    rows: tuple[Taken, ...]
    digest_id: UUID | None
    holds: bool

    @property
    def person(self) -> str | None:
        """The one person that this goes to; None for a group."""
        return self.subject.removeprefix(USER_PREFIX) if self.subject.startswith(USER_PREFIX) else None

    def __repr__(self) -> str:
        return f"Batch({self.channel_id}, {len(self.rows)} rows)"


def take(database: Database, channel_id: UUID, *, pace: Pace, lease_seconds: float) -> Batch | None:
    """What to send to a channel next; nobody else has it for a while. None when there is nothing to send yet."""
    with database.transaction() as cursor:
        NOTIFICATIONS.hold(cursor, channel_id, seconds=lease_seconds)
        found = cursor.execute(
            "SELECT subject, url, include_payload FROM notification_channels WHERE id = %s AND disabled_at IS NULL",
            (channel_id,),
        ).fetchone()
        if found is not None and _is_disabled(cursor, found[0]):
            # They were there when it happened, and are not any more.
            NOTIFICATIONS.give_up(cursor, channel_id, why="its person is disabled")
            return None
        limit = 0 if found is None else _at_once(cursor, channel_id, pace)
        rows = NOTIFICATIONS.take(cursor, channel_id, limit=limit, lease_seconds=lease_seconds) if limit else []
        if found is None or not rows:
            return None
        digest_id = new_id() if len(rows) > 1 else None
        cursor.execute(
            "UPDATE notifications SET digest_id = %s WHERE id = ANY(%s)", (digest_id, [row.id for row in rows])
        )
        if limit > 1:
            # Even of one row: what comes while there are too many waits for the next time.
            cursor.execute(
                "UPDATE notification_channels SET digest_at = clock_timestamp() WHERE id = %s", (channel_id,)
            )
    return Batch(
        channel_id=channel_id,
        subject=found[0],
        url=found[1],
        include_payload=found[2],
        rows=tuple(rows),
        digest_id=digest_id,
        holds=limit > 1,
    )


def _is_disabled(cursor: Cursor, subject: str) -> bool:
    """Whether this is the channel of a person who is disabled."""
    row = cursor.execute(
        "SELECT 1 FROM principals WHERE %s = 'user:' || name AND disabled_at IS NOT NULL", (subject,)
    ).fetchone()
    return row is not None


_PACE = """
SELECT
    (SELECT count(*) FROM (SELECT 1 FROM notifications
        WHERE channel_id = %(id)s AND due_at <= (SELECT clock_timestamp()) LIMIT %(most)s) AS due),
    (SELECT count(DISTINCT coalesce(digest_id, id)) FROM notifications
        WHERE channel_id = %(id)s AND state = 'sent' AND attempted_at > (SELECT clock_timestamp()) - %(window)s),
    (SELECT digest_at > clock_timestamp() - %(window)s FROM notification_channels WHERE id = %(id)s)
"""


def _at_once(cursor: Cursor, channel_id: UUID, pace: Pace) -> int:
    """How many rows the next message may cover: one, many as a digest, or none while one has just been sent."""
    window = timedelta(seconds=pace.window_seconds)
    row = cursor.execute(_PACE, {"id": channel_id, "most": pace.burst + 1, "window": window}).fetchone()
    assert row is not None
    due, sent, digested = row
    if due + sent <= pace.burst:
        return 1
    return 0 if digested else MAX_DIGEST


def record(
    database: Database, batch: Batch, error: str | None, *, give_up_after: timedelta, random: float
) -> dict[UUID, str]:
    """Write down how an attempt at a batch went, all its rows alike; the state of each that was still this worker's."""
    with database.transaction() as cursor:
        states = NOTIFICATIONS.record(
            cursor,
            {row.id: (row.attempts, row.since) for row in batch.rows},
            ok=error is None,
            give_up_after=give_up_after,
            random=random,
            said={"error": error},
        )
        if error is not None and batch.holds:
            # One that did not arrive is none: the next one need not wait for its time.
            cursor.execute("UPDATE notification_channels SET digest_at = NULL WHERE id = %s", (batch.channel_id,))
    return states


def settle(database: Database, channel_id: UUID, *, sent: bool, failed: bool, pace: Pace) -> None:
    """After the last message: let the channel be looked at again, at once, after a pause, or for the next digest."""
    with database.transaction() as cursor:
        NOTIFICATIONS.settle(cursor, channel_id, delivered=sent, failed=failed)
        if _at_once(cursor, channel_id, pace) == 0:
            # What waits for a digest is due all the while, and nobody need look at it before.
            cursor.execute(
                "UPDATE notification_channels SET next_at = greatest(next_at, digest_at + %s) WHERE id = %s",
                (timedelta(seconds=pace.window_seconds), channel_id),
            )


def due_channels(cursor: Cursor, *, hold_seconds: float) -> list[UUID]:
    """Channels that something is due for, each given out once until `hold_seconds` are over."""
    return NOTIFICATIONS.due(cursor, hold_seconds=hold_seconds)


def list_notifications(
    cursor: Cursor, channel_id: UUID | None = None, *, state: str | None = None, limit: int = 50
) -> list[Notification]:
    """The newest, of one channel or of all. Raises NotFound for a channel that is not there."""
    rows = NOTIFICATIONS.listed(cursor, _COLUMNS, channel_id, state=state, limit=limit)
    return [_notification(row) for row in rows]


def find_channel_id(cursor: Cursor, notification_id: UUID) -> UUID | None:
    """The channel that a notification goes to; None when there is no such notification."""
    row = cursor.execute("SELECT channel_id FROM notifications WHERE id = %s", (notification_id,)).fetchone()
    return None if row is None else row[0]


def redeliver(cursor: Cursor, notification_id: UUID) -> Notification:
    """Send one once more. Raises NotFound, and Conflict while it is waiting to be sent anyway."""
    return _notification(NOTIFICATIONS.again(cursor, _COLUMNS, notification_id, forget=("digest_id",)))


def count_notifications(cursor: Cursor) -> tuple[int, int, int]:
    """How many wait to be sent, how many were given up, and how many channels there are."""
    row = cursor.execute(
        "SELECT (SELECT count(*) FROM notifications WHERE due_at IS NOT NULL)"
        " + (SELECT count(*) FROM notification_events), (SELECT count(*) FROM notifications WHERE state = 'dead'),"
        " (SELECT count(*) FROM notification_channels WHERE disabled_at IS NULL)"
    ).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def forget_notifications(cursor: Cursor, *, keep_days: float, limit: int) -> int:
    """Delete some old ones that nothing more becomes of; how many."""
    return NOTIFICATIONS.forget(cursor, keep_days=keep_days, limit=limit)


def _notification(row: Row) -> Notification:
    return Notification(
        id=row[0],
        channel_id=row[1],
        run_id=row[2],
        seq=row[3],
        type=row[4],
        state=row[5],
        attempts=row[6],
        error=row[7],
        digest_id=row[8],
        created_at=row[9],
        attempted_at=row[10],
        due_at=row[11],
    )
