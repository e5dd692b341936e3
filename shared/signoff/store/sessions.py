"""Signing in to the pages: sessions and the links that start them.

Session tokens and links are 256 random bits, kept as SHA-256 and looked up by equality. Nothing is cached: a session
ends with the next request once it is revoked, its principal is disabled, or the API key it was started with is
revoked or has expired.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from signoff.errors import NotFound, Unauthenticated
from signoff.identity import Authentication, Principal, StartedWith
from signoff.ids import new_id
from signoff.store import sign_in_attempts
from signoff.store.database import Cursor, Database
from signoff.store.identity import PRINCIPAL, api_key_id, narrowed, principal_from_row
from signoff.store.identity_changes import Changer, record
from signoff.store.mandates import MANDATED, mandates_from_row
from signoff.store.schema import api_keys, principals, sessions

MAX_USER_AGENT = 200
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")

_VALID = f"""
SELECT {PRINCIPAL}, k.scopes, k.workflows, s.id, s.started_with, {MANDATED}
FROM sessions s JOIN principals p ON p.id = s.principal_id LEFT JOIN api_keys k ON k.id = s.api_key_id
WHERE s.hash = %s AND s.revoked_at IS NULL AND s.expires_at > now() AND p.disabled_at IS NULL AND p.kind = 'user'
  AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
"""  # noqa: S608
_ENDING = (("sessions", "id"), ("sign_in_links", "id"), ("provider_sign_ins", "hash"), ("task_links", "id"))
_LINKED = """
SELECT p.id, p.name, p.kind, p.groups, p.roles
FROM sign_in_links l JOIN principals p ON p.id = l.principal_id
WHERE l.hash = %s AND l.used_at IS NULL AND l.expires_at > now() AND p.disabled_at IS NULL AND p.kind = 'user'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is kept of a sign-in. `started_with` is None for one that is older than this is kept."""

    id: UUID
    principal: str
    by_key: bool
    started_with: StartedWith | None
    user_agent: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


def start_session(
    database: Database,
    principal: Principal,
    *,
    hours: float,
    user_agent: str,
    key: str | None,
    started_with: StartedWith | None = None,
    only_if: Callable[[Cursor], bool] | None = None,
) -> str:
    """A new session and its token, which is seen this once. `key` is the API key it was started with, if it was.

    Raises Unauthenticated where `only_if`, which is asked in the same transaction, says no.
    """
    if key is not None:
        started_with = "api_key"
    token = secrets.token_urlsafe(32)
    with database.transaction() as cursor:
        if only_if is not None and not only_if(cursor):
            raise Unauthenticated("what you came in with has just been changed", fix="sign in again")
        cursor.execute(
            "INSERT INTO sessions (id, principal_id, hash, api_key_id, user_agent, started_with, created_at,"
            " seen_at, expires_at) VALUES (%s, %s, %s, %s, %s, %s, now(), now(), now() + %s)",
            (
                new_id(),
                principal.id,
                _digest(token),
                None if key is None else api_key_id(cursor, key),
                _printable(user_agent),
                started_with,
                timedelta(hours=hours),
            ),
        )
    return token


def session_principal(database: Database, token: str) -> Principal | None:
    """Whose session this is; None when it is unknown, has ended, or its principal or key has."""
    if not _TOKEN.fullmatch(token):
        return None
    with database.autocommit() as cursor:
        row = cursor.execute(_VALID, (_digest(token),)).fetchone()
    if row is None:
        return None
    # What its key is narrowed to holds for the session too.
    *owner, scopes, workflows, session_id, started_with, mandates = row
    known_by = Authentication(method="session", id=str(session_id), started_with=started_with)
    found = narrowed(principal_from_row(owner), scopes, workflows, known_by)
    return replace(found, mandates=mandates_from_row(mandates))


def touch_session(database: Database, token: str) -> None:
    """Note that the session has just been used to do something."""
    with database.autocommit() as cursor:
        cursor.execute("UPDATE sessions SET seen_at = now() WHERE hash = %s", (_digest(token),))


def end_session(database: Database, token: str) -> None:
    """Sign out; once more is no error."""
    with database.autocommit() as cursor:
        cursor.execute(
            "UPDATE sessions SET revoked_at = coalesce(revoked_at, now()) WHERE hash = %s", (_digest(token),)
        )


def list_sessions(database: Database, principal: str | None) -> list[Session]:
    """The sessions of this principal, or of everybody, that are still open; newest first."""
    statement = (
        sa.select(sessions, principals.c.name)
        .join(principals, principals.c.id == sessions.c.principal_id)
        .outerjoin(api_keys, api_keys.c.id == sessions.c.api_key_id)
        .where(principals.c.disabled_at.is_(None), sessions.c.revoked_at.is_(None))
        .where(sessions.c.expires_at > sa.func.now(), api_keys.c.revoked_at.is_(None))
        .where(sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > sa.func.now()))
        .order_by(sessions.c.created_at.desc(), sessions.c.id.desc())
    )
    if principal is not None:
        statement = statement.where(principals.c.name == principal)
    with database.query() as connection:
        return [_session(row) for row in connection.execute(statement)]


def revoke_session(database: Database, session_id: UUID, *, by: Changer | None = None) -> None:
    """End a session with the next request; once more is no error. Raises NotFound."""
    with database.transaction() as cursor:
        row = cursor.execute(
            "UPDATE sessions SET revoked_at = now() WHERE id = %s AND revoked_at IS NULL RETURNING principal_id",
            (session_id,),
        ).fetchone()
        if row is not None:
            before = {"sessions": [str(session_id)]}
            record(cursor, by, "sessions.revoked", principal_id=row[0], before=before)
        elif cursor.execute("SELECT 1 FROM sessions WHERE id = %s", (session_id,)).fetchone() is None:
            raise NotFound("there is no such session")


def revoke_all_sessions(database: Database, principal: str, *, by: Changer | None = None) -> int:
    """End every session of this principal and every unused link; how many sessions. Raises NotFound."""
    with database.transaction() as cursor:
        row = cursor.execute("SELECT id FROM principals WHERE name = %s", (principal,)).fetchone()
        if row is None:
            raise NotFound(f"there is no principal {principal!r}")
        return end_sessions(cursor, row[0], by=by)


def end_sessions(cursor: Cursor, principal_id: UUID, *, but: UUID | None = None, by: Changer | None = None) -> int:
    """The same in the caller's transaction, all of them or all but one."""
    # A link that is still open would be the next session.
    cursor.execute(
        "UPDATE sign_in_links SET used_at = now() WHERE principal_id = %s AND used_at IS NULL", (principal_id,)
    )
    links = cursor.rowcount
    # One into a human task decides by itself where possession is enough.
    cursor.execute(
        "UPDATE task_links SET revoked_at = clock_timestamp() WHERE principal_id = %s AND used_at IS NULL"
        " AND revoked_at IS NULL",
        (principal_id,),
    )
    ended = cursor.execute(
        "UPDATE sessions SET revoked_at = now() WHERE principal_id = %s AND revoked_at IS NULL"
        " AND expires_at > now() AND id IS DISTINCT FROM %s RETURNING id",
        (principal_id, but),
    ).fetchall()
    if ended or links:
        before = {"sessions": sorted(str(each) for (each,) in ended), "links": links}
        record(cursor, by, "sessions.revoked", principal_id=principal_id, before=before)
    return len(ended)


def create_sign_in_link(database: Database, principal: str, *, lasts: timedelta, by: Changer | None = None) -> str:
    """The token of a link that signs this person in, once. Raises NotFound: services and agents do not sign in."""
    token = secrets.token_urlsafe(32)
    with database.transaction() as cursor:
        row = cursor.execute(
            "INSERT INTO sign_in_links (id, principal_id, hash, created_at, expires_at)"
            " SELECT %s, id, %s, now(), now() + %s FROM principals WHERE name = %s AND disabled_at IS NULL"
            " AND kind = 'user' RETURNING principal_id, expires_at",
            (new_id(), _digest(token), lasts, principal),
        ).fetchone()
        if row is None:
            raise NotFound(f"there is no person {principal!r} who may sign in")
        after = {"expires_at": row[1].isoformat()}
        record(cursor, by, "sign_in_link.made", principal_id=row[0], subject=principal, after=after)
    return token


def peek_sign_in_link(database: Database, token: str) -> Principal | None:
    """Whom the link would sign in; looking changes nothing, so a scanner that follows it does no harm."""
    if not _TOKEN.fullmatch(token):
        return None
    with database.autocommit() as cursor:
        row = cursor.execute(_LINKED, (_digest(token),)).fetchone()
    return None if row is None else principal_from_row(row)


def use_sign_in_link(database: Database, token: str) -> Principal | None:
    """The same, and the link is used up: of two at once only one gets in."""
    if not _TOKEN.fullmatch(token):
        return None
    with database.transaction() as cursor:
        row = cursor.execute(f"{_LINKED} FOR UPDATE OF l", (_digest(token),)).fetchone()
        if row is None:
            return None
        cursor.execute("UPDATE sign_in_links SET used_at = now() WHERE hash = %s", (_digest(token),))
    return principal_from_row(row)


def forget_ended(cursor: Cursor, *, limit: int) -> int:
    """Delete sessions, links of both kinds and sign-ins by a provider or tried, that ended a day ago; how many."""
    gone = 0
    for table, key in _ENDING:
        cursor.execute(
            f"DELETE FROM {table} WHERE {key} IN"  # noqa: S608
            f" (SELECT {key} FROM {table} WHERE expires_at < now() - interval '1 day' LIMIT %s)",
            (limit,),
        )
        gone += cursor.rowcount
    return gone + sign_in_attempts.forget_old(cursor, limit=limit)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _printable(user_agent: str) -> str:
    return "".join(character for character in user_agent if character.isprintable())[:MAX_USER_AGENT]


def _session(row: Any) -> Session:
    return Session(
        id=row.id,
        principal=row.name,
        by_key=row.api_key_id is not None,
        started_with=row.started_with,
        user_agent=row.user_agent,
        created_at=row.created_at,
        seen_at=row.seen_at,
        expires_at=row.expires_at,
    )
