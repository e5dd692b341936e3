"""Groups: names that principals carry. One is there while somebody carries it."""

from __future__ import annotations

from collections.abc import Sequence

from signoff.errors import FieldError, InvalidInput, NotFound
from signoff.store.database import Cursor, Database
from signoff.store.identity_changes import Changer, record
from signoff.store.identity_checks import MAX_GROUPS, is_name


def list_groups(database: Database) -> dict[str, list[str]]:
    """Each group with the names in it, both in order; disabled principals are in it too."""
    with database.autocommit() as cursor:
        rows = cursor.execute(
            "SELECT given, array_agg(name ORDER BY name) FROM principals, unnest(groups) AS given"
            " GROUP BY given ORDER BY given"
        ).fetchall()
    return dict(rows)


def change_members(
    database: Database, group: str, names: Sequence[str], *, inside: bool, by: Changer | None = None
) -> list[str]:
    """Put these principals into a group or take them out, all or none; answers who is in it then.

    It holds from the next request on. Raises InvalidInput, and NotFound for a principal that is not there.
    """
    if not is_name(group):
        raise InvalidInput(errors=[FieldError(path="/group", message=f"{group!r} is not a name")])
    with database.transaction() as cursor:
        # In one order, so that two of these never wait for each other.
        for name in sorted(set(names)):
            _change(cursor, group, name, inside=inside, by=by)
        members = cursor.execute(
            "SELECT name FROM principals WHERE %s = ANY(groups) ORDER BY name", (group,)
        ).fetchall()
    return [name for (name,) in members]


def _change(cursor: Cursor, group: str, name: str, *, inside: bool, by: Changer | None) -> None:
    row = cursor.execute("SELECT id, groups FROM principals WHERE name = %s FOR UPDATE", (name,)).fetchone()
    if row is None:
        raise NotFound(f"there is no principal {name!r}", fix="signoff principal list")
    before = sorted(set(row[1]))
    changed = sorted({*before, group} if inside else {*before} - {group})
    if len(changed) > MAX_GROUPS:
        raise InvalidInput(
            errors=[FieldError(path="/groups", message=f"{name} is in {MAX_GROUPS}, and that is the most")]
        )
    cursor.execute("UPDATE principals SET groups = %s WHERE id = %s", (changed, row[0]))
    if changed != before:
        told = {"groups": before}, {"groups": changed}
        record(cursor, by, "groups.changed", principal_id=row[0], subject=name, before=told[0], after=told[1])
