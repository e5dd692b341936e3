"""Who changed whose rights: a row for each change, written in the transaction that makes it and never changed again.

No row holds a secret: a key is named by its prefix, and of a password it says only that there is another one. Rows
are as true as whoever writes them: the command line names the account of the machine that ran it, and who has a
password of the database can write there what they like.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

from signoff.errors import NotFound
from signoff.identity import Authentication, Principal
from signoff.ids import new_id
from signoff.store.database import Cursor, Database
from signoff.store.rows import dump

Change: TypeAlias = Literal[
    "principal.added",
    "principal.disabled",
    "principal.enabled",
    "groups.changed",
    "roles.changed",
    "role.granted",
    "role.revoked",
    "key.made",
    "key.rotated",
    "key.revoked",
    "password.set",
    "password.removed",
    "provider.linked",
    "callback.linked",
    "callback.unlinked",
    "sign_in_link.made",
    "sessions.revoked",
]
"""What was changed. Groups and roles are told as they were and as they are, all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changer:
    """Who changes rights: an account of the machine (`cli`, or `process` where no command was typed), a provider
    (`oidc`), or a principal, whose type is its kind and who was recognised by `authentication`."""

    type: str
    id: str
    name: str
    authentication: Authentication | None = None

    @classmethod
    def of(cls, principal: Principal) -> Changer:
        """The principal who asks."""
        actor = principal.actor
        return cls(type=actor.type, id=actor.id, name=actor.name, authentication=principal.authentication)

    @classmethod
    def provider(cls, issuer: str) -> Changer:
        """The OpenID provider whose claims are followed."""
        return cls(type="oidc", id=issuer, name="oidc")

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        known_by = {} if self.authentication is None else {"authentication": self.authentication.to_json()}
        return {"type": self.type, "id": self.id, "name": self.name} | known_by


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChange:
    """One row. `subject` is the name of a principal, or of a group where `principal_id` is None."""

    id: UUID
    at: datetime
    actor: Mapping[str, Any]
    principal_id: UUID | None
    subject: str
    change: str
    before: Any
    after: Any

    def to_json(self) -> dict[str, Any]:
        """As the command line gives it to programs."""
        return {
            "id": str(self.id),
            "at": self.at.isoformat(),
            "actor": self.actor,
            "principal_id": None if self.principal_id is None else str(self.principal_id),
            "subject": self.subject,
            "change": self.change,
            "before": self.before,
            "after": self.after,
        }


def account(kind: Literal["cli", "process"] = "cli") -> Changer:
    """The account of this machine that runs the process; not what the environment says, where anybody may say it."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        # In a container an account need not have a name.
        name = str(uid)
    return Changer(type=kind, id=f"{kind}:{name}", name=name)


def record(
    cursor: Cursor,
    by: Changer | None,
    change: Change,
    *,
    principal_id: UUID | None,
    subject: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add a row in the caller's transaction. `subject` may be left out where there is a principal.

    Where nobody is named who changes it, the process does.
    """
    cursor.execute(
        "INSERT INTO identity_changes (id, at, actor, principal_id, subject, change, before, after)"
        " VALUES (%s, clock_timestamp(), %s, %s, coalesce(%s, (SELECT name FROM principals WHERE id = %s)),"
        " %s, %s, %s)",
        (
            new_id(),
            dump((by or account("process")).to_json()),
            principal_id,
            subject,
            principal_id,
            change,
            None if before is None else dump(before),
            None if after is None else dump(after),
        ),
    )


def record_rights(cursor: Cursor, by: Changer | None, before: Principal, after: Principal) -> None:
    """A row for the groups and one for the roles, where they differ."""
    for change, was, now in (
        ("groups", before.groups, after.groups),
        ("roles", before.roles, after.roles),
    ):
        if was != now:
            record(
                cursor,
                by,
                "groups.changed" if change == "groups" else "roles.changed",
                principal_id=after.id,
                subject=after.name,
                before={change: sorted(was)},
                after={change: sorted(now)},
            )


def list_changes(database: Database, subject: str | None, *, limit: int) -> list[IdentityChange]:
    """The changes to this principal or group, or to all, newest first.

    Raises NotFound for a name that is nobody's, and that nothing was ever changed for.
    """
    with database.autocommit() as cursor:
        rows = cursor.execute(
            "SELECT id, at, actor, principal_id, subject, change, before, after FROM identity_changes"
            " WHERE %(subject)s::text IS NULL OR subject = %(subject)s ORDER BY at DESC, id DESC LIMIT %(limit)s",
            {"subject": subject, "limit": limit},
        ).fetchall()
        if not rows and subject is not None:
            # Who was there before changes were kept has none.
            there = "SELECT 1 FROM principals WHERE name = %(name)s OR %(name)s = ANY(groups) LIMIT 1"
            if cursor.execute(there, {"name": subject}).fetchone() is None:
                raise NotFound(f"there is no principal or group {subject!r}", fix="signoff principal list")
    return [
        IdentityChange(
            id=row[0],
            at=row[1],
            actor=row[2],
            principal_id=row[3],
            subject=row[4],
            change=row[5],
            before=row[6],
            after=row[7],
        )
        for row in rows
    ]
