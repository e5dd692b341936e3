"""The one statement that records what batches of events made of runs: heads, log, human tasks, decisions, what is told.

Each run stands or falls by itself: a row is written only where it still is as it was read. What goes in is JSON texts,
one of each kind, because a client takes ten times as long over dozens of parameters; and the statement has only the
parts that a batch needs.

JSON within such a text is a text itself: taken apart by PostgreSQL, it could hold no NUL, and a null would be SQL's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from psycopg import RawCursor

from signoff.identity import Principal
from signoff.model import GENESIS_HASH, Event, HumanTask, RunState, RunStatus, event_hash
from signoff.notifications.catalogue import NOTIFIED_NAMES
from signoff.store.callers import AS_IT_STOOD, as_it_stood
from signoff.store.database import Cursor
from signoff.store.rows import RunRow, decision_row, dump, dump_or_null, human_task_row
from signoff.webhooks.catalogue import TOLD_NAMES

TOLD_OR_NOTIFIED = TOLD_NAMES | NOTIFIED_NAMES
_PARAMETER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What the row knows beside the log when it is saved: who has the run, until when, and where it queues."""

    status: RunStatus
    epoch: int
    queue: str | None
    due_at: datetime | None
    worker: str | None = None
    resends: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Events and what they made of a run. `before` is its row as it was read; None for a run that is new."""

    before: RunRow | None
    state: RunState
    events: Sequence[Event]
    lease: Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Provided:
    """What has to hold as well, for a batch that is written without a lock and made of what was read before.

    `caller` was let in by a key that lets them do what it did then, and lets them until the batch is written; None for
    who was let in otherwise. `newest` is a workflow and the number of its newest version. `at` is the moment that the
    events bear, and is to be no longer ago than `FRESH_SECONDS`: nobody's lock tells of them before they are there.
    """

    caller: Principal | None = None
    newest: tuple[str, int] | None = None
    at: datetime | None = None

    def asks(self) -> dict[str, Any]:
        """The parameters of what is asked for."""
        asked = {} if self.caller is None else as_it_stood(self.caller) or {}
        if self.newest is not None:
            asked |= {"workflow": self.newest[0], "number": self.newest[1]}
        if self.at is not None:
            asked["at"] = self.at
        return asked


_NOTHING_ELSE = Provided()

FRESH_SECONDS = 60
"""An anchor expects late events for ten minutes: see `signoff.engine.anchoring.MIN_SLACK_SECONDS`."""

_FRESH = f"SELECT 1 WHERE %(at)s::timestamptz > clock_timestamp() - interval '{FRESH_SECONDS} seconds'"
_NEWEST = "SELECT 1 WHERE (SELECT max(number) FROM workflow_versions WHERE workflow = %(workflow)s) = %(number)s"

_AS_READ = "runs.epoch = r.held_epoch AND runs.seq = r.held_seq AND runs.status = r.held_status"

# Before the caller is: who takes a right away must not wait for somebody who waits for a run.
# Of one run alone: joined to `r`, a plan that was made when the table was small reads all of it.
_HELD = """
SELECT FROM runs WHERE id = (SELECT r.id FROM r) AND epoch = (SELECT r.held_epoch FROM r)
    AND seq = (SELECT r.held_seq FROM r) AND status = (SELECT r.held_status FROM r)
FOR NO KEY UPDATE
"""

_MOVED = """
SELECT * FROM json_to_recordset(%(runs)s::json) AS r (id uuid, held_epoch int, held_seq int, held_status text,
    status text, node text, queue text, epoch int, attempt int2, lost int2, resends int2, value_changed bool,
    value text, outputs text, feedback text, outcome text, error text, has_human_tasks bool, seq int, hash text,
    worker text, due_at timestamptz, updated_at timestamptz, finished_at timestamptz)
"""

_CREATED = """
SELECT * FROM json_to_recordset(%(runs)s::json) AS r (id uuid, workflow text, version int, status text, node text,
    queue text, epoch int, attempt int2, lost int2, resends int2, value text, outputs text, feedback text,
    outcome text, error text, labels text, requester text, requester_id text, has_human_tasks bool, seq int,
    hash text, worker text, due_at timestamptz, created_at timestamptz, updated_at timestamptz,
    finished_at timestamptz)
"""

_EVENTS = """
SELECT * FROM json_to_recordset(%(events)s::json) AS e (run_id uuid, seq int, type text, at timestamptz, actor text,
    data text, prev_hash text, hash text)
"""

# The ids once more by themselves, as one or as an array: the estimate of one row, or of a few, keeps the plan on the
# primary key. Of a few it does not where the table is small yet, and plans are kept: see `create_engine`.
_ONE, _SEVERAL = "= (SELECT r.id FROM r)", "= ANY (ARRAY(SELECT r.id FROM r))"
_MOVE = f"""
UPDATE runs SET status = r.status, node = r.node, queue = r.queue, epoch = r.epoch, attempt = r.attempt,
    lost = r.lost, resends = r.resends, value = CASE WHEN r.value_changed THEN r.value::json ELSE runs.value END,
    outputs = r.outputs::json, feedback = r.feedback::json, outcome = r.outcome, error = r.error::json,
    has_human_tasks = r.has_human_tasks, seq = r.seq, hash = decode(r.hash, 'hex'), worker = r.worker,
    due_at = r.due_at, updated_at = r.updated_at, finished_at = r.finished_at
FROM r
WHERE runs.id {{named}} AND runs.id = r.id AND {_AS_READ}{{provided}}
RETURNING runs.id
"""  # noqa: S608

_CREATE = """
INSERT INTO runs (id, workflow, version, status, node, queue, epoch, attempt, lost, resends, value, outputs, feedback,
    outcome, error, labels, requester, requester_id, has_human_tasks, seq, hash, worker, due_at, created_at, updated_at,
    finished_at)
SELECT id, workflow, version, status, node, queue, epoch, attempt, lost, resends, value::json, outputs::json,
    feedback::json, outcome, error::json, labels::jsonb, requester::json, requester_id, has_human_tasks, seq,
    decode(hash, 'hex'), worker, due_at, created_at, updated_at, finished_at FROM r
WHERE true{provided}
RETURNING id
"""

_LOG = """
INSERT INTO events (run_id, seq, type, at, actor, data, prev_hash, hash)
SELECT e.run_id, e.seq, e.type, e.at, e.actor::json, e.data::json, decode(e.prev_hash, 'hex'), decode(e.hash, 'hex')
FROM e JOIN head ON head.id = e.run_id
"""

# Only where a batch has an event that somebody may ask for. Without endpoints and channels they are scans of empty
# tables; and what is told commits with what it tells of, or not at all.
_TOLD = """
INSERT INTO webhook_deliveries (id, endpoint_id, run_id, seq, type, state, attempts, created_at, since, due_at)
SELECT gen_random_uuid(), w.id, e.run_id, e.seq, e.type, 'pending', 0, e.at, e.at, e.at
FROM webhook_endpoints w JOIN e ON e.type = ANY (w.events) JOIN head ON head.id = e.run_id
WHERE w.disabled_at IS NULL
"""

_NOTIFIED = """
INSERT INTO notification_events (run_id, seq, type, due_at)
SELECT e.run_id, e.seq, e.type, e.at FROM e JOIN head ON head.id = e.run_id
WHERE EXISTS (SELECT 1 FROM notification_channels c WHERE c.disabled_at IS NULL AND e.type = ANY (c.events))
"""

_OPENED_COLUMNS = (
    "id, run_id, workflow, version, gate, mode, state, revision, payload_sha256, title, why, candidate_users,"
    " candidate_groups, assignee, priority, requester_id, rung, pending, outcome, decided_by, created_at, revised_at,"
    " due_at, not_before, wake_at, release_at, completed_at, ladder_ms, changed_at"
)
_OPENED = f"""
INSERT INTO human_tasks ({_OPENED_COLUMNS}, payload) SELECT {_OPENED_COLUMNS}, payload::json
FROM json_to_recordset(%(opened)s::json) AS t (id uuid, run_id uuid, workflow text, version int, gate text, mode text,
    state text, revision int, payload text, payload_sha256 text, title text, why text, candidate_users text[],
    candidate_groups text[], assignee text, priority int2, requester_id text, rung int2, pending text, outcome text,
    decided_by text, created_at timestamptz, revised_at timestamptz, due_at timestamptz, not_before timestamptz,
    wake_at timestamptz, release_at timestamptz, completed_at timestamptz, ladder_ms bigint[], changed_at timestamptz)
WHERE run_id IN (SELECT id FROM head)
"""  # noqa: S608

_CHANGED = """
UPDATE human_tasks h SET state = t.state, revision = t.revision, payload = t.payload::json,
    payload_sha256 = t.payload_sha256, title = t.title, why = t.why, candidate_users = t.candidate_users,
    candidate_groups = t.candidate_groups, assignee = t.assignee, rung = t.rung, pending = t.pending,
    outcome = t.outcome, decided_by = t.decided_by, revised_at = t.revised_at, due_at = t.due_at,
    wake_at = t.wake_at, release_at = t.release_at, completed_at = t.completed_at, ladder_ms = t.ladder_ms,
    changed_at = t.changed_at,
    claim_expires_at = CASE WHEN h.assignee = t.assignee AND (t.state = 'open' OR t.outcome = 'changes_requested')
        THEN claim_expires_at END
FROM json_to_recordset(%(changed)s::json) AS t (id uuid, state text, revision int, payload text, payload_sha256 text,
    title text, why text, candidate_users text[], candidate_groups text[], assignee text, rung int2, pending text,
    outcome text, decided_by text, revised_at timestamptz, due_at timestamptz, wake_at timestamptz,
    release_at timestamptz, completed_at timestamptz, ladder_ms bigint[], changed_at timestamptz), head
WHERE h.id = ANY (%(changed_ids)s) AND h.id = t.id AND h.run_id = head.id
"""

_SAID_COLUMNS = (
    "id, human_task_id, run_id, seq, revision, decision, principal_id, note, reason, payload_sha256, on_behalf_of,"
    " bulk_id, surface, reading_ms, withdrawn, delegation_id, acts_for, at"
)
_SAID = f"""
INSERT INTO decisions ({_SAID_COLUMNS}, actor, patch, authenticated)
SELECT {_SAID_COLUMNS}, actor::json, patch::json, authenticated::json
FROM json_to_recordset(%(said)s::json) AS d (id uuid, human_task_id uuid, run_id uuid, seq int, revision int,
    decision text, actor text, principal_id text, note text, reason text, patch text, payload_sha256 text,
    on_behalf_of text, bulk_id uuid, surface text, reading_ms int, authenticated text, withdrawn bool,
    delegation_id uuid, acts_for text, at timestamptz)
WHERE run_id IN (SELECT id FROM head)
ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, withdrawn = excluded.withdrawn
"""  # noqa: S608


@cache
def _statement(
    *,
    new: bool,
    several: bool,
    tells: bool,
    opened: bool,
    changed: bool,
    said: bool,
    caller: bool,
    newest: bool,
    fresh: bool,
) -> tuple[str, tuple[str, ...]]:
    """The statement with the parts that are asked for, and the names of its parameters in order."""
    provided = {"caller": caller, "newest": newest, "fresh": fresh}
    once = "".join(f" AND EXISTS (SELECT FROM {name})" for name, asked in provided.items() if asked)
    waits = caller and not new
    parts = {
        "r": _CREATED if new else _MOVED,
        "held": _HELD if waits else None,
        "caller": AS_IT_STOOD.format(also=" AND EXISTS (SELECT FROM held)" if waits else "") if caller else None,
        "newest": _NEWEST if newest else None,
        "fresh": _FRESH if fresh else None,
        "e": _EVENTS,
        "head": (_CREATE if new else _MOVE).format(provided=once, named=_SEVERAL if several else _ONE),
        "log": _LOG,
        "told": _TOLD if tells else None,
        "notified": _NOTIFIED if tells else None,
        "opened": _OPENED if opened else None,
        "changed": _CHANGED if changed else None,
        "said": _SAID if said else None,
    }
    written = ", ".join(f"{name} AS ({part})" for name, part in parts.items() if part is not None)
    names = tuple(dict.fromkeys(_PARAMETER.findall(written)))
    numbered = _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", written)
    return f"WITH {numbered} SELECT id, clock_timestamp() FROM head", names  # noqa: S608


def record(
    cursor: Cursor, batches: Sequence[Batch], *, provided: Provided = _NOTHING_ELSE
) -> dict[UUID, tuple[datetime, bytes]]:
    """Write what the batches made of their runs, which are all new or all there, in the caller's transaction.

    Answers the database's clock and the hash of the last event for each run that was written: those whose row has the
    status, the epoch and the length of log with which it was read. Of the others nothing is, and of none where what is
    `provided` does not hold.
    """
    if not batches:
        return {}
    runs: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    opened: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    hashes: dict[UUID, bytes] = {}
    for batch in batches:
        last = _add_events(events, batch)
        hashes[batch.state.run_id] = bytes.fromhex(last)
        runs.append(_moved(batch, batch.before, last) if batch.before is not None else _created(batch, last))
        known = batch.before.state.human_tasks if batch.before is not None else {}
        for task in batch.state.human_tasks.values():
            before = known.get(task.id)
            if before is task:
                continue
            row = human_task_row(task, batch.state)
            (opened if before is None else changed).append(row)
            said += _new_decisions(before, task, batch.state)
    asked = provided.asks()
    statement, names = _statement(
        new=batches[0].before is None,
        several=len(batches) > 1,
        tells=any(event["type"] in TOLD_OR_NOTIFIED for event in events),
        opened=bool(opened),
        changed=bool(changed),
        said=bool(said),
        caller="standing" in asked,
        newest="number" in asked,
        fresh="at" in asked,
    )
    texts = {"runs": runs, "events": events, "opened": opened, "changed": changed, "said": said}
    given: dict[str, Any] = {name: orjson.dumps(rows).decode() for name, rows in texts.items()}
    given["changed_ids"] = [row["id"] for row in changed]
    given |= asked
    # As it stands: the other cursor would look for placeholders in all of so long a statement each time.
    with RawCursor(cursor.connection) as raw:
        raw.execute(statement, [given[name] for name in names])
        return {row[0]: (row[1], hashes[row[0]]) for row in raw.fetchall()}


def _new_decisions(before: HumanTask | None, task: HumanTask, state: RunState) -> Iterable[dict[str, Any]]:
    """The rows of the decisions that are new or have changed since `before`."""
    known = before.decisions if before is not None else ()
    for decision in task.decisions:
        if not any(decision is earlier for earlier in known):
            yield decision_row(decision, task, state)


def _add_events(rows: list[dict[str, Any]], batch: Batch) -> str:
    """The rows of the log, chained; answers the last hash."""
    run_id = batch.state.run_id
    previous = batch.before.hash.hex() if batch.before is not None else GENESIS_HASH
    for event in batch.events:
        hashed = event_hash(run_id, event, previous)
        rows.append(
            {
                "run_id": run_id,
                "seq": event.seq,
                "type": event.type,
                "at": event.at,
                "actor": dump(event.actor.to_json()),
                # Hashed in canonical form, stored as it is: canonical JSON writes 1e17 without its exponent, and read
                # back as an integer it would have no canonical form any more.
                "data": dump(event.data),
                "prev_hash": previous,
                "hash": hashed,
            }
        )
        previous = hashed
    return previous


def _moved(batch: Batch, before: RunRow, last_hash: str) -> dict[str, Any]:
    state = batch.state
    changed = before.state.value is not state.value
    return _row(batch, last_hash) | {
        "held_epoch": before.epoch,
        "held_seq": before.state.seq,
        "held_status": before.row_status,
        "value_changed": changed,
        "value": dump(state.value) if changed else None,
        # Those that were over when a worker claimed the run are not in its state.
        "has_human_tasks": before.has_human_tasks or bool(state.human_tasks),
    }


def _created(batch: Batch, last_hash: str) -> dict[str, Any]:
    state = batch.state
    return _row(batch, last_hash) | {
        "workflow": state.workflow,
        "version": state.version,
        "labels": dump(state.labels),
        "requester": dump(state.requester.to_json()),
        "requester_id": state.requester.id,
        "created_at": state.created_at,
        "value": dump(state.value),
        "has_human_tasks": bool(state.human_tasks),
    }


def _row(batch: Batch, last_hash: str) -> dict[str, Any]:
    state, lease = batch.state, batch.lease
    return {
        "id": state.run_id,
        "status": lease.status,
        "node": state.node,
        "queue": lease.queue,
        "epoch": lease.epoch,
        "attempt": state.attempt,
        "lost": state.lost,
        "resends": lease.resends,
        "outputs": dump(state.outputs),
        "feedback": dump_or_null(state.feedback),
        "outcome": state.outcome,
        "error": None if state.error is None else dump(state.error.to_json()),
        "seq": state.seq,
        "hash": last_hash,
        "worker": lease.worker,
        "due_at": lease.due_at,
        "updated_at": state.updated_at,
        "finished_at": state.finished_at,
    }
