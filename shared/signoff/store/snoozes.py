"""Human tasks that somebody has put off for themselves. It changes nothing for others, and is in no log.

It holds until its end, and no longer than the human task is as it was: a new draft, a reminder or an escalation brings
it back.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from signoff.errors import Conflict, FieldError, InvalidInput
from signoff.identity import Principal
from signoff.model import TaskState, format_time
from signoff.store.database import Cursor
from signoff.store.schema import human_tasks
from signoff.store.schema_absences import snoozes

MAX_SNOOZE = timedelta(days=30)


def snooze(cursor: Cursor, human_task_id: UUID, person: Principal, until: datetime) -> None:
    """Put it off until then; once more moves the end. Raises Conflict when it is over, InvalidInput for the moment."""
    row = cursor.execute(
        "SELECT state, revision, rung, due_at, clock_timestamp() FROM human_tasks WHERE id = %s", (human_task_id,)
    ).fetchone()
    assert row is not None, "who calls has read it"
    state, revision, rung, due_at, now = row
    if state != TaskState.OPEN:
        raise Conflict(f"the human task is already {state}", code="already_decided")
    latest = min(now + MAX_SNOOZE, due_at) if due_at is not None else now + MAX_SNOOZE
    if not now < until <= latest:
        bound = "when it is due" if due_at is not None and latest == due_at else f"{MAX_SNOOZE.days} days from now"
        message = f"it may be put off until {bound}, {format_time(latest)}"
        raise InvalidInput(errors=[FieldError(path="/until", message=message, fix="name an earlier moment to come")])
    cursor.execute(
        "INSERT INTO snoozes (principal_id, human_task_id, revision, rung, until_at, created_at)"
        " VALUES (%(person)s, %(task)s, %(revision)s, %(rung)s, %(until)s, now())"
        " ON CONFLICT (principal_id, human_task_id) DO UPDATE"
        " SET revision = excluded.revision, rung = excluded.rung, until_at = excluded.until_at",
        {"person": person.id, "task": human_task_id, "revision": revision, "rung": rung, "until": until},
    )


def unsnooze(cursor: Cursor, human_task_id: UUID, person: Principal) -> None:
    """Bring it back; where it was not put off this does nothing."""
    cursor.execute("DELETE FROM snoozes WHERE principal_id = %s AND human_task_id = %s", (person.id, human_task_id))


def snoozed_until(cursor: Cursor, human_task_id: UUID, person: Principal) -> datetime | None:
    """Until when this person has put it off, while that holds."""
    row = cursor.execute(
        "SELECT s.until_at FROM snoozes s JOIN human_tasks t ON t.id = s.human_task_id AND t.state = 'open'"
        " WHERE s.principal_id = %s AND s.human_task_id = %s AND s.until_at > now()"
        " AND s.revision = t.revision AND s.rung = t.rung",
        (person.id, human_task_id),
    ).fetchone()
    return None if row is None else row[0]


def is_snoozed(person_id: UUID) -> sa.ColumnElement[bool]:
    """The human tasks that this person has put off."""
    return sa.exists().where(
        snoozes.c.principal_id == person_id,
        snoozes.c.human_task_id == human_tasks.c.id,
        snoozes.c.until_at > sa.func.now(),
        snoozes.c.revision == human_tasks.c.revision,
        snoozes.c.rung == human_tasks.c.rung,
    )


def forget_snoozes(cursor: Cursor, *, limit: int) -> int:
    """Remove those that have been over for a day."""
    cursor.execute(
        "DELETE FROM snoozes WHERE ctid = ANY(ARRAY(SELECT ctid FROM snoozes"
        " WHERE until_at < now() - interval '1 day' LIMIT %s))",
        (limit,),
    )
    return cursor.rowcount
