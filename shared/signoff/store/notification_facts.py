"""What is known of an event when it is told: read then, not when it happened, so that nobody is asked in vain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from signoff.definition.policy import rules_for
from signoff.model import EventType, TaskState
from signoff.notifications.catalogue import ASKING
from signoff.notifications.messages import Facts
from signoff.store.database import Database
from signoff.store.outbox import Taken
from signoff.store.versions import VersionCache

_READ = """
SELECT e.run_id, e.seq, e.type, e.at, e.data, e.actor->>'name', r.workflow, r.version,
    t.id, t.gate, t.title, t.why, t.due_at, t.state, t.pending, t.payload, t.payload_sha256, t.assignee
FROM unnest(%s::uuid[], %s::int[]) AS wanted (run_id, seq)
    JOIN events e ON e.run_id = wanted.run_id AND e.seq = wanted.seq JOIN runs r ON r.id = e.run_id
    LEFT JOIN LATERAL (
        SELECT * FROM human_tasks h WHERE h.run_id = e.run_id AND (h.id::text = e.data->>'human_task_id'
            OR (e.data->>'human_task_id' IS NULL AND h.state = 'canceled' AND h.completed_at = e.at))
        ORDER BY h.id LIMIT 1
    ) AS t ON true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    run_id: UUID
    seq: int
    type: str
    at: Any
    data: dict[str, Any]
    actor: str
    workflow: str
    version: int
    task_id: UUID | None
    gate: str | None
    title: str | None
    why: str | None
    due_at: Any
    state: str | None
    pending: str | None
    payload: Any
    payload_sha256: str | None
    assignee: str | None


def read_facts(
    database: Database, versions: VersionCache, rows: Sequence[Taken], *, with_payload: bool
) -> dict[UUID, Facts]:
    """The facts of each row that is about a run, by its id."""
    about = [row for row in rows if row.run_id is not None]
    with database.transaction() as cursor:
        found = cursor.execute(_READ, ([row.run_id for row in about], [row.seq for row in about])).fetchall()
        by_event = {(row[0], row[1]): _Row(**dict(zip(_Row.__slots__, row, strict=True))) for row in found}
        made: dict[UUID, Facts] = {}
        for row in about:
            assert row.run_id is not None
            assert row.seq is not None
            each = by_event[(row.run_id, row.seq)]
            graph = versions.graph(cursor, each.workflow, each.version)
            made[row.id] = _facts(each, graph, with_payload=with_payload)
    return made


def _facts(row: _Row, graph: Any, *, with_payload: bool) -> Facts:
    kind = EventType(row.type)
    if row.task_id is None or row.gate is None:
        return Facts(
            kind=kind,
            at=row.at,
            data=row.data,
            actor=row.actor,
            run_id=row.run_id,
            workflow=row.workflow,
            with_payload=with_payload,
        )
    undecided = row.state == TaskState.OPEN and row.pending is None
    # What is shown now may be another draft than the one that an older event was about.
    same = row.data.get("payload_sha256") in (None, row.payload_sha256)
    return Facts(
        kind=kind,
        at=row.at,
        data=row.data,
        actor=row.actor,
        run_id=row.run_id,
        workflow=row.workflow,
        human_task_id=row.task_id,
        gate=row.gate,
        title=row.title or "",
        why=row.why or "",
        due_at=row.due_at,
        recommendation=rules_for(graph, row.gate).recommendation(row.payload) if kind in ASKING else None,
        blind=graph.gate(row.gate).blind and row.state == TaskState.OPEN,
        over=not undecided,
        with_payload=with_payload,
        payload=row.payload if same else None,
        has_payload=same,
    )
