"""Open human tasks that nobody could decide now, whoever their gates name.

People come and go, so a gate may name whom there is not (yet): that is no fault of its definition, and the transition
that opens it knows no principals. It is found here, among what is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from signoff.store.database import Cursor

LOOKED_AT = 5_000
"""Open human tasks that are looked at, from the newest back: what was misconfigured lately is among them."""
_SHOWN = 5
_MEMBERS = 21
"""People of a group that are told apart. One who may is enough to know; who may not are the requester and those who
have decided already, which are fewer than the most approvals that a gate can ask for."""

_STRANDED = """
WITH open_ones AS MATERIALIZED (
    SELECT id, workflow, version, gate, revision, requester_id, candidate_users, candidate_groups
    FROM human_tasks WHERE state = 'open' AND pending IS NULL ORDER BY id DESC LIMIT %(looked_at)s
), people AS MATERIALIZED (
    SELECT id::text AS id, name, groups FROM principals WHERE kind = 'user' AND disabled_at IS NULL
), members AS (
    SELECT name, (array_agg(person))[1:%(members)s] AS persons
    FROM (SELECT unnest(groups) AS name, id AS person FROM people) AS member GROUP BY name
), asked AS (
    SELECT o.id, p.id AS person, p.id = o.requester_id AS requested
    FROM (SELECT id, requester_id, unnest(candidate_users) AS name FROM open_ones) AS o JOIN people p USING (name)
    UNION ALL
    SELECT o.id, person, person = o.requester_id
    FROM (SELECT id, requester_id, unnest(candidate_groups) AS name FROM open_ones) AS o JOIN members m USING (name),
        unnest(m.persons) AS person
), free AS (
    SELECT a.id, bool_and(a.requested) AS by_requester_alone FROM asked a
    WHERE NOT EXISTS (
        SELECT 1 FROM decisions d JOIN open_ones o ON o.id = d.human_task_id
        WHERE d.human_task_id = a.id AND d.principal_id = a.person AND d.revision = o.revision AND NOT d.withdrawn
    ) GROUP BY a.id
), asking AS MATERIALIZED (
    SELECT g.workflow, g.version, g.gate, (v.graph #>> ARRAY['nodes', g.gate, 'four_eyes'])::boolean AS four_eyes
    FROM (SELECT DISTINCT workflow, version, gate FROM open_ones) g
        JOIN workflow_versions v ON v.workflow = g.workflow AND v.number = g.version
    WHERE (v.graph #>> ARRAY['nodes', g.gate, 'authority'])::boolean
), holders AS MATERIALIZED (
    SELECT a.workflow, a.version, a.gate, a.four_eyes, p.id, p.name, p.groups
    FROM asking a
        JOIN authority_limits l ON l.ended_at IS NULL AND l.workflow IN ('*', a.workflow) AND l.gate IN ('*', a.gate)
        JOIN people p ON l.subject = 'user:' || p.name
            OR (l.subject LIKE 'group:%%' AND substr(l.subject, 7) = ANY(p.groups))
), powerless AS (
    SELECT o.id FROM open_ones o JOIN asking USING (workflow, version, gate)
    WHERE NOT EXISTS (
        SELECT 1 FROM holders h
        WHERE h.workflow = o.workflow AND h.version = o.version AND h.gate = o.gate
            AND (h.name = ANY(o.candidate_users) OR h.groups && o.candidate_groups)
            AND NOT (h.four_eyes AND h.id = o.requester_id)
    )
)
SELECT o.id, o.workflow, o.gate, o.candidate_users, o.candidate_groups, count(*) OVER (), p.id IS NOT NULL
FROM open_ones o LEFT JOIN free f USING (id) LEFT JOIN powerless p USING (id)
WHERE f.id IS NULL OR p.id IS NOT NULL OR (f.by_requester_alone AND (
    SELECT (v.graph #>> ARRAY['nodes', o.gate, 'four_eyes'])::boolean FROM workflow_versions v
    WHERE v.workflow = o.workflow AND v.number = o.version
))
ORDER BY o.id DESC LIMIT %(shown)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrandedTask:
    """One that nobody could decide, and whom its gate asks.

    `powerless` where its gate takes authority and nobody it asks has a limit there, admitting this payload or not.
    """

    id: UUID
    workflow: str
    gate: str
    users: tuple[str, ...]
    groups: tuple[str, ...]
    powerless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranded:
    """How many there are among those that were looked at, and the newest of them."""

    count: int
    examples: tuple[StrandedTask, ...]


def stranded_human_tasks(cursor: Cursor, *, looked_at: int = LOOKED_AT) -> Stranded:
    """The open human tasks that no enabled person could decide now.

    Nobody could where the gate asks only for people and groups that are not there, where under four eyes the one who
    is there started the run, where all who are there have decided on this revision and more are needed, and where
    approving takes authority and nobody who is asked has a limit of it.
    """
    cursor.execute(_STRANDED, {"looked_at": looked_at, "members": _MEMBERS, "shown": _SHOWN})
    rows = cursor.fetchall()
    return Stranded(
        count=rows[0][5] if rows else 0,
        examples=tuple(
            StrandedTask(
                id=row[0],
                workflow=row[1],
                gate=row[2],
                users=tuple(row[3]),
                groups=tuple(row[4]),
                powerless=row[6],
            )
            for row in rows
        ),
    )
