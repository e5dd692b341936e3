"""What a run's log says of each node of its graph, without reading the values in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from signoff.store.database import Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFact:
    """The last event that says what became of a node.

    `outcome`, `option` and `decided_by` are those of a decided gate; `human_task_id` is the one the gate opened.
    """

    node: str
    type: str
    seq: int
    at: datetime
    attempt: int | None
    outcome: str | None
    option: str | None
    decided_by: str | None
    human_task_id: UUID | None


# An output may be large: each event is read once, however many of its members are wanted.
_FACTS = """
SELECT DISTINCT ON (coalesce(d.step, d.gate))
    coalesce(d.step, d.gate), e.type, e.seq, e.at, d.attempt, d.outcome, d.option, d.decided_by, d.human_task_id
FROM events e, LATERAL json_to_record(e.data) AS d (
    step text, gate text, attempt integer, outcome text, option text, decided_by text, human_task_id uuid)
WHERE e.run_id = %s AND e.type IN ('step.completed', 'step.failed', 'step.retry_scheduled', 'gate.opened',
    'gate.passed', 'gate.revised', 'gate.decided')
ORDER BY coalesce(d.step, d.gate), e.seq DESC
"""
_CHILDREN = """
SELECT (data->>'compensation_run_id')::uuid FROM events
WHERE run_id = %s AND type = 'gate.decided' AND data->>'compensation_run_id' IS NOT NULL ORDER BY seq
"""


def node_facts(cursor: Cursor, run_id: UUID) -> dict[str, NodeFact]:
    """The last that happened at each node the run came by."""
    cursor.execute(_FACTS, (run_id,))
    names = tuple(NodeFact.__dataclass_fields__)
    return {row[0]: NodeFact(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()}


def compensations(cursor: Cursor, run_id: UUID) -> list[UUID]:
    """The runs that late reviews of this run have started, as its log names them."""
    cursor.execute(_CHILDREN, (run_id,))
    return [row[0] for row in cursor.fetchall()]
