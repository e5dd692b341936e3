"""Channels of notifications: whom to tell, through which service, of what.

A URL carries the secrets of its service, so it is kept as it is and read by who sends alone. Nothing here gives it out;
what is shown of it was made when it was set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from signoff.errors import Conflict, FieldError, InvalidInput
from signoff.ids import new_id
from signoff.model import Actor, format_time
from signoff.notifications.audience import GROUP_PREFIX, USER_PREFIX
from signoff.notifications.catalogue import NOTIFIED, TEST, unknown_events
from signoff.notifications.services import Service
from signoff.store.database import Cursor, Row
from signoff.store.identity import is_name
from signoff.store.outbox import NOTIFICATIONS
from signoff.store.rows import dump

MAX_CHANNELS = 5_000
"""Every event is compared with all of them."""
MAX_OF_ONE = 10
"""Channels of one person or group."""

_LOCK = 0x53484E43
COLUMNS = "id, subject, shown, events, include_payload, created_by, created_at, disabled_at, disabled_why, failures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What is shown of a channel. `subject` is `user:NAME` or `group:NAME`; `failures` count since it worked."""

    id: UUID
    subject: str
    shown: str
    events: tuple[str, ...]
    include_payload: bool
    created_by: Actor
    created_at: datetime
    disabled_at: datetime | None
    disabled_why: str | None
    failures: int

    def to_json(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "subject": self.subject,
            "url": self.shown,
            "events": list(self.events),
            "include_payload": self.include_payload,
            "created_by": self.created_by.to_json(),
            "created_at": format_time(self.created_at),
            "disabled_at": None if self.disabled_at is None else format_time(self.disabled_at),
            "disabled_why": self.disabled_why,
            "failures": self.failures,
        }


def check_subject(cursor: Cursor, subject: str) -> None:
    """Raises InvalidInput unless this is a group, or a person that there is and that is not disabled."""
    if subject.startswith(GROUP_PREFIX) and is_name(subject.removeprefix(GROUP_PREFIX)):
        return
    if subject.startswith(USER_PREFIX):
        row = cursor.execute(
            "SELECT 1 FROM principals WHERE name = %s AND kind = 'user' AND disabled_at IS NULL",
            (subject.removeprefix(USER_PREFIX),),
        ).fetchone()
        if row is not None:
            return
    message = "no person of that name, and no name of a group"
    raise InvalidInput(errors=[FieldError(path="/subject", message=message, fix="user:NAME or group:NAME")])


def add_channel(
    cursor: Cursor,
    *,
    subject: str,
    url: str,
    service: Service,
    events: Sequence[str] = (),
    include_payload: bool = False,
    by: Actor,
) -> Channel:
    """A new channel; no `events` means all there are. `service` is what the URL was found to be.

    Raises InvalidInput for events that are not told, Conflict when there are too many channels.
    """
    unknown = unknown_events(tuple(events))
    if unknown:
        known = ", ".join(NOTIFIED)
        raise InvalidInput(
            errors=[FieldError(path="/events", message=f"{name!r} is not told", fix=known) for name in unknown]
        )
    check_subject(cursor, subject)
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    row = cursor.execute(
        "SELECT count(*), count(*) FILTER (WHERE subject = %s) FROM notification_channels", (subject,)
    ).fetchone()
    assert row is not None
    if row[0] >= MAX_CHANNELS or row[1] >= MAX_OF_ONE:
        limit = f"{MAX_OF_ONE} channels of {subject}" if row[1] >= MAX_OF_ONE else f"{MAX_CHANNELS} channels"
        raise Conflict(f"there are {limit} already", fix="remove one that is not needed")
    made = cursor.execute(
        "INSERT INTO notification_channels (id, subject, url, shown, events, include_payload, created_by, created_at,"  # noqa: S608
        " failures, next_at) VALUES (%s, %s, %s, %s, %s, %s, %s::json, clock_timestamp(), 0, clock_timestamp())"
        f" RETURNING {COLUMNS}",
        (
            new_id(),
            subject,
            url,
            service.shown,
            sorted(set(events)) if events else sorted(NOTIFIED),
            include_payload,
            dump(by.to_json()),
        ),
    ).fetchone()
    assert made is not None
    return channel_of(made)


def list_channels(cursor: Cursor, *, subject: str | None = None) -> list[Channel]:
    """All of them, or those of one person or group, oldest first."""
    rows = cursor.execute(
        f"SELECT {COLUMNS} FROM notification_channels WHERE %s::text IS NULL OR subject = %s ORDER BY created_at, id",  # noqa: S608
        (subject, subject),
    ).fetchall()
    return [channel_of(row) for row in rows]


def get_channel(cursor: Cursor, channel_id: UUID) -> Channel:
    """One of them. Raises NotFound."""
    row = cursor.execute(
        f"SELECT {COLUMNS} FROM notification_channels WHERE id = %s",  # noqa: S608
        (channel_id,),
    ).fetchone()
    if row is None:
        raise NOTIFICATIONS.missing()
    return channel_of(row)


def remove_channel(cursor: Cursor, channel_id: UUID) -> None:
    """Remove a channel with what is still to be sent to it. Raises NotFound."""
    NOTIFICATIONS.remove(cursor, channel_id)


def disable_channel(cursor: Cursor, channel_id: UUID, *, why: str) -> None:
    """Tell it nothing more; what was still to be sent is dead. Raises NotFound."""
    NOTIFICATIONS.disable(cursor, channel_id, why=why)


def enable_channel(cursor: Cursor, channel_id: UUID) -> Channel:
    """Tell it again, of events from now on. Raises NotFound."""
    return channel_of(NOTIFICATIONS.enable(cursor, COLUMNS, channel_id))


def add_test(cursor: Cursor, channel_id: UUID) -> UUID:
    """Let a worker send something that is about no run; its id. Raises NotFound, Conflict when it is disabled."""
    notification_id = new_id()
    NOTIFICATIONS.add_test(cursor, notification_id, channel_id, TEST)
    return notification_id


def channel_of(row: Row) -> Channel:
    """A row of COLUMNS."""
    return Channel(
        id=row[0],
        subject=row[1],
        shown=row[2],
        events=tuple(row[3]),
        include_payload=row[4],
        created_by=Actor.from_json(row[5]),
        created_at=row[6],
        disabled_at=row[7],
        disabled_why=row[8],
        failures=row[9],
    )
