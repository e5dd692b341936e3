"""Runs that have not come to an end, as whoever looks at a restored database wants to know of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from signoff.store.database import Cursor

_UNFINISHED = """
SELECT r.id, r.workflow, r.version, r.status, r.node, r.queue, r.due_at, r.lost, r.error, ARRAY(
    SELECT DISTINCT asked FROM human_tasks t,
        unnest(coalesce(ARRAY[t.assignee], '{}') || t.candidate_groups || t.candidate_users) AS asked
    WHERE t.run_id = r.id AND t.state = 'open' AND asked IS NOT NULL ORDER BY asked
)
FROM runs r
WHERE r.status NOT IN ('completed', 'canceled') AND (%(after)s::uuid IS NULL OR r.id > %(after)s)
ORDER BY r.id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedRun:
    """One of them. `asked` are the people and groups of its open human tasks, `due_at` when it is looked at again."""

    run_id: UUID
    workflow: str
    version: int
    status: str
    node: str | None
    queue: str | None
    due_at: datetime | None
    lost: int
    error: Mapping[str, Any] | None
    asked: tuple[str, ...]


def unfinished_runs(cursor: Cursor, *, after: UUID | None, limit: int) -> list[UnfinishedRun]:
    """The next runs that neither completed nor were canceled, in the order of their ids; those that failed too."""
    cursor.execute(_UNFINISHED, {"after": after, "limit": limit})
    return [
        UnfinishedRun(
            run_id=row[0],
            workflow=row[1],
            version=row[2],
            status=row[3],
            node=row[4],
            queue=row[5],
            due_at=row[6],
            lost=row[7],
            error=row[8],
            asked=tuple(row[9]),
        )
        for row in cursor.fetchall()
    ]
