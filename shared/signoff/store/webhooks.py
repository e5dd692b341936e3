"""Endpoints of webhooks: who is told of which events, with which secret.

A secret signs, so it is kept as it is, unlike an API key: who can read the table can sign as us. It is shown once, when
it is made, and is in no list and no log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from signoff.errors import Conflict, FieldError, InvalidInput
from signoff.ids import new_id
from signoff.model import Actor, format_time
from signoff.store.database import Database, Row
from signoff.store.outbox import WEBHOOKS
from signoff.store.rows import dump
from signoff.webhooks.catalogue import TEST, TOLD, unknown_events
from signoff.webhooks.signing import new_secret

MAX_ENDPOINTS = 50
"""Every event that is told costs a row for each; fan out behind one endpoint instead."""

_LOCK = 0x5348574B
_COLUMNS = (
    "id, url, events, include_payload, created_by, created_at, disabled_at, disabled_why, old_secret_until, failures"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What is shown of an endpoint. `failures` counts those since the last success."""

    id: UUID
    url: str
    events: tuple[str, ...]
    include_payload: bool
    created_by: Actor
    created_at: datetime
    disabled_at: datetime | None
    disabled_why: str | None
    old_secret_until: datetime | None
    failures: int

    def to_json(self) -> dict[str, Any]:
        moments = {
            "created_at": self.created_at,
            "disabled_at": self.disabled_at,
            "old_secret_until": self.old_secret_until,
        }
        return {
            "id": str(self.id),
            "url": self.url,
            "events": list(self.events),
            "include_payload": self.include_payload,
            "created_by": self.created_by.to_json(),
            "disabled_why": self.disabled_why,
            "failures": self.failures,
        } | {name: None if at is None else format_time(at) for name, at in moments.items()}


def add_endpoint(
    database: Database, *, url: str, events: Sequence[str] = (), include_payload: bool = False, by: Actor
) -> tuple[Endpoint, str]:
    """A new endpoint and its secret, which is shown this once. No `events` means all there are to tell.

    The caller has checked the URL. Raises InvalidInput for unknown events, Conflict when there are too many endpoints.
    """
    unknown = unknown_events(tuple(events))
    if unknown:
        known = ", ".join(TOLD)
        raise InvalidInput(
            errors=[FieldError(path="/events", message=f"{name!r} is not told", fix=known) for name in unknown]
        )
    secret = new_secret()
    wanted = sorted(set(events)) if events else sorted(TOLD)
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        row = cursor.execute("SELECT count(*) FROM webhook_endpoints").fetchone()
        if row is not None and row[0] >= MAX_ENDPOINTS:
            raise Conflict(f"there are {MAX_ENDPOINTS} endpoints already", fix="remove one that is not needed")
        made = cursor.execute(
            "INSERT INTO webhook_endpoints (id, url, events, include_payload, secret, created_by, created_at, failures,"  # noqa: S608
            " next_at) VALUES (%s, %s, %s, %s, %s, %s::json, clock_timestamp(), 0, clock_timestamp())"
            f" RETURNING {_COLUMNS}",
            (new_id(), url, wanted, include_payload, secret, dump(by.to_json())),
        ).fetchone()
    assert made is not None
    return _endpoint(made), secret


def list_endpoints(database: Database) -> list[Endpoint]:
    """All of them, oldest first."""
    with database.autocommit() as cursor:
        rows = cursor.execute(f"SELECT {_COLUMNS} FROM webhook_endpoints ORDER BY created_at, id").fetchall()  # noqa: S608
    return [_endpoint(row) for row in rows]


def get_endpoint(database: Database, endpoint_id: UUID) -> Endpoint:
    """One of them. Raises NotFound."""
    with database.autocommit() as cursor:
        return _found(
            cursor.execute(f"SELECT {_COLUMNS} FROM webhook_endpoints WHERE id = %s", (endpoint_id,)).fetchone()  # noqa: S608
        )


def remove_endpoint(database: Database, endpoint_id: UUID) -> None:
    """Remove an endpoint with its deliveries; what is not sent yet is not sent. Raises NotFound."""
    with database.transaction() as cursor:
        WEBHOOKS.remove(cursor, endpoint_id)


def rotate_secret(database: Database, endpoint_id: UUID, *, overlap: timedelta) -> str:
    """A new secret; until `overlap` is over, deliveries carry signatures by both. Raises NotFound."""
    secret = new_secret()
    with database.transaction() as cursor:
        cursor.execute(
            "UPDATE webhook_endpoints SET old_secret = secret, old_secret_until = clock_timestamp() + %s, secret = %s"
            " WHERE id = %s",
            (overlap, secret, endpoint_id),
        )
        if cursor.rowcount == 0:
            raise WEBHOOKS.missing()
    return secret


def enable_endpoint(database: Database, endpoint_id: UUID) -> Endpoint:
    """Tell it again, of events from now on. Raises NotFound."""
    with database.transaction() as cursor:
        return _endpoint(WEBHOOKS.enable(cursor, _COLUMNS, endpoint_id))


def add_test(database: Database, endpoint_id: UUID) -> UUID:
    """Let a worker send something that is about no run; the delivery's id. Raises NotFound, Conflict when disabled."""
    delivery_id = new_id()
    with database.transaction() as cursor:
        WEBHOOKS.add_test(cursor, delivery_id, endpoint_id, TEST)
    return delivery_id


def _found(row: Row | None) -> Endpoint:
    if row is None:
        raise WEBHOOKS.missing()
    return _endpoint(row)


def _endpoint(row: Row) -> Endpoint:
    return Endpoint(
        id=row[0],
        url=row[1],
        events=tuple(row[2]),
        include_payload=row[3],
        created_by=Actor.from_json(row[4]),
        created_at=row[5],
        disabled_at=row[6],
        disabled_why=row[7],
        old_secret_until=row[8],
        failures=row[9],
    )
