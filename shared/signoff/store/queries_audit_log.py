"""What an auditor looks through: who decided what, and which runs to verify next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from signoff.authorization import Reach
from signoff.canonical import Json
from signoff.store.database import Cursor, Database
from signoff.store.queries import (
    Page,
    Slice,
    SortKey,
    behind,
    check_limit,
    cut,
    decode_cursor,
    encode_cursor,
    read_uuid,
)
from signoff.store.queries_visibility import within
from signoff.store.schema import decisions, human_tasks

_SKEW = timedelta(days=1)
"""How far the clock that made an id may be from the database's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFilter:
    """Which decisions a list shows; None is no condition. `since` is included, `until` is not."""

    person: str | None = None
    workflow: str | None = None
    decision: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def described(self) -> dict[str, Any]:
        return {"list": "decisions"} | {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionEntry:
    """One decision with the gate it was about, as the audit log lists it."""

    id: UUID
    human_task_id: UUID
    run_id: UUID
    decision: str
    by: dict[str, str]
    at: datetime
    note: str | None
    reason: str | None
    patch: Json
    revision: int
    surface: str | None
    bulk_id: UUID | None
    on_behalf_of: str | None
    withdrawn: bool
    workflow: str
    version: int
    gate: str
    title: str
    state: str

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkable:
    """A run that can be verified: `events` is how long its log is."""

    id: UUID
    created_at: datetime
    events: int


_COLUMNS: tuple[sa.ColumnElement[Any], ...] = (
    decisions.c.id,
    decisions.c.human_task_id,
    decisions.c.run_id,
    decisions.c.decision,
    decisions.c.actor,
    decisions.c.at,
    decisions.c.note,
    decisions.c.reason,
    decisions.c.patch,
    decisions.c.revision,
    decisions.c.surface,
    decisions.c.bulk_id,
    decisions.c.on_behalf_of,
    decisions.c.withdrawn,
    human_tasks.c.workflow,
    human_tasks.c.version,
    human_tasks.c.gate,
    human_tasks.c.title,
    human_tasks.c.state,
)
_FIELDS = tuple(DecisionEntry.__dataclass_fields__)
_SOURCE = decisions.join(human_tasks, human_tasks.c.id == decisions.c.human_task_id)


def list_decisions(
    database: Database, shown: Reach, chosen: DecisionFilter, *, limit: int, cursor: str | None = None
) -> Page[DecisionEntry]:
    """Decisions in the workflows that are to be shown, newest first. Raises InvalidInput for a bad limit or cursor."""
    # Ids are made in the order of time, so the primary key is the index by age.
    order = [SortKey(column=decisions.c.id, read=read_uuid, descending=True)]
    where = [*_conditions(chosen), *_within(shown)]
    if cursor is not None:
        where.append(behind(order, decode_cursor(cursor, chosen.described(), order)))
    size = sa.func.coalesce(sa.func.octet_length(sa.cast(decisions.c.patch, sa.Text)), 0)
    page = Slice(table=decisions, order=order, where=where, limit=check_limit(limit), size=size)
    with database.query() as connection:
        rows = connection.execute(page.statement(_COLUMNS, _SOURCE)).all()
    first, key = cut(rows, limit, len(order))
    items = tuple(DecisionEntry(**dict(zip(_FIELDS, row, strict=True))) for row in first)
    return Page(items=items, next_cursor=encode_cursor(chosen.described(), key))


def newest_runs(
    cursor: Cursor,
    shown: Reach,
    *,
    since: datetime | None,
    until: datetime | None,
    before: UUID | None,
    limit: int,
) -> list[Checkable]:
    """Runs started in a period (`since` included, `until` not), newest first, behind the run `before`."""
    cursor.execute(
        "SELECT id, created_at, seq FROM runs WHERE (%(shown)s::text[] IS NULL OR workflow = ANY(%(shown)s))"
        " AND (%(before)s::uuid IS NULL OR id < %(before)s)"
        " AND (%(since)s::timestamptz IS NULL OR (created_at >= %(since)s AND id >= %(oldest)s))"
        " AND (%(until)s::timestamptz IS NULL OR (created_at < %(until)s AND id < %(newest)s))"
        " ORDER BY id DESC LIMIT %(limit)s",
        {
            "shown": None if shown is None else sorted(shown),
            "before": before,
            "since": since,
            "oldest": None if since is None else _id_at(since - _SKEW),
            "until": until,
            "newest": None if until is None else _id_at(until + _SKEW),
            "limit": limit,
        },
    )
    return [Checkable(id=row[0], created_at=row[1], events=row[2]) for row in cursor.fetchall()]


def log_length(cursor: Cursor, run_id: UUID) -> int:
    """How many events there are of a run."""
    cursor.execute("SELECT count(*) FROM events WHERE run_id = %s", (run_id,))
    row = cursor.fetchone()
    assert row is not None
    count: int = row[0]
    return count


def _within(shown: Reach) -> list[sa.ColumnElement[bool]]:
    found = within(shown, human_tasks.c.workflow)
    return [sa.exists().where(human_tasks.c.id == decisions.c.human_task_id, *found)] if found else []


def _conditions(chosen: DecisionFilter) -> list[sa.ColumnElement[bool]]:
    where: list[sa.ColumnElement[bool]] = []
    if chosen.person is not None:
        where.append(decisions.c.actor["name"].as_string() == chosen.person)
    if chosen.workflow is not None:
        of = human_tasks.c.workflow == chosen.workflow
        where.append(sa.exists().where(human_tasks.c.id == decisions.c.human_task_id, of))
    if chosen.decision is not None:
        where.append(decisions.c.decision == chosen.decision)
    if chosen.since is not None:
        where += [decisions.c.at >= chosen.since, decisions.c.id >= _id_at(chosen.since - _SKEW)]
    if chosen.until is not None:
        where += [decisions.c.at < chosen.until, decisions.c.id < _id_at(chosen.until + _SKEW)]
    return where


def _id_at(moment: datetime) -> UUID:
    """The smallest identifier (UUID version 7) that could have been made at this moment."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)
