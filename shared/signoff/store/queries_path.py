"""What a run's log says of each node of its graph, without reading the values in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from signoff.store.database import Cursor
from signoff.store.queries import Prepared
from signoff.store.schema import events

_TYPES = (
    "step.completed",
    "step.failed",
    "step.retry_scheduled",
    "gate.opened",
    "gate.passed",
    "gate.revised",
    "gate.decided",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFact:
    """The last event that says what became of a node, and how often there was one.

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
    visits: int


_node = sa.func.coalesce(events.c.data["step"].as_string(), events.c.data["gate"].as_string())
_FACTS = Prepared(
    sa.select(
        _node.label("node"),
        events.c.type,
        events.c.seq,
        events.c.at,
        events.c.data["attempt"].as_string(),
        events.c.data["outcome"].as_string(),
        events.c.data["option"].as_string(),
        events.c.data["decided_by"].as_string(),
        events.c.data["human_task_id"].as_string(),
        sa.func.row_number().over(partition_by=_node, order_by=events.c.seq).label("visits"),
        sa.func.count().over(partition_by=_node).label("of"),
    )
    .where(
        events.c.run_id == sa.bindparam("id", type_=sa.Uuid()),
        events.c.type.in_([sa.literal_column(f"'{kind}'") for kind in _TYPES]),
    )
    .order_by(events.c.seq)
)
_CHILDREN = Prepared(
    sa.select(events.c.data["compensation_run_id"].as_string()).where(
        events.c.run_id == sa.bindparam("id", type_=sa.Uuid()),
        events.c.type == sa.literal_column("'gate.decided'"),
        events.c.data["compensation_run_id"].as_string().is_not(None),
    )
)


def node_facts(cursor: Cursor, run_id: UUID) -> dict[str, NodeFact]:
    """The last that happened at each node the run came by."""
    found: dict[str, NodeFact] = {}
    for node, kind, seq, at, attempt, outcome, option, decided_by, task, visits, of in _FACTS.run(cursor, id=run_id):
        if visits == of:
            found[node] = NodeFact(
                node=node,
                type=kind,
                seq=seq,
                at=at,
                attempt=int(attempt) if attempt is not None else None,
                outcome=outcome,
                option=option,
                decided_by=decided_by,
                human_task_id=UUID(task) if task is not None else None,
                visits=visits,
            )
    return found


def compensations(cursor: Cursor, run_id: UUID) -> list[UUID]:
    """The runs that late reviews of this run have started, as its log names them."""
    return [UUID(found) for (found,) in _CHILDREN.run(cursor, id=run_id)]
