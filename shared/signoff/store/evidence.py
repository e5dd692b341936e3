"""What verification reads: many runs at once, whole, in one snapshot, and nothing is locked.

Nothing that is read here is believed. Rows are found by the keys that others follow (a decision by its human task), not
by a flag or a copy that may have been changed; what a row says twice has to agree; and JSON that the model reads in
part must have no other part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

import psycopg

from signoff.model import Decision
from signoff.store.database import Cursor, Row
from signoff.store.rows import (
    DECISION_COLUMNS,
    EVENT_COLUMNS,
    HUMAN_TASK_COLUMNS,
    RUN_COLUMNS,
    RunRow,
    StoredEvent,
    decision_from_row,
    event_from_row,
    human_task_from_row,
    run_from_row,
)

UNREADABLE = (KeyError, IndexError, ValueError, TypeError, AttributeError, RecursionError, psycopg.DataError)
"""What reading raises when somebody has changed what was written."""

_EVENTS_AT_ONCE = 500
"""Rows of the log that are fetched at a time: values are large, and only one run is held whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """All that is stored of a run. `decision_seqs` is what each decision's row says of where the log stood."""

    row: RunRow
    events: list[StoredEvent]
    decision_seqs: dict[str, int]


class Disagreement(ValueError):
    """Two places that say the same thing do not."""


def in_one_snapshot(cursor: Cursor) -> None:
    """Let all that this transaction reads be of one moment, and let it write nothing."""
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def run_ids(cursor: Cursor, *, after: UUID | None, limit: int) -> list[UUID]:
    """The next runs in the order of their ids."""
    cursor.execute(
        "SELECT id FROM runs WHERE %(after)s::uuid IS NULL OR id > %(after)s ORDER BY id LIMIT %(limit)s",
        {"after": after, "limit": limit},
    )
    return [row[0] for row in cursor.fetchall()]


def stored_runs(cursor: Cursor, ids: Sequence[UUID]) -> Iterator[StoredRun]:
    """These runs with their logs, in the order of their ids. Raises one of UNREADABLE for what can't be read."""
    heads = _heads(cursor, ids)
    # By a cursor of the server's: logs are read as they are needed, not all before the first.
    with cursor.connection.cursor("log") as log:
        log.itersize = _EVENTS_AT_ONCE
        log.execute(
            f"SELECT run_id, {EVENT_COLUMNS} FROM events WHERE run_id = ANY(%s) ORDER BY run_id, seq",  # noqa: S608
            (list(ids),),
        )
        logs = groupby(log, key=itemgetter(0))
        following = next(logs, None)
        for row, decision_seqs in heads:
            events: list[StoredEvent] = []
            if following is not None and following[0] == row.state.run_id:
                events = [_event(stored[1:]) for stored in following[1]]
                following = next(logs, None)
            yield StoredRun(row=row, events=events, decision_seqs=decision_seqs)


def _heads(cursor: Cursor, ids: Sequence[UUID]) -> list[tuple[RunRow, dict[str, int]]]:
    cursor.execute(
        f"SELECT requester_id, {RUN_COLUMNS} FROM runs WHERE id = ANY(%s) ORDER BY id",  # noqa: S608
        (list(ids),),
    )
    runs = cursor.fetchall()
    cursor.execute(
        f"SELECT run_id, workflow, version, requester_id, {HUMAN_TASK_COLUMNS}"  # noqa: S608
        " FROM human_tasks WHERE run_id = ANY(%s) ORDER BY created_at, id",
        (list(ids),),
    )
    tasks = _by_key(cursor.fetchall())
    columns = ", ".join(f"d.{name.strip()}" for name in DECISION_COLUMNS.split(","))
    cursor.execute(
        f"SELECT t.run_id, d.run_id, d.principal_id, d.seq, {columns}"  # noqa: S608
        " FROM decisions d JOIN human_tasks t ON t.id = d.human_task_id WHERE t.run_id = ANY(%s) ORDER BY d.seq, d.id",
        (list(ids),),
    )
    decisions = _by_key(cursor.fetchall())
    return [_head(row, tasks.get(row[1], ()), decisions.get(row[1], ())) for row in runs]


def _by_key(rows: Sequence[Row]) -> dict[UUID, list[Row]]:
    found: dict[UUID, list[Row]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    return found


def _head(stored: Row, tasks: Sequence[Row], decisions: Sequence[Row]) -> tuple[RunRow, dict[str, int]]:
    said: dict[UUID, list[Decision]] = {}
    seqs: dict[str, int] = {}
    for task_run, run_id, principal_id, seq, *columns in decisions:
        human_task_id, decision = decision_from_row(columns)
        _agree("a decision's run_id", run_id, task_run)
        _agree("a decision's actor", columns[4], decision.actor.to_json())
        _agree("a decision's principal_id", principal_id, decision.actor.id)
        said.setdefault(human_task_id, []).append(decision)
        seqs[decision.id] = seq
    human_tasks = {row[4]: human_task_from_row(row[4:], said.get(row[4], ())) for row in tasks}
    row = run_from_row(stored[1:], human_tasks)
    state = row.state
    _agree("the form of the head's outputs and labels", (type(state.outputs), type(state.labels)), (dict, dict))
    _agree("the head's requester", stored[16], state.requester.to_json())
    _agree("the head's requester_id", stored[0], state.requester.id)
    _agree("the head's error", stored[14], None if state.error is None else state.error.to_json())
    _agree("the head's has_human_tasks", row.has_human_tasks, bool(human_tasks))
    for task in tasks:
        _agree("a human task's workflow and version", task[1:3], (state.workflow, state.version))
        _agree("a human task's requester_id", task[3], state.requester.id)
    return row, seqs


def _event(row: Row) -> StoredEvent:
    stored = event_from_row(row)
    _agree("the event's actor", row[3], stored.event.actor.to_json())
    return stored


def _agree(what: str, one: Any, other: Any) -> None:
    if one != other:
        raise Disagreement(f"{what} is not what is said of it elsewhere")
