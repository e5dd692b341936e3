"""Idempotency keys: a request that comes again gets the answer of the first, and happens once.

The key's row is in the same transaction as the effect, so there is no moment at which one exists without the other;
a second request with the same key waits at the unique index until the first has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from signoff.errors import InvalidInput
from signoff.store.database import Cursor
from signoff.store.rows import dump


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """A caller's key and the fingerprint of the whole request: SHA-256 over method, path and canonical body.

    `scope` is whose key it is where that is not the principal: a callback sends for many, and its ids are its own.
    """

    key: str
    fingerprint: str
    scope: str | None = None


def begin(cursor: Cursor, principal_id: str, key: IdempotencyKey, *, keep_hours: float) -> dict[str, Any] | None:
    """The stored result of an earlier request with this key, or None when this is the first.

    Raises InvalidInput (code `idempotency_mismatch`) when the earlier request was another one.
    """
    parameters = {
        "principal": key.scope or principal_id,
        "key": key.key,
        "fingerprint": key.fingerprint,
        "hours": keep_hours,
    }
    cursor.execute(
        "INSERT INTO idempotency_keys AS known (principal_id, key, fingerprint, created_at)"
        " VALUES (%(principal)s, %(key)s, %(fingerprint)s, clock_timestamp())"
        " ON CONFLICT (principal_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, result = NULL,"
        " created_at = excluded.created_at"
        " WHERE known.created_at < clock_timestamp() - %(hours)s * interval '1 hour'"
        " RETURNING 1",
        parameters,
    )
    if cursor.fetchone() is not None:
        return None
    cursor.execute(
        "SELECT fingerprint, result FROM idempotency_keys"
        " WHERE principal_id = %(principal)s AND key = %(key)s FOR SHARE",
        parameters,
    )
    row = cursor.fetchone()
    if row is None or row[0] != key.fingerprint:
        raise InvalidInput(
            "this Idempotency-Key was used with another request",
            code="idempotency_mismatch",
            fix="use a new key for a new request",
        )
    result: dict[str, Any] = row[1]
    return result


def finish(cursor: Cursor, principal_id: str, key: IdempotencyKey, result: dict[str, Any]) -> None:
    """Keep what the first request did, for those that repeat it."""
    cursor.execute(
        "UPDATE idempotency_keys SET result = %s::json WHERE principal_id = %s AND key = %s",
        (dump(result), key.scope or principal_id, key.key),
    )


def forget_old(cursor: Cursor, *, keep_hours: float, limit: int) -> int:
    """Delete keys past their time, a batch at a time; how many."""
    cursor.execute(
        "DELETE FROM idempotency_keys WHERE (principal_id, key) IN (SELECT principal_id, key FROM idempotency_keys"
        " WHERE created_at < (SELECT clock_timestamp()) - %s * interval '1 hour' ORDER BY created_at LIMIT %s)",
        (keep_hours, limit),
    )
    return cursor.rowcount
