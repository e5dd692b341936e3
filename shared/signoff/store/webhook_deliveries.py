"""Deliveries of webhooks: rows that say what is still to be sent, to whom and when.

They are written by the transaction of the event they tell of (`signoff.store.runs`); what becomes of them is in
`signoff.store.outbox`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from signoff.model import EventType, format_time
from signoff.store.database import Cursor, Database, Row
from signoff.store.outbox import WEBHOOKS, Taken
from signoff.webhooks.catalogue import TEST, Told, body_of, test_body

GONE = 410

_COLUMNS = "id, endpoint_id, run_id, seq, type, state, attempts, status, error, created_at, attempted_at, due_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What is shown of a delivery. `state` is pending, delivered or dead; `status` what the last answer was."""

    id: UUID
    endpoint_id: UUID
    run_id: UUID | None
    seq: int | None
    type: str
    state: str
    attempts: int
    status: int | None
    error: str | None
    created_at: datetime
    attempted_at: datetime | None
    due_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        moments = {"created_at": self.created_at, "attempted_at": self.attempted_at, "due_at": self.due_at}
        return {
            "id": str(self.id),
            "endpoint_id": str(self.endpoint_id),
            "run_id": None if self.run_id is None else str(self.run_id),
            "seq": self.seq,
            "type": self.type,
            "state": self.state,
            "attempts": self.attempts,
            "status": self.status,
            "error": self.error,
        } | {name: None if at is None else format_time(at) for name, at in moments.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One delivery that was taken, ready to be signed and sent. `attempts` counts this one."""

    id: UUID
    endpoint_id: UUID
    url: str
    secrets: tuple[str, ...]
    attempts: int
    since: datetime
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of an attempt: the status of the answer, or why there is none."""

    status: int | None
    error: str | None = None

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def due_endpoints(cursor: Cursor, *, hold_seconds: float) -> list[UUID]:
    """Endpoints that something is due for, each given out once until `hold_seconds` are over."""
    return WEBHOOKS.due(cursor, hold_seconds=hold_seconds)


def take(database: Database, endpoint_id: UUID, *, limit: int, lease_seconds: float) -> list[Letter]:
    """Some deliveries of an endpoint that are due, with what is to be sent; nobody else has them for a while."""
    with database.transaction() as cursor:
        WEBHOOKS.hold(cursor, endpoint_id, seconds=lease_seconds)
        endpoint = cursor.execute(
            "SELECT url, include_payload, secret, CASE WHEN old_secret_until > clock_timestamp() THEN old_secret END"
            " FROM webhook_endpoints WHERE id = %s",
            (endpoint_id,),
        ).fetchone()
        if endpoint is None:
            return []
        return [
            Letter(
                id=taken.id,
                endpoint_id=endpoint_id,
                url=endpoint[0],
                secrets=tuple(secret for secret in endpoint[2:4] if secret is not None),
                attempts=taken.attempts,
                since=taken.since,
                body=_body(cursor, taken, include_payload=endpoint[1]),
            )
            for taken in WEBHOOKS.take(cursor, endpoint_id, limit=limit, lease_seconds=lease_seconds)
        ]


def record(
    database: Database, letter: Letter, answer: Answer, *, give_up_after: timedelta, random: float
) -> str | None:
    """Write down how an attempt went; the delivery's state then. None when it was taken from this worker meanwhile."""
    gone = answer.status == GONE
    with database.transaction() as cursor:
        states = WEBHOOKS.record(
            cursor,
            {letter.id: (letter.attempts, letter.since)},
            ok=answer.ok,
            final=gone,
            give_up_after=give_up_after,
            random=random,
            said={"status": answer.status, "error": answer.error},
        )
        if gone and states:
            WEBHOOKS.disable(cursor, letter.endpoint_id, why="it answered 410 Gone")
    return states.get(letter.id)


def settle(database: Database, endpoint_id: UUID, *, delivered: bool, failed: bool) -> None:
    """After the last round: let the endpoint be looked at again, at once or, after failures, when it had a pause."""
    with database.transaction() as cursor:
        WEBHOOKS.settle(cursor, endpoint_id, delivered=delivered, failed=failed)


def list_deliveries(
    database: Database, endpoint_id: UUID, *, state: str | None = None, limit: int = 50
) -> list[Delivery]:
    """The newest deliveries of an endpoint. Raises NotFound for an endpoint that is not there."""
    with database.transaction() as cursor:
        return [_delivery(row) for row in WEBHOOKS.listed(cursor, _COLUMNS, endpoint_id, state=state, limit=limit)]


def redeliver(database: Database, delivery_id: UUID, *, endpoint_id: UUID | None = None) -> Delivery:
    """Send a delivery once more, as if it were new but under its id.

    Raises NotFound, and Conflict while it is waiting to be sent anyway or its endpoint is disabled.
    """
    with database.transaction() as cursor:
        return _delivery(WEBHOOKS.again(cursor, _COLUMNS, delivery_id, owner_id=endpoint_id, forget=("status",)))


def forget_deliveries(cursor: Cursor, *, keep_days: float, limit: int) -> int:
    """Delete some old deliveries that nothing more becomes of; how many."""
    return WEBHOOKS.forget(cursor, keep_days=keep_days, limit=limit)


_TOLD = """
SELECT e.type, e.at, e.seq, e.data, r.workflow, r.version, r.labels,
    CASE WHEN %(with_payload)s AND e.type LIKE 'gate.%%' THEN t.payload
         WHEN %(with_payload)s AND e.type = 'run.completed' THEN r.value END,
    CASE WHEN e.type LIKE 'gate.%%' THEN t.id IS NOT NULL ELSE e.type = 'run.completed' END
FROM events e JOIN runs r ON r.id = e.run_id
    LEFT JOIN human_tasks t ON t.run_id = e.run_id AND t.id = (e.data->>'human_task_id')::uuid
        AND t.payload_sha256 = coalesce(e.data->>'payload_sha256', t.payload_sha256)
WHERE e.run_id = %(run_id)s AND e.seq = %(seq)s
"""


def _body(cursor: Cursor, taken: Taken, *, include_payload: bool) -> bytes:
    if taken.type == TEST:
        return test_body(taken.id, taken.created_at)
    told = {"run_id": taken.run_id, "seq": taken.seq, "with_payload": include_payload}
    row = cursor.execute(_TOLD, told).fetchone()
    assert row is not None, "events are never deleted"
    assert taken.run_id is not None
    return body_of(
        Told(
            type=EventType(row[0]),
            at=row[1],
            seq=row[2],
            data=row[3],
            run_id=taken.run_id,
            workflow=row[4],
            version=row[5],
            labels=row[6],
            payload=row[7],
            has_payload=row[8],
        ),
        include_payload=include_payload,
    )


def _delivery(row: Row) -> Delivery:
    return Delivery(
        id=row[0],
        endpoint_id=row[1],
        run_id=row[2],
        seq=row[3],
        type=row[4],
        state=row[5],
        attempts=row[6],
        status=row[7],
        error=row[8],
        created_at=row[9],
        attempted_at=row[10],
        due_at=row[11],
    )
