"""Limits of authority as they are stored. A limit is never changed nor deleted: it ends, and another may follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from signoff.authority import ANY, GROUP, USER, Limit
from signoff.errors import NotFound
from signoff.ids import new_id
from signoff.model import Actor, Candidates
from signoff.store.database import Cursor
from signoff.store.rows import dump

_COLUMNS = "id, subject, workflow, gate, expression, set_by, set_at, ended_by, ended_at"

_ABLE = """
SELECT name FROM principals
WHERE kind = 'user' AND disabled_at IS NULL AND (name = ANY(%(users)s) OR groups && %(groups)s)
    AND (name = ANY(%(holders)s) OR groups && %(holding)s) AND id::text IS DISTINCT FROM %(barred)s
ORDER BY name LIMIT %(limit)s
"""


def limits_at(cursor: Cursor, workflow: str, gate: str) -> list[Limit]:
    """The limits that hold at this gate now, oldest first."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM authority_limits WHERE ended_at IS NULL"  # noqa: S608
        " AND workflow IN (%s, %s) AND gate IN (%s, %s) ORDER BY set_at, id",
        (ANY, workflow, ANY, gate),
    )
    return [_limit(row) for row in cursor.fetchall()]


def list_limits(cursor: Cursor, *, subject: str | None = None, ended: bool = False) -> list[Limit]:
    """The limits by subject, newest first; with `ended` also those that hold no more."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM authority_limits WHERE (%(subject)s::text IS NULL OR subject = %(subject)s)"  # noqa: S608
        " AND (%(ended)s OR ended_at IS NULL) ORDER BY subject, set_at DESC, id DESC LIMIT 10000",
        {"subject": subject, "ended": ended},
    )
    return [_limit(row) for row in cursor.fetchall()]


def set_limit(cursor: Cursor, *, subject: str, workflow: str, gate: str, expression: str, by: Actor) -> Limit:
    """Let this limit hold from now on, and end the one it supersedes. The same once more changes nothing."""
    # Of two at once the second supersedes the first.
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('authority', 13))")
    cursor.execute(
        f"SELECT {_COLUMNS} FROM authority_limits WHERE ended_at IS NULL"  # noqa: S608
        " AND subject = %s AND workflow = %s AND gate = %s",
        (subject, workflow, gate),
    )
    row = cursor.fetchone()
    if row is not None and row[4] == expression:
        return _limit(row)
    if row is not None:
        _end(cursor, row[0], by)
    cursor.execute(
        "INSERT INTO authority_limits (id, subject, workflow, gate, expression, set_by, set_at)"  # noqa: S608
        f" VALUES (%s, %s, %s, %s, %s, %s::json, clock_timestamp()) RETURNING {_COLUMNS}",
        (new_id(), subject, workflow, gate, expression, dump(by.to_json())),
    )
    made = cursor.fetchone()
    assert made is not None
    return _limit(made)


def end_limit(cursor: Cursor, limit_id: UUID, *, by: Actor) -> Limit:
    """Let this limit hold no more; once more is no error and keeps the first moment. Raises NotFound."""
    _end(cursor, limit_id, by)
    cursor.execute(f"SELECT {_COLUMNS} FROM authority_limits WHERE id = %s", (limit_id,))  # noqa: S608
    row = cursor.fetchone()
    if row is None:
        raise NotFound("there is no such limit of authority")
    return _limit(row)


def able(cursor: Cursor, asked: Candidates, admitting: Iterable[Limit], *, barred: str | None, limit: int) -> list[str]:
    """The people among these, by name, to whom one of these limits applies; `barred` is the id of one left out."""
    subjects = [each.subject for each in admitting]
    if not subjects:
        return []
    cursor.execute(
        _ABLE,
        {
            "users": list(asked.users),
            "groups": list(asked.groups),
            "holders": [each.removeprefix(USER) for each in subjects if each.startswith(USER)],
            "holding": [each.removeprefix(GROUP) for each in subjects if each.startswith(GROUP)],
            "barred": barred,
            "limit": limit,
        },
    )
    return [row[0] for row in cursor.fetchall()]


def _end(cursor: Cursor, limit_id: UUID, by: Actor) -> None:
    cursor.execute(
        "UPDATE authority_limits SET ended_at = clock_timestamp(), ended_by = %s::json"
        " WHERE id = %s AND ended_at IS NULL",
        (dump(by.to_json()), limit_id),
    )


def _limit(row: Sequence[object]) -> Limit:
    return Limit(**dict(zip(Limit.__dataclass_fields__, row, strict=True)))  # type: ignore[arg-type]
