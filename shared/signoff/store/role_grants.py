"""Roles that hold for one workflow: granted to a principal, or to a group and so to whoever is in it.

They are read with the principal, at every request and once more in the transaction that acts. Nothing is cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from signoff.errors import Conflict, FieldError, InvalidInput, NotFound
from signoff.identity import ROLES
from signoff.ids import new_id
from signoff.store.database import Cursor, Database
from signoff.store.identity_changes import Change, Changer, record
from signoff.store.identity_checks import is_name

MAX_GRANTS = 200
"""Grants of one principal, and of one group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whom a role is granted to: a principal or a group, by name."""

    name: str
    is_group: bool = False

    def __str__(self) -> str:
        return f"the group {self.name}" if self.is_group else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantView:
    """One grant with whom it is to and since when."""

    holder: Holder
    role: str
    workflow: str
    created_at: datetime


def grant_role(database: Database, holder: Holder, *, role: str, workflow: str, by: Changer | None = None) -> bool:
    """Grant a role for one workflow; False where it was granted already. It holds from the next request on.

    Raises InvalidInput, NotFound for a principal that is not there, and Conflict where there are too many.
    """
    _check(holder, role, workflow)
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 9))", (str(holder),))
        column, value = _held_by(cursor, holder)
        row = cursor.execute(f"SELECT count(*) FROM role_grants WHERE {column} = %s", (value,)).fetchone()  # noqa: S608
        cursor.execute(
            f"INSERT INTO role_grants (id, {column}, role, workflow, created_at) VALUES (%s, %s, %s, %s, now())"  # noqa: S608
            " ON CONFLICT DO NOTHING",
            (new_id(), value, role, workflow),
        )
        new = cursor.rowcount == 1
        if new and row is not None and row[0] >= MAX_GRANTS:
            raise Conflict(
                f"{holder} has {MAX_GRANTS} roles for one workflow each, and that is the most",
                fix="grant it to a group, or give a role that holds everywhere",
            )
        if new:
            _record(cursor, by, "role.granted", holder, value, after={"role": role, "workflow": workflow})
    return new


def revoke_role(database: Database, holder: Holder, *, role: str, workflow: str, by: Changer | None = None) -> None:
    """Take a grant back, with the next request. Raises NotFound where there is none."""
    with database.transaction() as cursor:
        column, value = _held_by(cursor, holder)
        cursor.execute(
            f"DELETE FROM role_grants WHERE {column} = %s AND role = %s AND workflow = %s",  # noqa: S608
            (value, role, workflow),
        )
        if cursor.rowcount == 0:
            raise NotFound(f"{holder} has no role {role!r} for {workflow!r}", fix="signoff role list")
        _record(cursor, by, "role.revoked", holder, value, before={"role": role, "workflow": workflow})


def list_grants(database: Database, *, holder: Holder | None = None, workflow: str | None = None) -> list[GrantView]:
    """All grants, or those of a holder or a workflow, by workflow, role and holder."""
    with database.autocommit() as cursor:
        rows = cursor.execute(
            "SELECT coalesce(p.name, g.group_name) AS name, g.group_name IS NOT NULL, g.role, g.workflow, g.created_at"
            " FROM role_grants g LEFT JOIN principals p ON p.id = g.principal_id"
            " WHERE (%(workflow)s::text IS NULL OR g.workflow = %(workflow)s)"
            " AND (%(group)s::text IS NULL OR g.group_name = %(group)s)"
            " AND (%(principal)s::text IS NULL OR p.name = %(principal)s)"
            " ORDER BY g.workflow, g.role, name",
            {
                "workflow": workflow,
                "group": holder.name if holder is not None and holder.is_group else None,
                "principal": holder.name if holder is not None and not holder.is_group else None,
            },
        ).fetchall()
    return [_view(row) for row in rows]


def _view(row: Sequence[Any]) -> GrantView:
    name, is_group, role, workflow, created_at = row
    return GrantView(holder=Holder(name=name, is_group=is_group), role=role, workflow=workflow, created_at=created_at)


def _held_by(cursor: Cursor, holder: Holder) -> tuple[str, Any]:
    """The column that names the holder, and what is in it."""
    if holder.is_group:
        return "group_name", holder.name
    row = cursor.execute("SELECT id FROM principals WHERE name = %s", (holder.name,)).fetchone()
    if row is None:
        raise NotFound(f"there is no principal {holder.name!r}", fix="signoff principal list")
    return "principal_id", row[0]


def _record(
    cursor: Cursor, by: Changer | None, change: Change, holder: Holder, value: Any, **told: dict[str, str]
) -> None:
    principal_id = None if holder.is_group else value
    record(cursor, by, change, principal_id=principal_id, subject=holder.name, **told)


def _check(holder: Holder, role: str, workflow: str) -> None:
    faults = []
    if not is_name(holder.name):
        faults.append(FieldError(path="/holder", message=f"{holder.name!r} is not a name"))
    if role not in ROLES:
        fix = f"one of {', '.join(ROLES)}"
        faults.append(FieldError(path="/role", message=f"{role!r} is not a role", fix=fix))
    if not is_name(workflow):
        faults.append(FieldError(path="/workflow", message=f"{workflow!r} is not the name of a workflow"))
    if faults:
        raise InvalidInput(errors=faults)
