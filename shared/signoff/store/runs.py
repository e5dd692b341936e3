"""The statements that read runs: under lock, with their human tasks and decisions, and their logs.

Lock order is run, then human task: every writer locks the run's row first, so two of them never wait for each other
in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from signoff.canonical import Json
from signoff.model import Decision, HumanTask
from signoff.store.database import Cursor
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

_RUN_COUNT = len(RUN_COLUMNS.split(","))

_WITH_HUMAN_TASKS = ", ".join(
    [
        *(f"t.{name}" for name in HUMAN_TASK_COLUMNS.split(", ")),
        "t.run_id",
        # Counted, because for EXISTS all decisions may be read into a hash, if the table was small once.
        "(SELECT count(*) FROM decisions d WHERE d.human_task_id = t.id) > 0",
    ]
)
"""Of a human task `t`: its columns, its run, and whether anything has been said of it."""

# One run: joined to a row of `human_tasks`, a plan that was made when the table was small reads all of it.
_READ_RUN_OF_HUMAN_TASK = f"""
SELECT {", ".join(f"r.{name}" for name in RUN_COLUMNS.split(", "))}, clock_timestamp(),
    (SELECT e.data -> 'input' FROM events e WHERE e.run_id = r.id AND e.seq = 1), {_WITH_HUMAN_TASKS}
FROM runs r JOIN human_tasks t ON t.run_id = r.id
WHERE r.id = (SELECT run_id FROM human_tasks WHERE id = %s) ORDER BY t.created_at, t.id
"""  # noqa: S608


def lock_run(cursor: Cursor, run_id: UUID, *, skip_locked: bool = False) -> tuple[RunRow, datetime] | None:
    """The run's row, locked until the transaction ends, and the database's clock. None when there is none."""
    skip = " SKIP LOCKED" if skip_locked else ""
    cursor.execute(
        f"SELECT {RUN_COLUMNS}, clock_timestamp() FROM runs WHERE id = %s FOR NO KEY UPDATE{skip}",  # noqa: S608
        (run_id,),
    )
    return _locked(cursor, cursor.fetchone())


def lock_run_of_human_task(cursor: Cursor, human_task_id: UUID) -> tuple[RunRow, datetime, Json] | None:
    """The same by one of its human tasks, whose run never changes; and what the run was started with."""
    cursor.execute(
        f"SELECT {RUN_COLUMNS}, clock_timestamp(),"  # noqa: S608
        " (SELECT data -> 'input' FROM events WHERE run_id = runs.id AND seq = 1)"
        " FROM runs WHERE id = (SELECT run_id FROM human_tasks WHERE id = %s) FOR NO KEY UPDATE",
        (human_task_id,),
    )
    row = cursor.fetchone()
    found = _locked(cursor, row)
    return None if row is None or found is None else (*found, row[-1])


def read_run_of_human_task(cursor: Cursor, human_task_id: UUID) -> tuple[RunRow, datetime, Json] | None:
    """The same by one statement and without a lock: it holds as long as the run's log is as long as it was."""
    cursor.execute(_READ_RUN_OF_HUMAN_TASK, (human_task_id,))
    rows = cursor.fetchall()
    if not rows:
        return None
    now, run_input = rows[0][_RUN_COUNT : _RUN_COUNT + 2]
    human_tasks = _human_tasks_of(cursor, [row[_RUN_COUNT + 2 :] for row in rows])
    return run_from_row(rows[0][:_RUN_COUNT], human_tasks[rows[0][0]]), now, run_input


def _locked(cursor: Cursor, row: Sequence[Any] | None) -> tuple[RunRow, datetime] | None:
    if row is None:
        return None
    human_tasks = load_human_tasks(cursor, row[0]) if row[16] else {}
    return run_from_row(row[:_RUN_COUNT], human_tasks), row[_RUN_COUNT]


def lock_runs(cursor: Cursor, run_ids: Sequence[UUID]) -> list[tuple[RunRow, datetime]]:
    """The same of several, without those that are not there or that somebody else has locked.

    Nobody is waited for, so whoever holds some of them can't be part of a circle.
    """
    cursor.execute(
        f"SELECT {RUN_COLUMNS}, clock_timestamp() FROM runs"  # noqa: S608
        " WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
        (list(run_ids),),
    )
    rows = cursor.fetchall()
    human_tasks = _load_human_tasks_of(cursor, [row[0] for row in rows if row[16]])
    return [(run_from_row(row[:_RUN_COUNT], human_tasks.get(row[0], {})), row[_RUN_COUNT]) for row in rows]


def load_human_tasks(cursor: Cursor, run_id: UUID) -> dict[UUID, HumanTask]:
    """All human tasks of a run with their decisions, oldest first."""
    return _load_human_tasks_of(cursor, [run_id]).get(run_id, {})


def _load_human_tasks_of(cursor: Cursor, run_ids: Sequence[UUID]) -> dict[UUID, dict[UUID, HumanTask]]:
    if not run_ids:
        return {}
    cursor.execute(
        f"SELECT {_WITH_HUMAN_TASKS} FROM human_tasks t WHERE run_id = ANY(%s) ORDER BY created_at, id",  # noqa: S608
        (list(run_ids),),
    )
    return _human_tasks_of(cursor, cursor.fetchall())


def _human_tasks_of(cursor: Cursor, rows: Sequence[Sequence[Any]]) -> dict[UUID, dict[UUID, HumanTask]]:
    """The human tasks of rows of `_WITH_HUMAN_TASKS` with their decisions, by run."""
    decisions = _load_decisions_of(cursor, [row[0] for row in rows if row[-1]])
    found: dict[UUID, dict[UUID, HumanTask]] = {}
    for row in rows:
        found.setdefault(row[-2], {})[row[0]] = human_task_from_row(row[:-2], decisions.get(row[0], ()))
    return found


def _load_decisions_of(cursor: Cursor, human_task_ids: Sequence[UUID]) -> dict[UUID, list[Decision]]:
    """By the human tasks, as they are indexed. Most are read to be decided for the first time, and have none yet."""
    decisions: dict[UUID, list[Decision]] = {}
    if not human_task_ids:
        return decisions
    cursor.execute(
        f"SELECT {DECISION_COLUMNS} FROM decisions WHERE human_task_id = ANY(%s) ORDER BY seq, id",  # noqa: S608
        (human_task_ids,),
    )
    for row in cursor.fetchall():
        human_task_id, decision = decision_from_row(row)
        decisions.setdefault(human_task_id, []).append(decision)
    return decisions


def load_events(cursor: Cursor, run_id: UUID, *, after: int = 0, limit: int | None = None) -> list[StoredEvent]:
    """A run's log from `after` on, oldest first."""
    cursor.execute(
        f"SELECT {EVENT_COLUMNS} FROM events WHERE run_id = %s AND seq > %s ORDER BY seq LIMIT %s",  # noqa: S608
        (run_id, after, limit),
    )
    return [event_from_row(row) for row in cursor.fetchall()]


_ORIGIN = f"""
SELECT {EVENT_COLUMNS}, NOT EXISTS (
    SELECT 1 FROM human_tasks t
    WHERE t.run_id = events.run_id AND (t.state = 'open' OR t.outcome = 'changes_requested')
)
FROM events WHERE run_id = %s AND (
    type IN ('run.created', 'step.completed')
    OR type IN ('gate.passed', 'gate.decided') AND data ->> 'gate' = ANY (%s)
    OR type = 'run.retried' AND data -> 'value' IS NOT NULL
)
ORDER BY seq DESC LIMIT 1
"""  # noqa: S608


def load_origin(cursor: Cursor, run_id: UUID, *, gates: Sequence[str]) -> tuple[StoredEvent, bool] | None:
    """The event that a run, as it goes on to a step, has its value from. `gates` are those that it stops at.

    With it, whether all of its human tasks are over: none is open, and none waits for the draft that was asked for.
    """
    row = cursor.execute(_ORIGIN, (run_id, list(gates))).fetchone()
    return None if row is None else (event_from_row(row), row[-1])


def load_values(cursor: Cursor, run_id: UUID, seqs: Sequence[int]) -> dict[int, dict[str, Json]]:
    """The data of some events of a run by their numbers: how earlier outputs are read back."""
    cursor.execute("SELECT seq, data FROM events WHERE run_id = %s AND seq = ANY(%s)", (run_id, list(seqs)))
    return dict(cursor.fetchall())
