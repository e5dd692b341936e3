"""Who defines a gate and who decides it: decisions of those who registered the version they decided under."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from signoff.model import format_time
from signoff.store.database import Cursor

LOOKED_AT = 100_000
"""Decisions that one report goes through, from the newest back."""
MAX_SHOWN = 1_000

_REPORT = """
WITH looked AS MATERIALIZED (
    SELECT d.id, d.human_task_id, d.run_id, d.decision, d.actor, d.principal_id, d.at FROM decisions d
    WHERE NOT d.withdrawn AND (%(since)s::timestamptz IS NULL OR d.at >= %(since)s)
    ORDER BY d.id DESC LIMIT %(looked_at)s + 1
), bounded AS (
    SELECT * FROM looked ORDER BY id DESC LIMIT %(looked_at)s
), known AS (
    SELECT b.*, t.workflow, t.version, t.gate, v.created_at AS registered_at,
        v.created_by ->> 'type' AS registrar, v.created_by ->> 'id' = b.principal_id AS own
    FROM bounded b JOIN human_tasks t ON t.id = b.human_task_id
    JOIN workflow_versions v ON v.workflow = t.workflow AND v.number = t.version
), own AS (
    SELECT id, human_task_id, run_id, workflow, version, gate, decision, actor, at, registered_at FROM known
    WHERE own ORDER BY id DESC LIMIT %(shown)s
)
SELECT (SELECT count(*) FROM bounded), (SELECT count(*) FROM looked) > %(looked_at)s,
    (SELECT count(*) FROM known WHERE own), (SELECT count(*) FROM known WHERE registrar = 'system'),
    own.* FROM (SELECT 1) AS always LEFT JOIN own ON true ORDER BY own.id DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRule:
    """A decision at a gate that its decider defined. `by` is as the log names them."""

    decision_id: UUID
    human_task_id: UUID
    run_id: UUID
    workflow: str
    version: int
    gate: str
    decision: str
    by: dict[str, str]
    at: datetime
    registered_at: datetime

    def to_json(self) -> dict[str, Any]:
        return {
            "decision_id": str(self.decision_id),
            "human_task_id": str(self.human_task_id),
            "run_id": str(self.run_id),
            "workflow": self.workflow,
            "version": self.version,
            "gate": self.gate,
            "decision": self.decision,
            "by": self.by,
            "at": format_time(self.at),
            "registered_at": format_time(self.registered_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """What the report found among the `decisions` it went through.

    `complete` says whether those were all of the period; `unattributed` how many were made under versions that no
    principal registered but somebody at the database, of whom nothing can be said. `items` are the newest of `found`.
    """

    decisions: int
    complete: bool
    found: int
    unattributed: int
    items: tuple[OwnRule, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "decisions": self.decisions,
            "complete": self.complete,
            "found": self.found,
            "unattributed": self.unattributed,
            "items": [item.to_json() for item in self.items],
        }


_FIELDS = tuple(OwnRule.__dataclass_fields__)


def separation(
    cursor: Cursor, *, since: datetime | None = None, shown: int = 100, looked_at: int = LOOKED_AT
) -> Separation:
    """Decisions that stand, newest first, whose decider registered the version of the workflow they decided under.

    `since` leaves out what was decided before. Whether such a decision is wrong is for people to say: this is no rule.
    """
    cursor.execute(_REPORT, {"since": since, "shown": min(shown, MAX_SHOWN), "looked_at": looked_at})
    rows = cursor.fetchall()
    return Separation(
        decisions=rows[0][0],
        complete=not rows[0][1],
        found=rows[0][2],
        unattributed=rows[0][3],
        items=tuple(OwnRule(**dict(zip(_FIELDS, row[4:], strict=True))) for row in rows if row[4] is not None),
    )
