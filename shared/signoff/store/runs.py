"""The statements that move runs: load under lock, save with the log, claim, renew.

Lock order is run, then human task: every writer locks the run's row first, so two of them never wait for each other
in a circle. One statement writes the run's row and its events together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from signoff.canonical import Json
from signoff.model import GENESIS_HASH, Decision, Event, HumanTask, RunState, RunStatus, event_hash
from signoff.notifications.catalogue import NOTIFIED_NAMES
from signoff.store.database import Cursor
from signoff.store.human_task_writes import (
    INSERT_DECISION,
    INSERT_HUMAN_TASK,
    UPDATE_HUMAN_TASK,
    WITH_DECISION,
    decided_once,
    new_decisions,
    renamed,
    save_human_task,
)
from signoff.store.rows import (
    DECISION_COLUMNS,
    EVENT_COLUMNS,
    HUMAN_TASK_COLUMNS,
    RUN_COLUMNS,
    RunRow,
    StoredEvent,
    decision_from_row,
    decision_parameters,
    dump,
    dump_or_null,
    event_from_row,
    human_task_from_row,
    human_task_parameters,
    run_from_row,
)
from signoff.webhooks.catalogue import TOLD_NAMES

TOLD_OR_NOTIFIED = TOLD_NAMES | NOTIFIED_NAMES
_RUN_COUNT = len(RUN_COLUMNS.split(","))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What the row knows beside the log when it is saved: who has the run, until when, and where it queues."""

    status: RunStatus
    epoch: int
    queue: str | None
    due_at: datetime | None
    worker: str | None = None
    resends: int = 0


def lock_run(cursor: Cursor, run_id: UUID, *, skip_locked: bool = False) -> tuple[RunRow, datetime] | None:
    """The run's row, locked until the transaction ends, and the database's clock. None when there is none."""
    skip = " SKIP LOCKED" if skip_locked else ""
    cursor.execute(
        f"SELECT {RUN_COLUMNS}, clock_timestamp() FROM runs WHERE id = %s FOR NO KEY UPDATE{skip}",  # noqa: S608
        (run_id,),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    human_tasks = load_human_tasks(cursor, run_id) if row[16] else {}
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
        f"SELECT {HUMAN_TASK_COLUMNS}, run_id,"  # noqa: S608
        " EXISTS (SELECT 1 FROM decisions d WHERE d.human_task_id = human_tasks.id)"
        " FROM human_tasks WHERE run_id = ANY(%s) ORDER BY created_at, id",
        (list(run_ids),),
    )
    rows = cursor.fetchall()
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


def run_of_human_task(cursor: Cursor, human_task_id: UUID) -> UUID | None:
    """The run that a human task belongs to; it never changes, so it may be asked before the lock."""
    cursor.execute("SELECT run_id FROM human_tasks WHERE id = %s", (human_task_id,))
    row = cursor.fetchone()
    return None if row is None else row[0]


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


_INSERT_EVENTS = """
INSERT INTO events (run_id, seq, type, at, actor, data, prev_hash, hash)
SELECT %(id)s, e.seq, e.type, %(now)s, e.actor::json, e.data::json, e.prev_hash, e.hash
FROM unnest(%(seqs)s::int[], %(types)s::text[], %(actors)s::text[], %(data)s::text[],
            %(prev_hashes)s::bytea[], %(hashes)s::bytea[]) AS e (seq, type, actor, data, prev_hash, hash)
"""

_SET_HEAD = """
    UPDATE runs SET status = %(status)s, node = %(node)s, queue = %(queue)s, epoch = %(epoch)s,
        attempt = %(attempt)s, lost = %(lost)s, resends = %(resends)s,
        value = CASE WHEN %(value_changed)s THEN %(value)s::json ELSE value END,
        outputs = %(outputs)s::json, feedback = %(feedback)s::json, outcome = %(outcome)s,
        error = %(error)s::json, has_human_tasks = %(has_human_tasks)s, seq = %(seq)s, hash = %(hash)s,
        worker = %(worker)s, due_at = %(due_at)s, updated_at = %(now)s, finished_at = %(finished_at)s
    WHERE id = %(id)s
"""

# More parts of the same statement, only where the batch has an event that somebody may ask for. Without endpoints and
# channels they are scans of empty tables; and what is told commits with what it tells of, or not at all.
_NOTIFY = """
INSERT INTO notification_events (run_id, seq, type, due_at)
SELECT %(id)s, e.seq, e.type, %(now)s FROM unnest(%(seqs)s::int[], %(types)s::text[]) AS e (seq, type)
"""
IS_ASKED_FOR = """
EXISTS (SELECT 1 FROM notification_channels c WHERE c.disabled_at IS NULL AND e.type = ANY (c.events))
"""

_TELL = """
INSERT INTO webhook_deliveries (id, endpoint_id, run_id, seq, type, state, attempts, created_at, since, due_at)
SELECT gen_random_uuid(), w.id, %(id)s, e.seq, e.type, 'pending', 0, %(now)s, %(now)s, %(now)s
FROM webhook_endpoints w
    JOIN unnest(%(seqs)s::int[], %(types)s::text[]) AS e (seq, type) ON e.type = ANY (w.events)
"""

_TOLD = f"told AS ({_TELL} WHERE w.disabled_at IS NULL), notified AS ({_NOTIFY} WHERE {IS_ASKED_FOR})"
_UPDATE = f"WITH head AS ({_SET_HEAD}) {_INSERT_EVENTS}"

_UPDATE_AND_TELL = f"WITH head AS ({_SET_HEAD}), {_TOLD} {_INSERT_EVENTS}"

_DECIDE = f"WITH head AS ({_SET_HEAD}), {WITH_DECISION} {_INSERT_EVENTS}"
_DECIDE_AND_TELL = f"WITH head AS ({_SET_HEAD}), {_TOLD}, {WITH_DECISION} {_INSERT_EVENTS}"

_INSERT = f"""
WITH head AS (
    INSERT INTO runs (id, workflow, version, status, node, queue, epoch, attempt, lost, resends, value, outputs,
        feedback, outcome, error, labels, requester, requester_id, has_human_tasks, seq, hash, worker, due_at,
        created_at, updated_at, finished_at)
    VALUES (%(id)s, %(workflow)s, %(version)s, %(status)s, %(node)s, %(queue)s, %(epoch)s, %(attempt)s, %(lost)s,
        %(resends)s, %(value)s::json, %(outputs)s::json, %(feedback)s::json, %(outcome)s, %(error)s::json,
        %(labels)s::jsonb, %(requester)s::json, %(requester_id)s, %(has_human_tasks)s, %(seq)s, %(hash)s,
        %(worker)s, %(due_at)s, %(now)s, %(now)s, %(finished_at)s)
)
{_INSERT_EVENTS}
"""  # noqa: S608

_INSERT_AND_TELL = _INSERT.replace(f"\n{_INSERT_EVENTS}", f", {_TOLD}\n{_INSERT_EVENTS}")


def save(cursor: Cursor, before: RunRow | None, state: RunState, events: Sequence[Event], lease: Lease) -> None:
    """Write what a batch of events made of a run: the log, the head, and every human task that changed.

    `before` is the row as it was locked, None for a new run.
    """
    parameters = _parameters(before, state, events, lease)
    tells = not TOLD_OR_NOTIFIED.isdisjoint(parameters["types"])
    known = before.state.human_tasks if before is not None else {}
    changed = [task for task in state.human_tasks.values() if known.get(task.id) is not task]
    if before is None:
        cursor.execute(_INSERT_AND_TELL if tells else _INSERT, parameters)
    elif len(changed) == 1 and (said := decided_once(known.get(changed[0].id), changed[0])) is not None:
        # A decision as it mostly is: everything in one statement.
        parameters |= renamed("task", human_task_parameters(changed[0], state))
        parameters |= renamed("said", decision_parameters(said, changed[0], state))
        cursor.execute(_DECIDE_AND_TELL if tells else _DECIDE, parameters)
        return
    else:
        cursor.execute(_UPDATE_AND_TELL if tells else _UPDATE, parameters)
    for task in changed:
        save_human_task(cursor, known.get(task.id), task, state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What `save` takes of a run that is there and locked."""

    before: RunRow
    state: RunState
    events: Sequence[Event]
    lease: Lease


def save_several(cursor: Cursor, batches: Sequence[Batch]) -> None:
    """`save` of several runs: the same statements, sent one after the other without a wait for each answer."""
    heads = [_parameters(each.before, each.state, each.events, each.lease) for each in batches]
    tells = any(not TOLD_OR_NOTIFIED.isdisjoint(head["types"]) for head in heads)
    inserts: list[dict[str, Any]] = []
    updates: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    for each in batches:
        known = each.before.state.human_tasks
        for task in each.state.human_tasks.values():
            before = known.get(task.id)
            if before is not task:
                (inserts if before is None else updates).append(human_task_parameters(task, each.state))
                said += new_decisions(before, task, each.state)
    for statement, rows in (
        (_UPDATE_AND_TELL if tells else _UPDATE, heads),
        (INSERT_HUMAN_TASK, inserts),
        (UPDATE_HUMAN_TASK, updates),
        (INSERT_DECISION, said),
    ):
        if rows:
            cursor.executemany(statement, rows)


def _parameters(before: RunRow | None, state: RunState, events: Sequence[Event], lease: Lease) -> dict[str, Any]:
    previous = before.hash if before is not None else bytes.fromhex(GENESIS_HASH)
    parameters = _run_parameters(before, state, lease) | _event_parameters(state.run_id, events, previous)
    if parameters["hashes"]:
        parameters["hash"] = parameters["hashes"][-1]
    return parameters


def _run_parameters(before: RunRow | None, state: RunState, lease: Lease) -> dict[str, Any]:
    changed = before is None or before.state.value is not state.value
    return {
        "id": state.run_id,
        "workflow": state.workflow,
        "version": state.version,
        "status": str(lease.status),
        "node": state.node,
        "queue": lease.queue,
        "epoch": lease.epoch,
        "attempt": state.attempt,
        "lost": state.lost,
        "resends": lease.resends,
        "value_changed": changed,
        "value": dump(state.value) if changed else None,
        "outputs": dump(state.outputs),
        "feedback": dump_or_null(state.feedback),
        "outcome": state.outcome,
        "error": None if state.error is None else dump(state.error.to_json()),
        "labels": dump(state.labels),
        "requester": dump(state.requester.to_json()),
        "requester_id": state.requester.id,
        "has_human_tasks": bool(state.human_tasks),
        "seq": state.seq,
        "hash": before.hash if before is not None else b"",
        "worker": lease.worker,
        "due_at": lease.due_at,
        "now": state.updated_at,
        "finished_at": state.finished_at,
    }


def _event_parameters(run_id: UUID, events: Sequence[Event], previous: bytes) -> dict[str, Any]:
    chain = [previous]
    for event in events:
        chain.append(bytes.fromhex(event_hash(run_id, event, chain[-1].hex())))
    return {
        "seqs": [event.seq for event in events],
        "types": [str(event.type) for event in events],
        "actors": [dump(event.actor.to_json()) for event in events],
        # Hashed in canonical form, stored as it is: canonical JSON writes 1e17 without its exponent, and read back
        # as an integer it would have no canonical form any more.
        "data": [dump(dict(event.data)) for event in events],
        "prev_hashes": chain[:-1],
        "hashes": chain[1:],
    }
