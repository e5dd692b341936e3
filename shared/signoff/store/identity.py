"""Principals and their API keys.

A key is `so_<prefix>_<secret>`: the prefix names it in lists, the secret has 256 random bits. Only the
SHA-256 of the whole key is stored, and looked up by equality in an index, so how long the answer takes
tells nothing about the secret. Nothing is cached: what is revoked, expired or disabled ends with the next
request. A key is shown once, when it is made, and never logged.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import psycopg
import sqlalchemy as sa

from signoff.errors import Conflict, FieldError, InvalidInput, NotFound
from signoff.identity import Authentication, Grant, Principal
from signoff.ids import new_id
from signoff.store.database import Cursor, Database
from signoff.store.identity_changes import Change, Changer, record, record_rights
from signoff.store.identity_checks import (
    KINDS,
    MAX_GROUPS,
    MAX_KEY_WORKFLOWS,
    Kind,
    check_narrowed,
    checked_principal,
    is_name,
)
from signoff.store.mandates import MANDATED, mandates_from_row
from signoff.store.schema import api_keys, principals

__all__ = ["KINDS", "MAX_GROUPS", "MAX_KEY_WORKFLOWS", "Kind", "is_name"]
"""What others look for here and is in `identity_checks`."""

_KEY = re.compile(r"so_[a-z2-7]{8}_[A-Za-z0-9_-]{43}")

GRANTED = (
    "(SELECT array_agg(g.role || ' ' || g.workflow ORDER BY g.role, g.workflow) FROM role_grants g"
    " WHERE g.principal_id = p.id OR g.group_name = ANY(p.groups))"
)
"""The roles for one workflow of the principal `p`, its own and its groups'; see `signoff.store.role_grants`."""

PRINCIPAL = f"p.id, p.name, p.kind, p.groups, p.roles, {GRANTED}"
"""The columns of the principal `p` that `principal_from_row` reads."""

STANDING = f"ROW({PRINCIPAL}, k.scopes, k.workflows)::text"
"""All that a key `k` lets its principal `p` do in a right of its own, as one text: see `Authentication.standing`."""

_AUTHENTICATE = f"""
SELECT {PRINCIPAL}, k.scopes, k.workflows, k.prefix, {STANDING}, {MANDATED}
FROM api_keys k JOIN principals p ON p.id = k.principal_id
WHERE k.hash = %s AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
  AND p.disabled_at IS NULL
"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is kept of a key; `prefix` is how it is named, the key itself is not kept.

    `scopes` and `workflows` are what it is narrowed to; None is not at all.
    """

    id: UUID
    principal: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    scopes: frozenset[str] | None = None
    workflows: frozenset[str] | None = None


def create_principal(
    database: Database,
    *,
    name: str,
    kind: Kind,
    groups: Iterable[str] = (),
    roles: Iterable[str] = (),
    by: Changer | None = None,
) -> Principal:
    """A new principal. Raises InvalidInput naming each bad field, and Conflict when the name is taken."""
    try:
        with database.transaction() as cursor:
            return insert_principal(cursor, name=name, kind=kind, groups=groups, roles=roles, by=by)
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(f"there is a principal {name!r} already", fix="update it, or choose another name") from error


def insert_principal(
    cursor: Cursor,
    *,
    name: str,
    kind: Kind,
    groups: Iterable[str] = (),
    roles: Iterable[str] = (),
    by: Changer | None = None,
) -> Principal:
    """The same in the caller's transaction; a name that is taken raises the database's own UniqueViolation."""
    made = checked_principal(name=name, kind=kind, groups=groups, roles=roles)
    cursor.execute(
        "INSERT INTO principals (id, name, kind, groups, roles, created_at) VALUES (%s, %s, %s, %s, %s, now())",
        (made.id, made.name, made.kind, sorted(made.groups), sorted(made.roles)),
    )
    after = {"kind": made.kind, "groups": sorted(made.groups), "roles": sorted(made.roles)}
    record(cursor, by, "principal.added", principal_id=made.id, subject=made.name, after=after)
    return made


def update_principal(
    database: Database,
    name: str,
    *,
    groups: Iterable[str] | None = None,
    roles: Iterable[str] | None = None,
    disabled: bool | None = None,
    by: Changer | None = None,
) -> Principal:
    """Change what is given and leave the rest; it holds from the next request on.

    A kind never changes: the log would then say of a person what a program did. Raises NotFound,
    InvalidInput.
    """
    with database.transaction() as cursor:
        found = _find(cursor, name, "FOR UPDATE")
        if found is None:
            raise NotFound(f"there is no principal {name!r}")
        changed = checked_principal(
            name=name,
            kind=found.kind,
            groups=found.groups if groups is None else groups,
            roles=found.roles if roles is None else roles,
            id=found.id,
        )
        row = cursor.execute(
            "UPDATE principals p SET groups = %s, roles = %s, disabled_at ="
            " CASE WHEN %s::boolean IS NULL THEN p.disabled_at WHEN %s THEN coalesce(p.disabled_at, now()) END"
            " FROM principals was WHERE was.id = p.id AND p.id = %s"
            " RETURNING was.disabled_at IS NOT NULL, p.disabled_at IS NOT NULL",
            (sorted(changed.groups), sorted(changed.roles), disabled, disabled, changed.id),
        ).fetchone()
        record_rights(cursor, by, found, changed)
        if row is not None and row[0] != row[1]:
            told: Change = "principal.disabled" if row[1] else "principal.enabled"
            record(cursor, by, told, principal_id=changed.id, subject=name)
    return changed


def ensure_principal(
    database: Database,
    *,
    name: str,
    kind: Kind,
    groups: Iterable[str] = (),
    roles: Iterable[str] = (),
    by: Changer | None = None,
) -> Principal:
    """The principal with exactly these groups and roles, created or updated.

    Raises InvalidInput, and Conflict when there is one of that name with another kind.
    """
    with database.transaction() as cursor:
        found = _find(cursor, name)
    if found is None:
        return create_principal(database, name=name, kind=kind, groups=groups, roles=roles, by=by)
    if found.kind != kind:
        raise Conflict(f"{name!r} is a {found.kind} and can't become a {kind}", fix="choose another name")
    return update_principal(database, name, groups=groups, roles=roles, by=by)


def find_principal(cursor: Cursor, name: str) -> Principal | None:
    """The principal of this name, or None when there is none or it is disabled."""
    return _find(cursor, name, "AND disabled_at IS NULL")


def list_principals(database: Database) -> list[Principal]:
    """All of them by name, disabled ones too."""
    with database.query() as connection:
        rows = connection.execute(sa.select(principals).order_by(principals.c.name))
        return [principal_from_row((row.id, row.name, row.kind, row.groups, row.roles)) for row in rows]


def people_among(cursor: Cursor, users: Iterable[str], groups: Iterable[str], *, limit: int) -> list[Principal]:
    """The people of these names and groups, by name; disabled ones left out."""
    rows = cursor.execute(
        "SELECT id, name, kind, groups, roles FROM principals WHERE kind = 'user' AND disabled_at IS NULL"
        " AND (name = ANY(%s) OR groups && %s) ORDER BY name LIMIT %s",
        (list(users), list(groups), limit),
    ).fetchall()
    return [principal_from_row(row) for row in rows]


def create_api_key(
    database: Database,
    principal: str,
    *,
    expires_at: datetime | None = None,
    scopes: Iterable[str] | None = None,
    workflows: Iterable[str] | None = None,
    by: Changer | None = None,
) -> str:
    """A new key for the principal of this name: the only time it is seen. Raises NotFound, InvalidInput.

    With `scopes` (see `signoff.authorization.SCOPES`) it opens what they name and no more, with `workflows` only
    what is of these; None is all that the principal may do.
    """
    with database.transaction() as cursor:
        return insert_api_key(cursor, principal, expires_at=expires_at, scopes=scopes, workflows=workflows, by=by)


def insert_api_key(
    cursor: Cursor,
    principal: str,
    *,
    expires_at: datetime | None = None,
    scopes: Iterable[str] | None = None,
    workflows: Iterable[str] | None = None,
    by: Changer | None = None,
) -> str:
    """The same in the caller's transaction."""
    limits = [None if some is None else sorted(set(some)) for some in (scopes, workflows)]
    check_narrowed(*limits)
    if expires_at is not None and expires_at.tzinfo is None:
        raise InvalidInput(errors=[FieldError(path="/expires_at", message="has no time zone", fix="use UTC")])
    prefix, key = _new_key()
    row = cursor.execute(
        "INSERT INTO api_keys (id, principal_id, prefix, hash, created_at, expires_at, scopes, workflows)"
        " SELECT %s, id, %s, %s, now(), %s, %s, %s FROM principals WHERE name = %s RETURNING principal_id",
        (new_id(), prefix, _digest(key), expires_at, *limits, principal),
    ).fetchone()
    if row is None:
        raise NotFound(f"there is no principal {principal!r}")
    after = _told(prefix, expires_at, *limits)
    record(cursor, by, "key.made", principal_id=row[0], subject=principal, after=after)
    return key


def list_api_keys(database: Database, principal: str) -> list[ApiKey]:
    """What is kept of this principal's keys, newest first."""
    statement = (
        sa.select(api_keys, principals.c.name)
        .join(principals, principals.c.id == api_keys.c.principal_id)
        .where(principals.c.name == principal)
        .order_by(api_keys.c.id.desc())
    )
    with database.query() as connection:
        return [
            ApiKey(
                id=row.id,
                principal=row.name,
                prefix=row.prefix,
                created_at=row.created_at,
                expires_at=row.expires_at,
                revoked_at=row.revoked_at,
                scopes=_some(row.scopes),
                workflows=_some(row.workflows),
            )
            for row in connection.execute(statement)
        ]


def revoke_api_key(database: Database, key_id: UUID, *, by: Changer | None = None) -> None:
    """End a key for good, with the next request; once more is no error. Raises NotFound."""
    with database.transaction() as cursor:
        row = cursor.execute(
            "UPDATE api_keys SET revoked_at = now() WHERE id = %s AND revoked_at IS NULL"
            " RETURNING principal_id, prefix, expires_at, scopes, workflows",
            (key_id,),
        ).fetchone()
        if row is not None:
            record(cursor, by, "key.revoked", principal_id=row[0], before=_told(*row[1:]))
        elif cursor.execute("SELECT 1 FROM api_keys WHERE id = %s", (key_id,)).fetchone() is None:
            raise NotFound("there is no such API key")


def rotate_api_key(database: Database, key_id: UUID, *, overlap: timedelta, by: Changer | None = None) -> str:
    """A new key for the same principal and the same ends, made to last as long as the old one was.

    The old one ends after `overlap`.
    Where the old one ends sooner anyway, it still does. Raises NotFound, and Conflict for a key that opens nothing.
    """
    prefix, key = _new_key()
    with database.transaction() as cursor:
        row = cursor.execute(
            "SELECT p.id, k.prefix, k.expires_at, k.expires_at - k.created_at, k.scopes, k.workflows"
            " FROM api_keys k JOIN principals p ON p.id = k.principal_id"
            " WHERE k.id = %s AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())"
            " AND p.disabled_at IS NULL FOR UPDATE OF k",
            (key_id,),
        ).fetchone()
        if row is None:
            if cursor.execute("SELECT 1 FROM api_keys WHERE id = %s", (key_id,)).fetchone() is None:
                raise NotFound("there is no such API key")
            raise Conflict(
                "the key is revoked or has expired, or its principal is disabled", fix="signoff key create NAME"
            )
        principal_id, old, ends, lasts, *limits = row
        made = cursor.execute(
            "INSERT INTO api_keys (id, principal_id, prefix, hash, created_at, expires_at, scopes, workflows)"
            " VALUES (%s, %s, %s, %s, now(), now() + %s, %s, %s) RETURNING expires_at",
            (new_id(), principal_id, prefix, _digest(key), lasts, *limits),
        ).fetchone()
        # least() leaves nulls out: a key without an end gets one.
        cursor.execute(
            "UPDATE api_keys SET expires_at = least(expires_at, now() + %s) WHERE id = %s", (overlap, key_id)
        )
        before, after = _told(old, ends, *limits), _told(prefix, None if made is None else made[0], *limits)
        record(cursor, by, "key.rotated", principal_id=principal_id, before=before, after=after)
    return key


def authenticate(database: Database, key: str) -> Principal | None:
    """Whose key this is; None when it is unknown, revoked, expired, or its principal disabled."""
    # What can't be a key is not worth a connection.
    if not _KEY.fullmatch(key):
        return None
    with database.autocommit() as cursor:
        row = cursor.execute(_AUTHENTICATE, (_digest(key),)).fetchone()
    if row is None:
        return None
    *owner, scopes, workflows, shown, standing, mandates = row
    known_by = Authentication(method="api_key", id=shown, standing=standing)
    found = narrowed(principal_from_row(owner), scopes, workflows, known_by)
    return replace(found, mandates=mandates_from_row(mandates))


def narrowed(
    principal: Principal, scopes: Iterable[str] | None, workflows: Iterable[str] | None, known_by: Authentication
) -> Principal:
    """The principal as what was shown lets it in."""
    return replace(principal, scopes=_some(scopes), workflows=_some(workflows), authentication=known_by)


def api_key_id(cursor: Cursor, key: str) -> UUID | None:
    """Which key this is; None for one that is not known."""
    row = cursor.execute("SELECT id FROM api_keys WHERE hash = %s", (_digest(key),)).fetchone()
    return None if row is None else row[0]


def _new_key() -> tuple[str, str]:
    """The prefix of a new key, and the key."""
    prefix = base64.b32encode(secrets.token_bytes(5)).decode().lower()
    return prefix, f"so_{prefix}_{secrets.token_urlsafe(32)}"


def _told(
    prefix: str, expires_at: datetime | None, scopes: Sequence[str] | None, workflows: Sequence[str] | None
) -> dict[str, Any]:
    """A key as changes tell of it: what names it, and never what opens."""
    at = None if expires_at is None else expires_at.isoformat()
    return {"prefix": prefix, "expires_at": at, "scopes": scopes, "workflows": workflows}


def _digest(key: str) -> bytes:
    # No slow password hash: there is nothing to guess in 256 random bits, and every request pays for this.
    return hashlib.sha256(key.encode()).digest()


def _find(
    cursor: Cursor, name: str, also: Literal["", "FOR UPDATE", "AND disabled_at IS NULL"] = ""
) -> Principal | None:
    if not is_name(name):
        return None
    statement = "SELECT id, name, kind, groups, roles FROM principals WHERE name = %s "
    row = cursor.execute(statement + also, (name,)).fetchone()
    return principal_from_row(row) if row is not None else None


def principal_from_row(row: Sequence[Any]) -> Principal:
    """A row of id, name, kind, groups and roles, and of grants where they were read: see `PRINCIPAL`."""
    made, name, kind, groups, roles, *granted = row
    pairs = (text.split(" ", 1) for text in (granted[0] if granted else None) or ())
    return Principal(
        id=made,
        name=name,
        kind=kind,
        groups=frozenset(groups),
        roles=frozenset(roles),
        grants=frozenset(Grant(role=role, workflow=workflow) for role, workflow in pairs),
    )


def _some(listed: Iterable[str] | None) -> frozenset[str] | None:
    # Nothing at all is what a key can't be narrowed to; were it stored, it would open nothing.
    return None if listed is None else frozenset(listed)
