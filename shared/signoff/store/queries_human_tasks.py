"""Looking up human tasks: the inbox, and one with everything a reviewer needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, TypeAlias
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from signoff.errors import FieldError, InvalidInput, NotFound
from signoff.identity import Principal
from signoff.model import TaskState
from signoff.store.database import Cursor, Database
from signoff.store.identity import find_principal
from signoff.store.mandates import mandates_of
from signoff.store.queries import (
    Page,
    Prepared,
    Slice,
    SortKey,
    behind,
    check_limit,
    cut,
    decode_cursor,
    encode_cursor,
    read_int,
    read_time,
    read_uuid,
)
from signoff.store.queries_human_task_views import (
    CommentView,
    ContextView,
    DecisionView,
    HumanTaskRow,
    HumanTaskView,
)
from signoff.store.queries_visibility import is_asked, is_candidate, visible_human_tasks
from signoff.store.schema import decisions, events, human_tasks
from signoff.store.snoozes import is_snoozed
from signoff.store.versions import VersionCache

Sort: TypeAlias = Literal["due_at", "-due_at", "created_at", "priority", "-completed_at"]
SORTS: tuple[Sort, ...] = ("due_at", "-due_at", "created_at", "priority")

ANY_STATE = "all"
"""The `state` that shows human tasks in every state."""

FINISHED = "finished"
"""The `state` that shows those that are over, however they ended."""

SEARCH_SECONDS = 2.0
"""How long a text may be looked for. No index serves it: a hundred thousand human tasks take about 50 ms."""

_ID = SortKey(column=human_tasks.c.id, read=read_uuid)
_ORDERS: Mapping[Sort, tuple[SortKey, ...]] = MappingProxyType(
    {
        "due_at": (SortKey(column=human_tasks.c.due_at, read=read_time, nullable=True), _ID),
        "-due_at": (
            SortKey(column=human_tasks.c.due_at, read=read_time, nullable=True, descending=True),
            _ID,
        ),
        # Ids are made in the order of time, and have an index together with the state.
        "created_at": (_ID,),
        # What matters most comes first.
        "priority": (SortKey(column=human_tasks.c.priority, read=read_int, descending=True), _ID),
        "-completed_at": (SortKey(column=human_tasks.c.completed_at, read=read_time, descending=True), _ID),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanTaskFilter:
    """Which human tasks a list shows; None is no condition.

    `assignee` is a name, or "" for those that nobody holds. `candidate` is a person or a group. `mine` is a person who
    holds it or is asked by name. `q` is looked for in titles and run ids. `snoozed` are those the viewer has put off.
    """

    state: str = TaskState.OPEN
    workflow: str | None = None
    gate: str | None = None
    run: UUID | None = None
    assignee: str | None = None
    candidate: str | None = None
    mine: str | None = None
    due_before: datetime | None = None
    q: str | None = None
    snoozed: Literal["hide", "only", "show"] = "show"
    sort: Sort = "due_at"

    def described(self) -> dict[str, Any]:
        return {"list": "human_tasks"} | {name: getattr(self, name) for name in self.__dataclass_fields__}


_IN_AN_ID = re.compile(r"[0-9a-f-]{1,36}")
_NAMES = tuple(HumanTaskRow.__dataclass_fields__)
_COLUMNS: tuple[sa.ColumnElement[Any], ...] = tuple(human_tasks.c[name] for name in _NAMES)
_DECISION_COLUMNS = (
    decisions.c.id,
    decisions.c.human_task_id,
    decisions.c.decision,
    decisions.c.note,
    decisions.c.reason,
    decisions.c.patch,
    decisions.c.actor,
    decisions.c.revision,
    decisions.c.payload_sha256,
    decisions.c.bulk_id,
    decisions.c.on_behalf_of,
    decisions.c.delegation_id,
    decisions.c.withdrawn,
    decisions.c.at,
)
_DECISION_FIELDS = tuple(DecisionView.__dataclass_fields__)

_of_run = sa.bindparam("run_id", type_=sa.Uuid())
_GET = Prepared(sa.select(*_COLUMNS).where(human_tasks.c.id == sa.bindparam("id", type_=sa.Uuid())))
_OF_RUN = Prepared(sa.select(*_COLUMNS).where(human_tasks.c.run_id == _of_run).order_by(human_tasks.c.id))
_DECISIONS = Prepared(
    sa.select(*_DECISION_COLUMNS)
    .where(decisions.c.human_task_id == sa.func.any(sa.bindparam("ids", type_=pg.ARRAY(sa.Uuid))))
    .order_by(decisions.c.human_task_id, decisions.c.seq)
)
_COMMENTS = Prepared(
    sa.select(events.c.seq, events.c.data["text"].as_string(), events.c.actor, events.c.at)
    .where(
        events.c.run_id == _of_run,
        events.c.type == "human_task.commented",
        events.c.data["human_task_id"].as_string() == sa.bindparam("id", type_=sa.Text()),
    )
    .order_by(events.c.seq)
)
# The latest output of each step up to the moment at which this payload was shown.
_latest = (
    sa.select(sa.func.max(events.c.seq))
    .where(
        events.c.run_id == _of_run,
        events.c.type == "step.completed",
        events.c.at <= sa.bindparam("shown_at", type_=sa.TIMESTAMP(timezone=True)),
    )
    .group_by(events.c.data["step"].as_string())
)
_CONTEXT = Prepared(
    sa.select(events.c.data)
    .where(events.c.run_id == _of_run, sa.or_(events.c.seq == 1, events.c.seq.in_(_latest)))
    .order_by(events.c.seq)
)


def get_human_task(
    cursor: Cursor, versions: VersionCache, human_task_id: UUID, *, detail: bool = True
) -> HumanTaskView:
    """A human task; with `detail` its context and comments too. Raises NotFound."""
    rows = _GET.run(cursor, id=human_task_id)
    if not rows:
        raise NotFound("there is no such human task, or none that you may see")
    (view,) = _views(cursor, versions, rows)
    if not detail:
        return view
    row = view.row
    return replace(view, context=_context(cursor, row.run_id, row.revised_at), comments=_comments(cursor, row))


def human_tasks_of_run(cursor: Cursor, versions: VersionCache, run_id: UUID) -> tuple[HumanTaskView, ...]:
    """All human tasks of a run, oldest first."""
    return _views(cursor, versions, _OF_RUN.run(cursor, run_id=run_id))


def get_decisions(cursor: Cursor, human_task_ids: Iterable[UUID]) -> dict[UUID, tuple[DecisionView, ...]]:
    """What was said of these human tasks, each oldest first."""
    found: dict[UUID, tuple[DecisionView, ...]] = {}
    for row in _DECISIONS.run(cursor, ids=list(human_task_ids)):
        said = DecisionView(**dict(zip(_DECISION_FIELDS, row, strict=True)))
        found[said.human_task_id] = (*found.get(said.human_task_id, ()), said)
    return found


def list_human_tasks(
    database: Database,
    versions: VersionCache,
    viewer: Principal,
    chosen: HumanTaskFilter,
    *,
    limit: int,
    cursor: str | None = None,
) -> Page[HumanTaskView]:
    """The human tasks the viewer may see. Raises InvalidInput for a bad limit or cursor, and for too long a search."""
    order = _ORDERS[chosen.sort]
    where = _conditions(database, chosen) + visible_human_tasks(viewer) + _snoozed(chosen, viewer)
    if cursor is not None:
        where.append(behind(order, decode_cursor(cursor, chosen.described(), order)))
    size = sa.func.coalesce(sa.func.octet_length(sa.cast(human_tasks.c.payload, sa.Text)), 0)
    page = Slice(table=human_tasks, order=order, where=where, limit=check_limit(limit), size=size)
    with _reading(database, chosen) as connection:
        rows = connection.execute(page.statement(_COLUMNS, human_tasks)).all()
    shown, key = cut(rows, limit, len(order))
    with database.autocommit() as reading:
        views = _views(reading, versions, shown)
    return Page(
        items=tuple(view.for_viewer(viewer) for view in views),
        next_cursor=encode_cursor(chosen.described(), key),
    )


def list_human_task_ids(
    database: Database, viewer: Principal, chosen: HumanTaskFilter, *, limit: int
) -> tuple[UUID, ...]:
    """The ids of the first human tasks of the same list: what comes before and after one of them."""
    where = _conditions(database, chosen) + visible_human_tasks(viewer) + _snoozed(chosen, viewer)
    order = [key.order() for key in _ORDERS[chosen.sort]]
    with _reading(database, chosen) as connection:
        found = connection.execute(sa.select(human_tasks.c.id).where(*where).order_by(*order).limit(limit))
        return tuple(row.id for row in found)


def count_human_tasks(database: Database, viewer: Principal, chosen: HumanTaskFilter, *, limit: int) -> int:
    """How many human tasks the same list has, counted up to `limit`."""
    where = _conditions(database, chosen) + visible_human_tasks(viewer) + _snoozed(chosen, viewer)
    some = sa.select(sa.literal(1)).select_from(human_tasks).where(*where).limit(limit).subquery()
    with _reading(database, chosen) as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()


@contextmanager
def _reading(database: Database, chosen: HumanTaskFilter) -> Iterator[sa.Connection]:
    """A connection to look up this list. Raises InvalidInput for a text that takes too long to find."""
    with database.query() as connection:
        if chosen.q is None:
            yield connection
            return
        connection.execute(sa.text(f"SET LOCAL statement_timeout = {round(SEARCH_SECONDS * 1000)}"))
        try:
            yield connection
        except sa.exc.OperationalError as error:
            if not isinstance(error.orig, psycopg.errors.QueryCanceled):
                raise
            narrower = "narrow the list by a workflow, a gate or a state"
            too_long = f"it was not found within {SEARCH_SECONDS:g} seconds"
            raise InvalidInput(errors=[FieldError(path="?q", message=too_long, fix=narrower)]) from error


def _views(cursor: Cursor, versions: VersionCache, rows: Sequence[Sequence[Any]]) -> tuple[HumanTaskView, ...]:
    found = [HumanTaskRow(**dict(zip(_NAMES, row, strict=True))) for row in rows]
    said = get_decisions(cursor, [row.id for row in found]) if found else {}
    return tuple(
        HumanTaskView(
            row=row,
            graph=versions.graph(cursor, row.workflow, row.version),
            decisions=said.get(row.id, ()),
        )
        for row in found
    )


def _context(cursor: Cursor, run_id: UUID, shown_at: datetime) -> ContextView:
    (created,), *steps = _CONTEXT.run(cursor, run_id=run_id, shown_at=shown_at)
    outputs = dict(created.get("carried") or {})
    outputs.update({data["step"]: data["output"] for (data,) in steps})
    return ContextView(input=created["input"], outputs=outputs)


def _comments(cursor: Cursor, row: HumanTaskRow) -> tuple[CommentView, ...]:
    found = _COMMENTS.run(cursor, run_id=row.run_id, id=str(row.id))
    return tuple(CommentView(id=f"{row.run_id}:{seq}", text=text, by=by, at=at) for seq, text, by, at in found)


def _conditions(database: Database, chosen: HumanTaskFilter) -> list[sa.ColumnElement[bool]]:
    table = human_tasks.c
    where: list[sa.ColumnElement[bool]] = []
    if chosen.state == FINISHED:
        where.append(table.completed_at.is_not(None))
    elif chosen.state != ANY_STATE:
        # Written out, not as a parameter: the indexes of open human tasks are used only for what is surely
        # open.
        where.append(table.state == sa.literal_column(f"'{TaskState(chosen.state)}'"))
    for column, value in ((table.workflow, chosen.workflow), (table.gate, chosen.gate), (table.run_id, chosen.run)):
        if value is not None:
            where.append(column == value)
    if chosen.assignee is not None:
        where.append(table.assignee == chosen.assignee if chosen.assignee else table.assignee.is_(None))
    if chosen.due_before is not None:
        where.append(table.due_at < chosen.due_before)
    if chosen.mine is not None:
        where.append(sa.or_(table.assignee == chosen.mine, is_candidate(chosen.mine, frozenset())))
    if chosen.candidate is not None:
        where.append(_asks(database, chosen.candidate))
    if chosen.q is not None:
        where.append(_says(chosen.q))
    return where


def _says(text: str) -> sa.ColumnElement[bool]:
    """The human tasks with this in their title or in their run's id.

    No index serves it, so each row that is left by the other conditions is looked at; most texts are in no id.
    """
    found = human_tasks.c.title.icontains(text, autoescape=True)
    if not _IN_AN_ID.fullmatch(text.lower()):
        return found
    return sa.or_(found, sa.cast(human_tasks.c.run_id, sa.Text).contains(text.lower(), autoescape=True))


def _asks(database: Database, candidate: str) -> sa.ColumnElement[bool]:
    """The human tasks that ask this group, or this person by name or by a group they are in."""
    with database.autocommit() as cursor:
        person = find_principal(cursor, candidate)
        mandates = mandates_of(cursor, candidate) if person is not None else ()
    if person is None or person.kind != "user":
        return is_candidate(candidate, frozenset({candidate}))
    # For whom they may decide they are asked as well.
    return is_asked(replace(person, groups=person.groups | {candidate}, mandates=mandates))


def _snoozed(chosen: HumanTaskFilter, viewer: Principal) -> list[sa.ColumnElement[bool]]:
    match chosen.snoozed:
        case "show":
            return []
        case "only":
            return [is_snoozed(viewer.id)]
        case "hide":
            return [sa.not_(is_snoozed(viewer.id))]
