"""Looking up runs and their logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from signoff.authorization import Action, RunFacts, reach
from signoff.canonical import Json
from signoff.errors import NotFound
from signoff.identity import Principal
from signoff.model import Candidates, RunStatus, format_time
from signoff.store.database import Cursor, Database
from signoff.store.queries import (
    MAX_LIMIT,
    MAX_PAGE_BYTES,
    Page,
    Prepared,
    Slice,
    SortKey,
    behind,
    check_limit,
    cut,
    decode_cursor,
    encode_cursor,
    read_uuid,
)
from signoff.store.queries_visibility import seen_by, takes_part
from signoff.store.schema import events, human_tasks, runs

_SKEW = timedelta(days=1)
"""How far the clock that made a run's id may be from the database's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as it is shown. `output` is what it came to, None unless it has completed."""

    id: UUID
    workflow: str
    version: int
    status: str
    node: str | None
    input: Json
    output: Json
    outcome: str | None
    error: dict[str, Any] | None
    labels: dict[str, str]
    requester: dict[str, str]
    human_tasks: tuple[UUID, ...]
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "workflow": self.workflow,
            "version": self.version,
            "status": self.status,
            # Where a completed run once stood says nothing; where a failed one did is where a retry goes on.
            "current_node": None if self.status == RunStatus.COMPLETED else self.node,
            "input": self.input,
            "output": self.output,
            "outcome": self.outcome,
            "error": self.error,
            "labels": self.labels,
            "requester": self.requester,
            "human_tasks": [str(found) for found in self.human_tasks],
            "created_at": format_time(self.created_at),
            "updated_at": format_time(self.updated_at),
            "finished_at": None if self.finished_at is None else format_time(self.finished_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """One entry of a run's log with the hashes that chain it, in hexadecimal."""

    seq: int
    type: str
    at: datetime
    actor: dict[str, str]
    data: dict[str, Json]
    prev_hash: str
    hash: str

    def to_json(self) -> dict[str, Any]:
        return {
            "seq": self.seq,
            "type": self.type,
            "at": format_time(self.at),
            "actor": self.actor,
            "data": self.data,
            "prev_hash": self.prev_hash,
            "hash": self.hash,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs a list shows; None is no condition. A run has all of `labels`."""

    workflow: str | None = None
    status: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    created_after: datetime | None = None

    def described(self) -> dict[str, Any]:
        return {
            "list": "runs",
            "workflow": self.workflow,
            "status": self.status,
            "labels": sorted(self.labels.items()),
            "created_after": self.created_after,
        }


_first = events.alias("first")
_OUTPUT = sa.case((runs.c.status == RunStatus.COMPLETED, runs.c.value))
_COLUMNS: tuple[sa.ColumnElement[Any], ...] = (
    runs.c.id,
    runs.c.workflow,
    runs.c.version,
    runs.c.status,
    runs.c.node,
    _first.c.data["input"],
    _OUTPUT,
    runs.c.outcome,
    runs.c.error,
    runs.c.labels,
    runs.c.requester,
    sa.select(sa.func.array_agg(pg.aggregate_order_by(human_tasks.c.id, human_tasks.c.id)))
    .where(human_tasks.c.run_id == runs.c.id)
    .scalar_subquery(),
    runs.c.created_at,
    runs.c.updated_at,
    runs.c.finished_at,
)
_SOURCE = runs.join(_first, sa.and_(_first.c.run_id == runs.c.id, _first.c.seq == 1))


def _asked(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Everybody who was ever asked in the run, by `column` of its human tasks."""
    names = sa.select(sa.func.unnest(column)).where(human_tasks.c.run_id == runs.c.id).distinct()
    return sa.func.array(names.scalar_subquery())


# Somebody a human task was assigned to may see the run, candidate or not.
_USERS = _asked(sa.func.array_append(human_tasks.c.candidate_users, human_tasks.c.assignee))
_GROUPS = _asked(human_tasks.c.candidate_groups)
_GET = Prepared(
    sa.select(*_COLUMNS, _USERS, _GROUPS).select_from(_SOURCE).where(runs.c.id == sa.bindparam("id", type_=sa.Uuid()))
)
_FACTS = Prepared(
    sa.select(runs.c.workflow, runs.c.requester_id, _USERS, _GROUPS).where(
        runs.c.id == sa.bindparam("id", type_=sa.Uuid())
    )
)


MAX_SEQ = 2**31 - 1

_size = sa.func.octet_length(sa.cast(events.c.data, sa.Text))
_EVENTS = Prepared(
    sa.select(
        events.c.seq,
        events.c.type,
        events.c.at,
        events.c.actor,
        events.c.data,
        events.c.prev_hash,
        events.c.hash,
        (sa.func.sum(_size).over(order_by=events.c.seq, rows=(None, 0)) - _size).label("before"),
    )
    .where(
        events.c.run_id == sa.bindparam("id", type_=sa.Uuid()),
        events.c.seq > sa.bindparam("after", type_=sa.Integer()),
        events.c.seq <= sa.bindparam("upto", type_=sa.Integer()),
    )
    .order_by(events.c.seq)
    .limit(sa.bindparam("limit", type_=sa.Integer()))
)


def get_run(cursor: Cursor, run_id: UUID) -> tuple[RunView, RunFacts]:
    """A run, and what authorization has to know of it. Raises NotFound."""
    *columns, users, groups = _only(_GET.run(cursor, id=run_id))
    view = _view(columns)
    return view, _facts(view.workflow, view.requester["id"], users, groups)


def run_facts(cursor: Cursor, run_id: UUID) -> RunFacts:
    """What authorization has to know of a run. Raises NotFound."""
    return _facts(*_only(_FACTS.run(cursor, id=run_id)))


def list_runs(
    database: Database, viewer: Principal, chosen: RunFilter, *, limit: int, cursor: str | None = None
) -> Page[RunView]:
    """The runs the viewer may see, newest first. Raises InvalidInput for a bad limit or cursor."""
    # Ids are made in the order of time, so the primary key is the index by age.
    order = [SortKey(column=runs.c.id, read=read_uuid, descending=True)]
    where = _conditions(chosen)
    where += seen_by(viewer, reach(viewer, Action.READ_RUN), runs.c.workflow, _has_part(viewer))
    if cursor is not None:
        where.append(behind(order, decode_cursor(cursor, chosen.described(), order)))
    size = sa.func.coalesce(sa.func.octet_length(sa.cast(_OUTPUT, sa.Text)), 0) + sa.func.octet_length(
        sa.select(sa.cast(events.c.data, sa.Text))
        .where(events.c.run_id == runs.c.id, events.c.seq == 1)
        .scalar_subquery()
    )
    page = Slice(table=runs, order=order, where=where, limit=check_limit(limit), size=size)
    with database.query() as connection:
        rows = connection.execute(page.statement(_COLUMNS, _SOURCE)).all()
    shown, key = cut(rows, limit, len(order))
    return Page(items=tuple(_view(row) for row in shown), next_cursor=encode_cursor(chosen.described(), key))


def list_events(
    cursor: Cursor, run_id: UUID, *, after: int = 0, upto: int | None = None, limit: int = MAX_LIMIT
) -> Page[EventView]:
    """A run's log behind number `after`, up to `upto`, oldest first; the cursor is the next `after`."""
    rows = _EVENTS.run(cursor, id=run_id, after=after, upto=upto or MAX_SEQ, limit=check_limit(limit) + 1)
    items = tuple(_event(row[:-1]) for row in rows[:limit] if row[-1] < MAX_PAGE_BYTES)
    return Page(items=items, next_cursor=str(items[-1].seq) if len(rows) > len(items) else None)


def _has_part(viewer: Principal) -> sa.ColumnElement[bool]:
    own = runs.c.requester_id == str(viewer.id)
    if viewer.kind != "user":
        return own
    asked = sa.exists().where(human_tasks.c.run_id == runs.c.id, takes_part(viewer))
    return sa.or_(own, sa.and_(runs.c.has_human_tasks, asked))


def _conditions(chosen: RunFilter) -> list[sa.ColumnElement[bool]]:
    where: list[sa.ColumnElement[bool]] = []
    if chosen.workflow is not None:
        where.append(runs.c.workflow == chosen.workflow)
    if chosen.status is not None:
        where.append(runs.c.status == chosen.status)
    if chosen.labels:
        where.append(runs.c.labels.contains(dict(chosen.labels)))
    if chosen.created_after is not None:
        where += [runs.c.created_at > chosen.created_after, runs.c.id >= _id_at(chosen.created_after - _SKEW)]
    return where


def _id_at(moment: datetime) -> UUID:
    """The smallest identifier (UUID version 7) that could have been made at this moment."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def _only(rows: Sequence[Any]) -> Any:
    if not rows:
        raise NotFound("there is no such run, or none that you may see")
    return rows[0]


def _facts(workflow: str, requester_id: str, users: Sequence[str], groups: Sequence[str]) -> RunFacts:
    return RunFacts(
        workflow=workflow,
        requester_id=requester_id,
        candidates=Candidates(users=tuple(user for user in users if user is not None), groups=tuple(groups)),
    )


_FIELDS = tuple(RunView.__dataclass_fields__)


def _view(row: Sequence[Any]) -> RunView:
    values = dict(zip(_FIELDS, row, strict=True))
    return RunView(**(values | {"human_tasks": tuple(values["human_tasks"] or ())}))


def _event(row: Sequence[Any]) -> EventView:
    seq, kind, at, actor, data, prev_hash, own = row
    return EventView(seq=seq, type=kind, at=at, actor=actor, data=data, prev_hash=prev_hash.hex(), hash=own.hex())
