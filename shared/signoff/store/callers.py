"""Who is asking, read once more in the transaction that does what they ask.

Between the request's authentication and the lock that it had to wait for, a key may have been revoked, a session
ended, a person disabled or taken out of a group. So what acts reads its caller again, and locks what let them in:
whoever takes it away waits until the act is committed, or the act finds it gone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from signoff.errors import Unauthenticated
from signoff.identity import Authentication, Principal
from signoff.store.database import Cursor
from signoff.store.identity import PRINCIPAL, STANDING, narrowed, principal_from_row
from signoff.store.mandates import MANDATED, mandates_from_row

_PRINCIPAL = (
    f"SELECT {PRINCIPAL}, {MANDATED} FROM principals p"  # noqa: S608
    " WHERE p.id = %s AND p.disabled_at IS NULL FOR SHARE OF p"
)
_OPEN = "k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())"
# In one statement, which every decision by a key pays for.
_BY_KEY = (
    f"SELECT {PRINCIPAL}, {MANDATED}, k.scopes, k.workflows FROM principals p"  # noqa: S608
    " JOIN api_keys k ON k.principal_id = p.id"
    f" WHERE p.id = %s AND p.disabled_at IS NULL AND k.prefix = %s AND {_OPEN} FOR SHARE OF p, k"
)
_KEY_OF_SESSION = f"SELECT k.scopes, k.workflows FROM api_keys k WHERE k.id = %s AND {_OPEN} FOR SHARE OF k"  # noqa: S608
_SESSION = (
    "SELECT s.api_key_id FROM sessions s WHERE s.principal_id = %s AND s.id = %s AND s.revoked_at IS NULL"
    " AND s.expires_at > clock_timestamp() FOR SHARE OF s"
)
_UNNARROWED = (None, None)

AS_IT_STOOD = f"""
SELECT 1 FROM principals p JOIN api_keys k ON k.principal_id = p.id
WHERE p.id = %(principal_id)s::uuid AND p.disabled_at IS NULL AND k.prefix = %(prefix)s AND {_OPEN}
    AND {STANDING} = %(standing)s{{also}}
FOR SHARE OF p, k
"""  # noqa: S608
"""A row while a key lets its principal do what it did when it was shown: no more, no less. Holds both as `still`."""


def as_it_stood(by: Principal) -> dict[str, Any] | None:
    """The parameters of `AS_IT_STOOD`; None for who was not let in by a key."""
    known_by = by.authentication
    if known_by is None or known_by.standing is None:
        return None
    return {"principal_id": by.id, "prefix": known_by.id, "standing": known_by.standing}


def still(cursor: Cursor, by: Principal) -> Principal:
    """The caller with the rights they have now, which stay until the transaction ends.

    Who was never authenticated, because nobody asks over a wire, is who they are. Raises Unauthenticated where what
    they came in with opens nothing any more.
    """
    if by.authentication is None:
        return by
    if by.authentication.method == "api_key":
        *found, mandates, scopes, workflows = _only(cursor, _BY_KEY, by.id, by.authentication.id)
    else:
        *found, mandates = _only(cursor, _PRINCIPAL, by.id)
        scopes, workflows = _let_in(cursor, by.id, by.authentication)
    caller = narrowed(principal_from_row(found), scopes, workflows, by.authentication)
    return replace(caller, mandates=mandates_from_row(mandates))


def _let_in(cursor: Cursor, principal_id: UUID, known_by: Authentication) -> Any:
    """What the key is narrowed to that this was begun with."""
    if known_by.method != "session":
        # A link or a callback has been used up, or checked, in this very transaction.
        return _UNNARROWED
    (api_key_id,) = _only(cursor, _SESSION, principal_id, UUID(known_by.id))
    return _UNNARROWED if api_key_id is None else _only(cursor, _KEY_OF_SESSION, api_key_id)


def _only(cursor: Cursor, statement: str, *parameters: object) -> Any:
    row = cursor.execute(statement, parameters).fetchone()
    if row is None:
        raise _gone()
    return row


def _gone() -> Unauthenticated:
    return Unauthenticated(
        "what you came in with has just been revoked, has expired, or you were disabled", fix="sign in again"
    )
