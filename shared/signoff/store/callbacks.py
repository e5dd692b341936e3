"""Callbacks: programs elsewhere that post what a person decided there, and whom they may speak for.

A callback is known by its token, which is in the address it posts to and is kept as SHA-256, and by its secret, which
signs. The secret is kept as it is, like that of a webhook: who can read the table can sign. It speaks for the people it
is linked to and for nobody else; each is known by the id they have there.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from signoff.errors import Conflict, FieldError, InvalidInput, NotFound
from signoff.identity import Principal
from signoff.ids import new_id
from signoff.model import format_time
from signoff.store.database import Cursor, Database
from signoff.store.identity import principal_from_row
from signoff.store.identity_changes import Changer, record
from signoff.store.identity_checks import is_name
from signoff.webhooks.signing import new_secret

MAX_EXTERNAL_ID = 255

_TOKEN = re.compile(r"sc_[a-z2-7]{8}_[A-Za-z0-9_-]{43}")
_COLUMNS = "c.id, c.name, c.prefix, c.created_at, c.old_secret_until"


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """What is shown of a callback. `people` are our names by the ids they have there."""

    id: UUID
    name: str
    prefix: str
    created_at: datetime
    old_secret_until: datetime | None
    people: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        until = self.old_secret_until
        return {
            "id": str(self.id),
            "name": self.name,
            "prefix": self.prefix,
            "created_at": format_time(self.created_at),
            "old_secret_until": None if until is None else format_time(until),
            "people": [{"external_id": external_id, "principal": name} for external_id, name in self.people],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A callback as a request finds it: the secrets that sign for it now, and the database's clock."""

    id: UUID
    secrets: tuple[str, ...]
    now: float


def add_callback(database: Database, name: str) -> tuple[Callback, str, str]:
    """A new callback with its token and its secret, which are seen this once. Raises InvalidInput, Conflict."""
    if not is_name(name):
        fix = "1 to 64 of a-z, 0-9, '.', '_', '@' and '-', starting with a letter or a digit"
        raise InvalidInput(errors=[FieldError(path="/name", message=f"{name[:80]!r} is not a name", fix=fix)])
    prefix = base64.b32encode(secrets.token_bytes(5)).decode().lower()
    token, secret = f"sc_{prefix}_{secrets.token_urlsafe(32)}", new_secret()
    try:
        with database.transaction() as cursor:
            row = cursor.execute(
                "INSERT INTO callbacks AS c (id, name, prefix, hash, secret, created_at)"  # noqa: S608
                f" VALUES (%s, %s, %s, %s, %s, clock_timestamp()) RETURNING {_COLUMNS}",
                (new_id(), name, prefix, _digest(token), secret),
            ).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise Conflict(f"there is a callback {name!r} already", fix="remove it, or choose another name") from error
    assert row is not None
    return _callback(row, ()), token, secret


def list_callbacks(database: Database) -> list[Callback]:
    """All that are not removed, by name, with the people each may speak for."""
    with database.autocommit() as cursor:
        rows = cursor.execute(
            f"SELECT {_COLUMNS} FROM callbacks c WHERE c.removed_at IS NULL ORDER BY c.name"  # noqa: S608
        ).fetchall()
        linked = cursor.execute(
            "SELECT l.callback_id, l.external_id, p.name FROM callback_people l JOIN principals p"
            " ON p.id = l.principal_id ORDER BY p.name, l.external_id"
        ).fetchall()
    return [_callback(row, [(each[1], each[2]) for each in linked if each[0] == row[0]]) for row in rows]


def remove_callback(database: Database, name: str, *, by: Changer | None = None) -> None:
    """End a callback with the next request. Raises NotFound."""
    with database.transaction() as cursor:
        callback_id = _named(cursor, name)
        cursor.execute("UPDATE callbacks SET removed_at = clock_timestamp() WHERE id = %s", (callback_id,))
        _unlink(cursor, callback_id, name, None, by)


def rotate_callback(database: Database, name: str, *, overlap: timedelta) -> str:
    """A new secret; until `overlap` is over the old one signs too. Raises NotFound."""
    secret = new_secret()
    with database.transaction() as cursor:
        cursor.execute(
            "UPDATE callbacks SET old_secret = secret, old_secret_until = clock_timestamp() + %s, secret = %s"
            " WHERE id = %s",
            (overlap, secret, _named(cursor, name)),
        )
    return secret


def link_person(database: Database, name: str, person: str, *, external_id: str, by: Changer | None = None) -> None:
    """Let a callback speak for a person, who has this id there. Raises NotFound, InvalidInput, Conflict."""
    if not (1 <= len(external_id) <= MAX_EXTERNAL_ID and external_id.isascii() and external_id.isprintable()):
        raise InvalidInput(f"an id there is 1 to {MAX_EXTERNAL_ID} printable ASCII characters")
    try:
        with database.transaction() as cursor:
            row = cursor.execute(
                "INSERT INTO callback_people (callback_id, external_id, principal_id, created_at)"
                " SELECT %s, %s, id, clock_timestamp() FROM principals WHERE name = %s AND kind = 'user'"
                " RETURNING principal_id",
                (_named(cursor, name), external_id, person),
            ).fetchone()
            if row is None:
                raise NotFound(f"there is no person {person!r}: a callback speaks for people alone")
            after = {"callback": name, "external_id": external_id}
            record(cursor, by, "callback.linked", principal_id=row[0], subject=person, after=after)
    except psycopg.errors.UniqueViolation as error:
        # Nobody becomes somebody else by a second link.
        raise Conflict(f"{external_id!r} is somebody there already", fix="signoff callback unlink first") from error


def unlink_person(database: Database, name: str, *, external_id: str, by: Changer | None = None) -> None:
    """Let a callback no longer speak for who has this id there. Raises NotFound."""
    with database.transaction() as cursor:
        if _unlink(cursor, _named(cursor, name), name, external_id, by) == 0:
            raise NotFound(f"the callback knows nobody as {external_id!r}")


def find_caller(database: Database, token: str) -> Caller | None:
    """The callback of this token; None when there is none, or none any more."""
    # What can't be a token is looked up all the same: how long it takes tells nothing.
    with database.autocommit() as cursor:
        row = cursor.execute(
            "SELECT id, secret, CASE WHEN old_secret_until > clock_timestamp() THEN old_secret END,"
            " extract(epoch FROM clock_timestamp())::float8 FROM callbacks WHERE hash = %s AND removed_at IS NULL",
            (_digest(token if _TOKEN.fullmatch(token) else ""),),
        ).fetchone()
    if row is None:
        return None
    return Caller(id=row[0], secrets=tuple(each for each in row[1:3] if each is not None), now=row[3])


def person_for(database: Database, callback_id: UUID, external_id: str) -> Principal | None:
    """Whom this callback means by this id; None unless it is linked to them and they are not disabled."""
    with database.autocommit() as cursor:
        row = cursor.execute(
            "SELECT p.id, p.name, p.kind, p.groups, p.roles FROM callback_people l"
            " JOIN principals p ON p.id = l.principal_id JOIN callbacks c ON c.id = l.callback_id"
            " WHERE l.callback_id = %s AND l.external_id = %s AND p.kind = 'user' AND p.disabled_at IS NULL"
            " AND c.removed_at IS NULL",
            (callback_id, external_id),
        ).fetchone()
    return None if row is None else principal_from_row(row)


def speaks_for(cursor: Cursor, callback_id: UUID, external_id: str, principal_id: UUID) -> bool:
    """Whether it still may; what it says stays so until the transaction ends."""
    row = cursor.execute(
        "SELECT 1 FROM callback_people l JOIN callbacks c ON c.id = l.callback_id WHERE l.callback_id = %s"
        " AND l.external_id = %s AND l.principal_id = %s AND c.removed_at IS NULL FOR SHARE",
        (callback_id, external_id, principal_id),
    ).fetchone()
    return row is not None


def _unlink(cursor: Cursor, callback_id: UUID, name: str, external_id: str | None, by: Changer | None) -> int:
    """Take one person from a callback, or all; how many."""
    gone = cursor.execute(
        "DELETE FROM callback_people WHERE callback_id = %(callback)s"
        " AND (%(person)s::text IS NULL OR external_id = %(person)s) RETURNING principal_id, external_id",
        {"callback": callback_id, "person": external_id},
    ).fetchall()
    for principal_id, known_as in gone:
        before = {"callback": name, "external_id": known_as}
        record(cursor, by, "callback.unlinked", principal_id=principal_id, before=before)
    return len(gone)


def _named(cursor: Cursor, name: str) -> UUID:
    row = cursor.execute(
        "SELECT id FROM callbacks WHERE name = %s AND removed_at IS NULL FOR UPDATE", (name,)
    ).fetchone()
    if row is None:
        raise NotFound(f"there is no callback {name!r}", fix="signoff callback list")
    found: UUID = row[0]
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _callback(row: Sequence[Any], people: Sequence[tuple[str, str]]) -> Callback:
    return Callback(
        id=row[0], name=row[1], prefix=row[2], created_at=row[3], old_secret_until=row[4], people=tuple(people)
    )
