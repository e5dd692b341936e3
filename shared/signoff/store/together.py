"""Several runs in one statement: claiming those that queue, and recording a step of each of those a worker holds.

Each row stands or falls by itself, on the same conditions as alone. What goes in is one JSON text: for a dozen rows
that costs the client a tenth of what a dozen arrays do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from signoff.model import Event, RunState, event_hash
from signoff.store.database import Cursor
from signoff.store.human_task_writes import HUMAN_TASK_TARGET
from signoff.store.leases import LAZY
from signoff.store.rows import RUN_COLUMNS, RunRow, dump, human_task_parameters, run_from_row
from signoff.store.runs import IS_ASKED_FOR, TOLD_OR_NOTIFIED, Lease

# Rows that others have locked are passed over, so that two workers who take at once take different runs and nobody
# waits while holding several. What a worker would not begin it leaves; and whoever lost a worker is taken alone, so
# that a step which kills its process is not held against those that were taken with it. By an array of ids the plan
# stays on the primary key, whatever the statistics say of a table that was empty when they were made.
_CLAIM = f"""
WITH waiting AS MATERIALIZED (
    SELECT id, lost = 0 AND workflow || '/' || version || '/' || node = ANY (%(steps)s) AS fits
    FROM runs WHERE status = 'queued' AND queue = %(queue)s
    ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE runs SET status = 'running', epoch = epoch + 1, worker = %(worker)s, resends = 0,
    due_at = clock_timestamp() + %(lease)s * interval '1 second'
FROM {LAZY}
WHERE id = ANY (ARRAY(SELECT id FROM waiting WHERE fits))
RETURNING {RUN_COLUMNS}, clock_timestamp()
"""  # noqa: S608


def step_key(workflow: str, version: int, step: str) -> str:
    """How a step of a version is named to `claim_waiting`."""
    return f"{workflow}/{version}/{step}"


def claim_waiting(
    cursor: Cursor, queue: str, *, steps: Sequence[str], limit: int, worker: str, lease_seconds: float
) -> list[tuple[RunRow, datetime]]:
    """Take runs of this queue, oldest first, as `claim` takes one; only those that stand at one of `steps`.

    It looks at `limit` of them and takes what fits, which may be none. With each comes the database's clock.
    """
    cursor.execute(
        _CLAIM,
        {"queue": queue, "steps": list(steps), "limit": limit, "worker": worker, "lease": lease_seconds},
    )
    return sorted(
        ((run_from_row(row[:-1], {}), row[-1]) for row in cursor.fetchall()), key=lambda found: found[0].state.run_id
    )


_GIVE_BACK = """
UPDATE runs SET status = 'queued', worker = NULL, resends = 0, due_at = clock_timestamp()
WHERE id = ANY (ARRAY(
    SELECT runs.id FROM runs JOIN unnest(%(ids)s::uuid[], %(epochs)s::int[]) AS held (id, epoch)
        ON runs.id = held.id AND runs.epoch = held.epoch
    WHERE runs.id = ANY (%(ids)s) AND runs.status = 'running'
    FOR NO KEY UPDATE OF runs SKIP LOCKED
))
RETURNING id
"""


def give_back_all(cursor: Cursor, held: Sequence[tuple[UUID, int]]) -> set[UUID]:
    """Hand back claimed runs whose steps have not begun; those that come back were still ours.

    One that somebody has locked at this moment is left to its lease.
    """
    cursor.execute(_GIVE_BACK, {"ids": [run_id for run_id, _ in held], "epochs": [epoch for _, epoch in held]})
    return {row[0] for row in cursor.fetchall()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A run that a worker holds, and what the batch of events that ends its step makes of it."""

    before: RunRow
    state: RunState
    events: Sequence[Event]
    lease: Lease


_RECORDS = """
SELECT * FROM json_to_recordset(%(runs)s::json) AS r (id uuid, held_epoch int, held_seq int, status text, node text,
    queue text, epoch int, attempt int2, lost int2, resends int2, value_changed bool, value text, outputs json,
    feedback json, outcome text, error json, has_human_tasks bool, seq int, hash text, worker text,
    due_at timestamptz, updated_at timestamptz, finished_at timestamptz)
"""

_EVENTS = """
SELECT * FROM json_to_recordset(%(events)s::json) AS e (run_id uuid, seq int, type text, at timestamptz, actor json,
    data json, prev_hash text, hash text)
"""

# The ids once more by themselves, as an array: its estimate of a few rows keeps the plan on the primary key.
_SAVE = f"""
WITH r AS MATERIALIZED ({_RECORDS}), e AS MATERIALIZED ({_EVENTS}),
head AS (
    UPDATE runs SET status = r.status, node = r.node, queue = r.queue, epoch = r.epoch, attempt = r.attempt,
        lost = r.lost, resends = r.resends, value = CASE WHEN r.value_changed THEN r.value::json ELSE runs.value END,
        outputs = r.outputs, feedback = r.feedback, outcome = r.outcome, error = r.error,
        has_human_tasks = r.has_human_tasks, seq = r.seq, hash = decode(r.hash, 'hex'), worker = r.worker,
        due_at = r.due_at, updated_at = r.updated_at, finished_at = r.finished_at
    FROM r
    WHERE runs.id = ANY (ARRAY(SELECT r.id FROM r)) AND runs.id = r.id AND runs.epoch = r.held_epoch
        AND runs.seq = r.held_seq AND runs.status = 'running'
    RETURNING runs.id
),
log AS (
    INSERT INTO events (run_id, seq, type, at, actor, data, prev_hash, hash)
    SELECT e.run_id, e.seq, e.type, e.at, e.actor, e.data, decode(e.prev_hash, 'hex'), decode(e.hash, 'hex')
    FROM e JOIN head ON head.id = e.run_id
)
SELECT id, clock_timestamp() FROM head
"""  # noqa: S608

_TOLD = f""", told AS (
    INSERT INTO webhook_deliveries (id, endpoint_id, run_id, seq, type, state, attempts, created_at, since, due_at)
    SELECT gen_random_uuid(), w.id, e.run_id, e.seq, e.type, 'pending', 0, e.at, e.at, e.at
    FROM webhook_endpoints w JOIN e ON e.type = ANY (w.events) JOIN head ON head.id = e.run_id
    WHERE w.disabled_at IS NULL
),
notified AS (
    INSERT INTO notification_events (run_id, seq, type, due_at)
    SELECT e.run_id, e.seq, e.type, e.at FROM e JOIN head ON head.id = e.run_id
    WHERE {IS_ASKED_FOR}
)
SELECT id, clock_timestamp()"""  # noqa: S608

_OPENED = f""", opened AS (
    {HUMAN_TASK_TARGET} SELECT {{columns}}
    FROM json_populate_recordset(NULL::human_tasks, %(tasks)s::json) AS t JOIN head ON head.id = t.run_id
)
SELECT id, clock_timestamp()"""  # noqa: S608

_columns = HUMAN_TASK_TARGET.partition("(")[2].strip().removesuffix(")").split(",")
_END = "\nSELECT id, clock_timestamp()"
_SAVE_AND_TELL = _SAVE.replace(_END, _TOLD)
_SAVE_OPEN_AND_TELL = _SAVE_AND_TELL.replace(
    _END, _OPENED.format(columns=", ".join(f"t.{name.strip()}" for name in _columns))
)


def save_held(
    cursor: Cursor, before: RunRow, state: RunState, events: Sequence[Event], lease: Lease
) -> tuple[datetime, bytes] | None:
    """Write what a worker made of a run that it holds and that nobody has touched since it was read.

    Answers the database's clock and the hash of the last event; None, with nothing written, when the run is no longer
    running under `before.epoch` with its log as long as it was. For a run whose human tasks were all over before: those
    in its state are new, and there is one at most.
    """
    return save_together(cursor, [Held(before=before, state=state, events=events, lease=lease)]).get(state.run_id)


def save_together(cursor: Cursor, held: Sequence[Held]) -> dict[UUID, tuple[datetime, bytes]]:
    """`save_held` of several runs, in one transaction: those that nobody has touched.

    Answers the database's clock and the hash of the last event for each that was written.
    """
    runs, events, tasks = [], [], []
    hashes: dict[UUID, str] = {}
    tells = False
    for one in held:
        run_id = one.state.run_id
        previous = one.before.hash.hex()
        for event in one.events:
            hashed = event_hash(run_id, event, previous)
            events.append(_event(run_id, event, previous, hashed))
            tells = tells or event.type in TOLD_OR_NOTIFIED
            previous = hashed
        hashes[run_id] = previous
        runs.append(_run(one, previous))
        tasks += [
            human_task_parameters(task, one.state) | {"payload": orjson.Fragment(dump(task.payload))}
            for task in one.state.human_tasks.values()
        ]
    parameters = {"runs": _text(runs), "events": _text(events), "tasks": _text(tasks)}
    cursor.execute(_SAVE_OPEN_AND_TELL if tasks else _SAVE_AND_TELL if tells else _SAVE, parameters)
    return {row[0]: (row[1], bytes.fromhex(hashes[row[0]])) for row in cursor.fetchall()}


def _run(one: Held, last_hash: str) -> dict[str, Any]:
    state, lease = one.state, one.lease
    changed = one.before.state.value is not state.value
    return {
        "id": state.run_id,
        "held_epoch": one.before.epoch,
        "held_seq": one.before.state.seq,
        "status": lease.status,
        "node": state.node,
        "queue": lease.queue,
        "epoch": lease.epoch,
        "attempt": state.attempt,
        "lost": state.lost,
        "resends": lease.resends,
        "value_changed": changed,
        # As a text in the text: a bare null would become SQL's.
        "value": dump(state.value) if changed else None,
        "outputs": state.outputs,
        "feedback": state.feedback,
        "outcome": state.outcome,
        "error": None if state.error is None else state.error.to_json(),
        # Those that were over when the run was claimed are not in its state.
        "has_human_tasks": one.before.has_human_tasks or bool(state.human_tasks),
        "seq": state.seq,
        "hash": last_hash,
        "worker": lease.worker,
        "due_at": lease.due_at,
        "updated_at": state.updated_at,
        "finished_at": state.finished_at,
    }


def _event(run_id: UUID, event: Event, previous: str, hashed: str) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "seq": event.seq,
        "type": event.type,
        "at": event.at,
        "actor": event.actor.to_json(),
        "data": event.data,
        "prev_hash": previous,
        "hash": hashed,
    }


def _text(rows: list[dict[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
