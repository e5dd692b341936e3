"""What was decided at one gate in some period: read within bounds, for `signoff.insights` to count.

The newest come first, and the reading ends at a cap. Where it does, human tasks and policy's passes are cut at the
same moment, so that shares stay shares of one and the same time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import orjson

from signoff.authorization import Reach
from signoff.canonical import Json
from signoff.definition.fields import split_path
from signoff.definition.graph import GateNode, Graph
from signoff.errors import NotFound
from signoff.insights.cases import Opened, Passed, Reviewed, Said, edited_fields
from signoff.store.database import Cursor, Database
from signoff.store.versions import VersionCache

MAX_FIELD = 2_000
"""Characters of one field of a payload that are read."""
MAX_WORKFLOWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many human tasks, and as many passes by policy, are read of one gate, and looked through of all gates."""

    cases: int = 20_000
    scanned: int = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """The last `days` days; or the days from `first` to `last` in UTC, both included."""

    days: int | None = None
    first: date | None = None
    last: date | None = None

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """From when on, and up to when."""
        if self.days is not None:
            return now - timedelta(days=self.days), now
        assert self.first is not None
        assert self.last is not None
        first = datetime.combine(self.first, time(), UTC)
        return first, datetime.combine(self.last, time(), UTC) + timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateName:
    """One gate of a workflow's newest version."""

    workflow: str
    version: int
    gate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What was decided at one gate from `since` up to `until`; `capped` says that there was more before.

    `node` is the gate in the workflow's newest version, `version`; `graphs` are those of all versions met. `overdue`
    human tasks are open now and past due, whenever they were opened.
    """

    node: GateNode
    version: int
    graphs: Mapping[int, Graph]
    since: datetime
    until: datetime
    capped: bool
    reviewed: tuple[Reviewed, ...]
    passed: tuple[Passed, ...]
    overdue: int


def list_gates(database: Database, versions: VersionCache, shown: Reach) -> tuple[GateName, ...]:
    """The gates of the newest version of every workflow that is to be shown, by name."""
    with database.transaction() as cursor:
        rows = cursor.execute(
            "SELECT workflow, max(number) FROM workflow_versions"
            " WHERE %(shown)s::text[] IS NULL OR workflow = ANY(%(shown)s)"
            " GROUP BY workflow ORDER BY workflow LIMIT %(limit)s",
            {"shown": None if shown is None else sorted(shown), "limit": MAX_WORKFLOWS},
        ).fetchall()
        graphs = [(name, number, versions.graph(cursor, name, number)) for name, number in rows]
    return tuple(
        GateName(workflow=workflow, version=version, gate=node.name)
        for workflow, version, graph in graphs
        for node in graph.nodes.values()
        if isinstance(node, GateNode)
    )


def find_gate(database: Database, versions: VersionCache, workflow: str, gate: str) -> GateNode:
    """The gate in the workflow's newest version. Raises NotFound."""
    with database.transaction() as cursor:
        return _newest(cursor, versions, workflow, gate)[1]


def decided_at(
    database: Database,
    versions: VersionCache,
    *,
    workflow: str,
    gate: str,
    period: Period,
    fields: Sequence[str] = (),
    with_values: bool = False,
    bounds: Bounds = Bounds(),
) -> Decided:
    """What was decided at this gate. `fields` are the payload's that are read beside the score's.

    `with_values` reads what the condition saw where policy passed. Raises NotFound for a gate that is not there.
    """
    with database.transaction() as cursor:
        # One snapshot: a human task that is decided meanwhile must not be open and decided at once.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        version, node = _newest(cursor, versions, workflow, gate)
        now = _one(cursor.execute("SELECT clock_timestamp()").fetchone())
        start, until = period.bounds(now)
        scan = _Scan(cursor=cursor, workflow=workflow, gate=gate, until=until, bounds=bounds)
        since = max(at for at in (start, scan.human_task_bound(start), scan.pass_bound(start)) if at is not None)
        wanted = tuple(dict.fromkeys([*fields, *([split_path(node.score)[0]] if node.score else [])]))
        tasks = scan.human_tasks(since, wanted)
        if len(tasks) > bounds.cases:
            since = tasks[bounds.cases][_COMPLETED]
            tasks = tasks[: bounds.cases]
        passes = scan.passes(since, with_values=with_values)
        if len(passes) > bounds.cases:
            since = passes[bounds.cases][_AT]
            passes = passes[: bounds.cases]
        tasks = [row for row in tasks if since == start or row[_COMPLETED] > since]
        reviewed = _reviewed(cursor, tasks, wanted, node)
        numbers = {task.version for task in reviewed} | {row[1] for row in passes} | {version}
        return Decided(
            node=node,
            version=version,
            graphs={number: versions.graph(cursor, workflow, number) for number in sorted(numbers)},
            since=since,
            until=until,
            capped=since > start,
            reviewed=reviewed,
            passed=tuple(
                Passed(run_id=row[0], version=row[1], at=row[_AT], values=row[3])
                for row in passes
                if since == start or row[_AT] > since
            ),
            overdue=scan.overdue(now),
        )


def openings(database: Database, gate: str, runs: Sequence[UUID]) -> dict[UUID, Opened]:
    """How the human tasks of this gate in these runs were opened, by their ids."""
    if not runs:
        return {}
    with database.transaction() as cursor:
        rows = cursor.execute(
            "SELECT data ->> 'human_task_id', data ->> 'sampled', data -> 'values' FROM events"
            " WHERE run_id = ANY(%s) AND type = 'gate.opened' AND data ->> 'gate' = %s",
            (list(runs), gate),
        ).fetchall()
    return {UUID(id): Opened(sampled=sampled == "true", values=values or {}) for id, sampled, values in rows}


_COMPLETED = 8
_TASK_COLUMNS = (
    "id, run_id, version, revision, outcome, decided_by, revised_at, due_at, completed_at"  # the order of `_COMPLETED`
)
_AT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    """The statements for one gate, newest first."""

    cursor: Cursor
    workflow: str
    gate: str
    until: datetime
    bounds: Bounds

    def human_task_bound(self, since: datetime) -> datetime | None:
        """The moment before which so many human tasks of all gates ended that they are not looked through."""
        statement = (
            "SELECT completed_at FROM human_tasks WHERE completed_at >= %s AND completed_at < %s"
            " ORDER BY completed_at DESC OFFSET %s LIMIT 1"
        )
        found: datetime | None = _one(
            self.cursor.execute(statement, (since, self.until, self.bounds.scanned)).fetchone()
        )
        return found

    def pass_bound(self, since: datetime) -> datetime | None:
        """The same for what policy passed."""
        statement = (
            "SELECT at FROM events WHERE type = 'gate.passed' AND at >= %s AND at < %s"
            " ORDER BY at DESC OFFSET %s LIMIT 1"
        )
        found: datetime | None = _one(
            self.cursor.execute(statement, (since, self.until, self.bounds.scanned)).fetchone()
        )
        return found

    def human_tasks(self, since: datetime, fields: Sequence[str]) -> list[tuple[Any, ...]]:
        """The decided human tasks with these fields of their payloads, one more than the cap."""
        # A longer value is cut so that it shows: its text is longer than what is read of it.
        shown = "".join(", left((payload -> %s::text)::text, %s)" for _ in fields)
        bound = [part for name in fields for part in (name, MAX_FIELD + 1)]
        statement = (
            f"SELECT {_TASK_COLUMNS}{shown} FROM human_tasks"  # noqa: S608  # only columns' names are put in
            " WHERE completed_at >= %s AND completed_at < %s AND workflow = %s AND gate = %s"
            " AND decided_by IS NOT NULL ORDER BY completed_at DESC, id LIMIT %s"
        )
        parameters = (*bound, since, self.until, self.workflow, self.gate, self.bounds.cases + 1)
        return self.cursor.execute(statement, parameters).fetchall()

    def passes(self, since: datetime, *, with_values: bool) -> list[tuple[Any, ...]]:
        """What policy passed, one more than the cap."""
        values = "e.data -> 'values'" if with_values else "NULL::json"
        statement = (
            f"SELECT e.run_id, r.version, e.at, {values} FROM events e JOIN runs r ON r.id = e.run_id"  # noqa: S608  # ours
            " WHERE e.type = 'gate.passed' AND e.at >= %s AND e.at < %s AND e.data ->> 'gate' = %s AND r.workflow = %s"
            " ORDER BY e.at DESC, e.run_id LIMIT %s"
        )
        parameters = (since, self.until, self.gate, self.workflow, self.bounds.cases + 1)
        return self.cursor.execute(statement, parameters).fetchall()

    def overdue(self, now: datetime) -> int:
        """How many human tasks of the gate are open and past due; no more than the cap are counted."""
        statement = (
            "SELECT count(*) FROM (SELECT 1 FROM human_tasks WHERE state = 'open' AND due_at < %s"
            " AND workflow = %s AND gate = %s LIMIT %s) AS found"
        )
        found: int = _one(self.cursor.execute(statement, (now, self.workflow, self.gate, self.bounds.cases)).fetchone())
        return found


def _newest(cursor: Cursor, versions: VersionCache, workflow: str, gate: str) -> tuple[int, GateNode]:
    version = versions.latest(cursor, workflow)
    node = versions.graph(cursor, workflow, version).nodes.get(gate)
    if not isinstance(node, GateNode):
        raise NotFound(f"the newest version of workflow {workflow!r} has no gate {gate!r}")
    return version, node


def _reviewed(
    cursor: Cursor, rows: Sequence[tuple[Any, ...]], fields: Sequence[str], node: GateNode
) -> tuple[Reviewed, ...]:
    said = _said(cursor, {row[0]: row[3] for row in rows}, node)
    return tuple(
        Reviewed(
            id=row[0],
            run_id=row[1],
            version=row[2],
            revision=row[3],
            outcome=row[4],
            decided_by=row[5],
            since=row[6],
            due_at=row[7],
            completed_at=row[_COMPLETED],
            shown=_shown(fields, row[_COMPLETED + 1 :]),
            said=tuple(said.get(row[0], ())),
        )
        for row in rows
    )


def _shown(fields: Sequence[str], texts: Sequence[str | None]) -> dict[str, Json] | None:
    if any(text is not None and len(text) > MAX_FIELD for text in texts):
        return None
    return {name: orjson.loads(text) for name, text in zip(fields, texts, strict=True) if text is not None}


def _said(cursor: Cursor, revisions: Mapping[UUID, int], node: GateNode) -> dict[UUID, list[Said]]:
    """The decisions that stand, with the fields each really changed: what a patch repeats is no edit."""
    rows = cursor.execute(
        "SELECT d.human_task_id, d.decision, d.revision, d.at, d.reading_ms, d.patch,"
        " CASE WHEN json_typeof(d.patch) = 'object' THEN"
        " (SELECT json_object_agg(name, t.payload -> name) FROM json_object_keys(d.patch) AS name"
        " WHERE t.payload -> name IS NOT NULL) END"
        " FROM decisions d JOIN human_tasks t ON t.id = d.human_task_id"
        " WHERE d.human_task_id = ANY(%s) AND NOT d.withdrawn ORDER BY d.human_task_id, d.seq",
        (list(revisions),),
    ).fetchall()
    form = node.name if node.form is not None else None
    found: dict[UUID, list[Said]] = defaultdict(list)
    for task_id, decision, revision, at, reading_ms, patch, shown in rows:
        # A payload that was shown again may already hold the edit: then there is nothing left to compare it with.
        before = (shown or {}) if revisions[task_id] == 1 else None
        edited = edited_fields(patch, before, form)
        found[task_id].append(Said(decision=decision, revision=revision, at=at, reading_ms=reading_ms, edited=edited))
    return found


def _one(row: tuple[Any, ...] | None) -> Any:
    return None if row is None else row[0]
