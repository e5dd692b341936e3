"""From what has happened to what is to be sent: an event becomes a row for each channel that it concerns.

The transaction of the event notes that it happened; who is concerned is asked here, by the sweep. A channel has an
event once, however many ways lead to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import structlog

from signoff.model import Candidates, EventType
from signoff.notifications.audience import GROUP_PREFIX, Concerned, audience_of
from signoff.store.database import Cursor, Row
from signoff.store.staff import ACTIVE

log = structlog.get_logger(__name__)

_LATER = timedelta(hours=1)

_EVENT = """
SELECT e.type, e.data, r.requester_id, r.workflow, r.version, e.at
FROM events e JOIN runs r ON r.id = e.run_id WHERE e.run_id = %s AND e.seq = %s
"""
# The one that the event names, or all that ended with their run at the moment of the event.
_CONCERNED = """
SELECT t.id::text, t.candidate_users, t.candidate_groups, t.assignee,
    coalesce((v.graph #>> ARRAY['nodes', t.gate, 'four_eyes'])::boolean, true)
FROM human_tasks t JOIN workflow_versions v ON v.workflow = t.workflow AND v.number = t.version
WHERE t.run_id = %(run_id)s AND (t.id::text = %(human_task_id)s
    OR (%(human_task_id)s::text IS NULL AND t.state = 'canceled' AND t.completed_at = %(at)s))
ORDER BY t.id
"""
_HISTORY = """
SELECT data->>'human_task_id', type, data FROM events
WHERE run_id = %s AND seq <= %s AND data->>'human_task_id' = ANY(%s) AND type = ANY(%s) ORDER BY seq
"""
_NAMES_PEOPLE = [
    str(each)
    for each in (
        EventType.GATE_OPENED,
        EventType.GATE_REVISED,
        EventType.GATE_ESCALATED,
        EventType.HUMAN_TASK_ASSIGNED,
    )
]
# A time-out is told by its own event, and by the decision that follows from it only to who does not ask for that.
# Who stands in for somebody away who is asked, or holds it, may decide in their stead, whenever the absence began.
_EXPAND = f"""
INSERT INTO notifications (id, channel_id, run_id, seq, type, state, attempts, created_at, since, due_at)
SELECT gen_random_uuid(), c.id, %(run_id)s, %(seq)s, %(type)s, 'pending', 0, at, at, at
FROM notification_channels c, clock_timestamp() AS at
WHERE c.disabled_at IS NULL AND %(type)s = ANY (c.events)
    AND NOT (%(by_timeout)s AND 'gate.timed_out' = ANY (c.events))
    AND (c.subject = ANY (%(subjects)s) OR EXISTS (
        SELECT 1 FROM principals p WHERE 'user:' || p.name = c.subject AND p.kind = 'user' AND p.disabled_at IS NULL
            AND p.id::text <> ALL (%(barred)s)
            AND (p.name = ANY (%(users)s) OR p.groups && %(groups)s OR p.id::text = %(requester)s OR EXISTS (
                SELECT 1 FROM delegations d JOIN principals f ON f.id = d.delegator_id
                WHERE d.delegate_id = p.id AND d.kind = 'absence' AND {ACTIVE.format(now="clock_timestamp()")}
                    AND f.name = ANY (%(users)s) AND f.disabled_at IS NULL AND f.id::text <> ALL (%(barred)s)))))
ON CONFLICT (channel_id, run_id, seq) DO NOTHING
"""  # noqa: S608


def expand(cursor: Cursor, *, limit: int) -> int:
    """Give some of what has happened to the channels it concerns; how many events. Part of a transaction."""
    rows = cursor.execute(
        "SELECT run_id, seq, type FROM notification_events WHERE due_at <= (SELECT clock_timestamp())"
        " ORDER BY due_at, run_id, seq LIMIT %s FOR UPDATE SKIP LOCKED",
        (limit,),
    ).fetchall()
    for run_id, seq, kind in rows:
        try:
            with cursor.connection.transaction():
                _expand_one(cursor, run_id, seq, EventType(kind))
                cursor.execute("DELETE FROM notification_events WHERE run_id = %s AND seq = %s", (run_id, seq))
        except (psycopg.DataError, ValueError, LookupError, TypeError):
            # A log that somebody has changed: the others must not wait for it, and it is not thrown away.
            log.exception("notification_not_given_out", run=str(run_id), seq=seq)
            cursor.execute(
                "UPDATE notification_events SET due_at = clock_timestamp() + %s WHERE run_id = %s AND seq = %s",
                (_LATER, run_id, seq),
            )
    return len(rows)


def _expand_one(cursor: Cursor, run_id: UUID, seq: int, kind: EventType) -> None:
    row = cursor.execute(_EVENT, (run_id, seq)).fetchone()
    assert row is not None, "events are never deleted"
    data = row[1]
    tasks = _concerned(cursor, run_id, seq, data.get("human_task_id"), row[5])
    audience = audience_of(kind, data, tasks, requester_id=row[2])
    told = {
        "run_id": run_id,
        "seq": seq,
        "type": str(kind),
        "by_timeout": kind is EventType.GATE_DECIDED and data.get("decided_by") == "timeout",
        "barred": sorted(audience.barred),
        "requester": audience.requester,
    }
    cursor.execute(_EXPAND, told | _names(audience.people))
    if cursor.rowcount == 0 and audience.otherwise is not None:
        cursor.execute(_EXPAND, told | _names(audience.otherwise))


def _names(people: Candidates) -> dict[str, Any]:
    groups = list(people.groups)
    return {"users": list(people.users), "groups": groups, "subjects": [f"{GROUP_PREFIX}{name}" for name in groups]}


def _concerned(cursor: Cursor, run_id: UUID, seq: int, human_task_id: str | None, at: Any) -> tuple[Concerned, ...]:
    asked = {"run_id": run_id, "human_task_id": human_task_id, "at": at}
    tasks = cursor.execute(_CONCERNED, asked).fetchall()
    ids = [task[0] for task in tasks]
    history = cursor.execute(_HISTORY, (run_id, seq, ids, _NAMES_PEOPLE)).fetchall() if ids else []
    return tuple(_one(task, history) for task in tasks)


def _one(task: Row, history: Sequence[Row]) -> Concerned:
    return Concerned(
        candidates=Candidates(users=tuple(task[1]), groups=tuple(task[2])),
        assignee=task[3],
        four_eyes=task[4],
        history=tuple((EventType(row[1]), row[2]) for row in history if row[0] == task[0]),
    )
