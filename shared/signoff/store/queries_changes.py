"""Which human tasks have been written since a moment, and who could see them then and can now.

`changed_at` is the clock of the transaction that wrote the row, taken before it committed: a row may become visible
behind a moment that has already been looked at. Whoever goes on from a moment goes back a little before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from signoff.authorization import Action, HumanTaskFacts, is_allowed
from signoff.identity import Principal
from signoff.model import Candidates, EventType
from signoff.store.database import Cursor

MAX_CHANGES = 5_000
"""Rows that one look answers; where more have changed, reading the list again is cheaper than naming them."""

_LOSING = (
    EventType.GATE_REVISED,
    EventType.GATE_ESCALATED,
    EventType.HUMAN_TASK_CLAIMED,
    EventType.HUMAN_TASK_ASSIGNED,
    EventType.HUMAN_TASK_RELEASED,
)
"""The events after which somebody may no longer see a human task that they saw before."""

# The log is read only for rows that somebody may have lost sight of meanwhile. `now()` is taken before the
# snapshot: what it does not show was committed after that moment.
_CHANGED = f"""
SELECT now(), h.id, h.changed_at, h.workflow, h.requester_id, h.candidate_users, h.candidate_groups, h.assignee, (
    SELECT json_agg(json_build_object('type', e.type, 'since', e.at <= %(since)s, 'assignee', e.data->'assignee',
               'candidates', e.data->'candidates', 'to', e.data->'to', 'action', e.data->'action') ORDER BY e.seq)
    FROM events e
    WHERE e.run_id = h.run_id AND e.type IN ('{EventType.GATE_OPENED}', {", ".join(f"'{kind}'" for kind in _LOSING)})
      AND e.data->>'human_task_id' = h.id::text
    HAVING bool_or(e.at > %(since)s AND e.type <> '{EventType.GATE_OPENED}'))
FROM (SELECT 1) AS one LEFT JOIN LATERAL (
    SELECT * FROM human_tasks WHERE changed_at > %(since)s ORDER BY changed_at, id LIMIT %(limit)s
) AS h ON true
"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A human task that was written at `changed_at`, and every part people had in it since the moment asked for.

    `parts` begins with what holds now; the others are those that have ended meanwhile.
    """

    id: UUID
    changed_at: datetime
    parts: tuple[HumanTaskFacts, ...]

    def concerns(self, viewer: Principal) -> bool:
        """Whether the viewer may see it, or could until it changed: their list has to show, or to drop it."""
        return any(is_allowed(viewer, Action.READ_HUMAN_TASK, part) for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one look found. `complete` is false where more had changed than one look answers.

    `now` is the database's clock: what is not in here was committed after it, though its `changed_at` may be earlier.
    """

    now: datetime
    changes: tuple[Change, ...]
    complete: bool


def changes_since(cursor: Cursor, since: datetime, *, limit: int = MAX_CHANGES) -> Changes:
    """The human tasks written after `since` as far as they are committed, oldest first; one indexed statement."""
    rows = cursor.execute(_CHANGED, {"since": since, "limit": limit + 1}).fetchall()
    found = [_change(row) for row in rows[:limit] if row[1] is not None]
    return Changes(now=rows[0][0], changes=tuple(found), complete=len(rows) <= limit)


def database_now(cursor: Cursor) -> datetime:
    """The database's clock, which is the only one that counts."""
    row = cursor.execute("SELECT now()").fetchone()
    assert row is not None
    found: datetime = row[0]
    return found


def _change(row: Sequence[Any]) -> Change:
    _, found, changed_at, workflow, requester_id, users, groups, assignee, log = row
    parts = [(Candidates(users=tuple(users), groups=tuple(groups)), assignee)]
    parts += (part for part in _earlier(log or ()) if part not in parts)
    return Change(
        id=found,
        changed_at=changed_at,
        # Who may decide is of no matter to who may see, and it is the gate that says it.
        parts=tuple(
            HumanTaskFacts(
                workflow=workflow, requester_id=requester_id, candidates=asked, assignee=holds, four_eyes=False
            )
            for asked, holds in dict.fromkeys(parts)
        ),
    )


def _earlier(log: Iterable[dict[str, Any]]) -> list[tuple[Candidates, str | None]]:
    """Who was asked and who held it from the moment on, by the events that say so; as the transitions have it."""
    asked, holds = Candidates(), None
    found: list[tuple[Candidates, str | None]] = []
    for event in log:
        match event["type"]:
            case EventType.GATE_OPENED:
                asked, holds = Candidates.from_json(event["candidates"]), event["assignee"]
            case EventType.GATE_REVISED:
                asked = Candidates.from_json(event["candidates"]) if event["candidates"] else asked
            case EventType.GATE_ESCALATED if event["action"] == "reroute":
                asked, holds = Candidates.from_json(event["to"]), None
            case EventType.GATE_ESCALATED:
                asked = asked.with_(Candidates.from_json(event["to"]))
            case EventType.HUMAN_TASK_RELEASED:
                holds = None
            case _:
                holds = event["assignee"]
        # Up to the moment only the last part counts: it is the one that held there.
        found = [(asked, holds)] if event["since"] else [*found, (asked, holds)]
    return found
