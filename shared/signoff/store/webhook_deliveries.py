"""Deliveries of webhooks: rows that say what is still to be sent, to whom and when.

They are written by the transaction of the event they tell of (`signoff.store.runs`). A worker takes some, which counts
the attempt and gives it a while, sends outside of any transaction, and records how it went. If it dies between, they
are due again when the while is over, under the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from signoff.errors import Conflict, NotFound
from signoff.model import EventType, format_time
from signoff.store.database import Cursor, Database, Row
from signoff.store.webhooks import disable_endpoint
from signoff.webhooks.catalogue import TEST, Told, body_of, test_body
from signoff.webhooks.schedule import next_attempt, pause_seconds

MAX_LISTED = 200
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
    rows = cursor.execute(
        "UPDATE webhook_endpoints w SET next_at = clock_timestamp() + %s WHERE id IN ("
        " SELECT id FROM webhook_endpoints e WHERE disabled_at IS NULL AND next_at <= clock_timestamp() AND EXISTS ("
        "  SELECT 1 FROM webhook_deliveries d WHERE d.endpoint_id = e.id AND d.due_at <= clock_timestamp())"
        " FOR NO KEY UPDATE SKIP LOCKED) RETURNING id",
        (timedelta(seconds=hold_seconds),),
    ).fetchall()
    return [row[0] for row in rows]


def take(database: Database, endpoint_id: UUID, *, limit: int, lease_seconds: float) -> list[Letter]:
    """Some deliveries of an endpoint that are due, with what is to be sent; nobody else has them for a while."""
    with database.transaction() as cursor:
        cursor.execute(
            "UPDATE webhook_endpoints SET next_at = clock_timestamp() + %s WHERE id = %s",
            (timedelta(seconds=lease_seconds), endpoint_id),
        )
        taken = cursor.execute(
            "UPDATE webhook_deliveries d SET attempts = d.attempts + 1, attempted_at = clock_timestamp(),"
            " due_at = clock_timestamp() + %s"
            " FROM webhook_endpoints w WHERE w.id = d.endpoint_id AND w.disabled_at IS NULL AND d.id IN ("
            "  SELECT id FROM webhook_deliveries WHERE endpoint_id = %s AND due_at <= clock_timestamp()"
            "  ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)"
            " RETURNING d.id, d.run_id, d.seq, d.type, d.attempts, d.since, d.created_at, w.url, w.include_payload,"
            " w.secret, CASE WHEN w.old_secret_until > clock_timestamp() THEN w.old_secret END",
            (timedelta(seconds=lease_seconds), endpoint_id, limit),
        ).fetchall()
        return [
            Letter(
                id=row[0],
                endpoint_id=endpoint_id,
                url=row[7],
                secrets=tuple(secret for secret in row[9:11] if secret is not None),
                attempts=row[4],
                since=row[5],
                body=_body(cursor, row),
            )
            for row in taken
        ]


def record(
    database: Database, letter: Letter, answer: Answer, *, give_up_after: timedelta, random: float
) -> str | None:
    """Write down how an attempt went; the delivery's state then. None when it was taken from this worker meanwhile."""
    with database.transaction() as cursor:
        row = cursor.execute(
            "SELECT clock_timestamp() FROM webhook_deliveries WHERE id = %s AND attempts = %s AND state = 'pending'"
            " FOR UPDATE",
            (letter.id, letter.attempts),
        ).fetchone()
        if row is None:
            return None
        gone = answer.status == GONE
        again = None
        if not answer.ok and not gone:
            again = next_attempt(
                attempts=letter.attempts, since=letter.since, now=row[0], give_up_after=give_up_after, random=random
            )
        state = "delivered" if answer.ok else "dead" if again is None else "pending"
        cursor.execute(
            "UPDATE webhook_deliveries SET state = %s, due_at = %s, status = %s, error = %s WHERE id = %s",
            (state, again, answer.status, answer.error, letter.id),
        )
        if gone:
            disable_endpoint(cursor, letter.endpoint_id, why="it answered 410 Gone")
    return state


def settle(database: Database, endpoint_id: UUID, *, delivered: bool, failed: bool) -> None:
    """After the last round: let the endpoint be looked at again, at once or, after failures, when it had a pause."""
    with database.transaction() as cursor:
        row = cursor.execute(
            "UPDATE webhook_endpoints SET failures = CASE WHEN %s THEN 0 WHEN %s THEN failures + 1 ELSE failures END"
            " WHERE id = %s RETURNING failures",
            (delivered, failed, endpoint_id),
        ).fetchone()
        pause = pause_seconds(row[0] or 1) if row is not None and failed else 0.0
        cursor.execute(
            "UPDATE webhook_endpoints SET next_at = clock_timestamp() + %s WHERE id = %s",
            (timedelta(seconds=pause), endpoint_id),
        )


def list_deliveries(
    database: Database, endpoint_id: UUID, *, state: str | None = None, limit: int = 50
) -> list[Delivery]:
    """The newest deliveries of an endpoint. Raises NotFound for an endpoint that is not there."""
    with database.transaction() as cursor:
        if cursor.execute("SELECT 1 FROM webhook_endpoints WHERE id = %s", (endpoint_id,)).fetchone() is None:
            raise NotFound("there is no such webhook endpoint")
        rows = cursor.execute(
            f"SELECT {_COLUMNS} FROM webhook_deliveries WHERE endpoint_id = %s AND (%s::text IS NULL OR state = %s)"  # noqa: S608
            " ORDER BY created_at DESC, id DESC LIMIT %s",
            (endpoint_id, state, state, min(limit, MAX_LISTED)),
        ).fetchall()
    return [_delivery(row) for row in rows]


def redeliver(database: Database, delivery_id: UUID, *, endpoint_id: UUID | None = None) -> Delivery:
    """Send a delivery once more, as if it were new but under its id.

    Raises NotFound, and Conflict while it is waiting to be sent anyway or its endpoint is disabled.
    """
    with database.transaction() as cursor:
        row = cursor.execute(
            "SELECT d.state, w.disabled_at FROM webhook_deliveries d JOIN webhook_endpoints w ON w.id = d.endpoint_id"
            " WHERE d.id = %s AND (%s::uuid IS NULL OR w.id = %s) FOR UPDATE OF d",
            (delivery_id, endpoint_id, endpoint_id),
        ).fetchone()
        if row is None:
            raise NotFound("there is no such delivery")
        if row[0] == "pending":
            raise Conflict("the delivery is still to be sent")
        if row[1] is not None:
            raise Conflict("the endpoint is disabled", fix="enable it first")
        found = cursor.execute(
            "UPDATE webhook_deliveries SET state = 'pending', attempts = 0, status = NULL, error = NULL,"  # noqa: S608
            f" since = clock_timestamp(), due_at = clock_timestamp() WHERE id = %s RETURNING {_COLUMNS}",
            (delivery_id,),
        ).fetchone()
    assert found is not None
    return _delivery(found)


def forget_deliveries(cursor: Cursor, *, keep_days: float, limit: int) -> int:
    """Delete some old deliveries that nothing more becomes of; how many."""
    cursor.execute(
        "DELETE FROM webhook_deliveries WHERE id IN ("
        " SELECT id FROM webhook_deliveries d WHERE created_at < clock_timestamp() - %s AND (due_at IS NULL"
        "  OR NOT EXISTS (SELECT 1 FROM webhook_endpoints w WHERE w.id = d.endpoint_id))"
        " ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED)",
        (timedelta(days=keep_days), limit),
    )
    return cursor.rowcount


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


def _body(cursor: Cursor, taken: Sequence[Any]) -> bytes:
    delivery_id, run_id, seq, kind, include_payload = taken[0], taken[1], taken[2], taken[3], taken[8]
    if kind == TEST:
        return test_body(delivery_id, taken[6])
    row = cursor.execute(_TOLD, {"run_id": run_id, "seq": seq, "with_payload": include_payload}).fetchone()
    assert row is not None, "events are never deleted"
    told = Told(
        type=EventType(row[0]),
        at=row[1],
        seq=row[2],
        data=row[3],
        run_id=run_id,
        workflow=row[4],
        version=row[5],
        labels=row[6],
        payload=row[7],
        has_payload=row[8],
    )
    return body_of(told, include_payload=include_payload)


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
