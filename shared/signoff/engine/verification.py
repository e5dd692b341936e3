"""Audit verification: recompute every hash, replay every log, compare with the stored head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from signoff.engine.core import Core
from signoff.errors import NotFound
from signoff.model import GENESIS_HASH, RunState, RunStatus, event_hash
from signoff.store.database import Cursor
from signoff.store.rows import RunRow, StoredEvent
from signoff.store.runs import load_events, lock_run
from signoff.transitions.fold import replay

BATCH = 200
UNREADABLE = (KeyError, ValueError, TypeError, AttributeError)
"""What reading raises when somebody has changed what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The first thing that does not add up in one run."""

    run_id: UUID
    seq: int | None
    problem: str

    def to_json(self) -> dict[str, Any]:
        return {"run": str(self.run_id), "seq": self.seq, "problem": self.problem}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a verification found. `anchored_at` is the last moment up to which an anchor outside vouches for the log."""

    ok: bool
    runs: int
    events: int
    first_bad: Fault | None
    anchored_at: None = None


def verify(core: Core, run_id: UUID | None = None) -> Verification:
    """Verify one run, or all of them in batches, oldest first; stops at the first fault."""
    runs = events = 0
    for batch in _batches(core, run_id):
        for one in batch:
            with core.database.transaction() as cursor:
                count, fault = _verify_run(core, cursor, one)
            runs += 1
            events += count
            if fault is not None:
                return Verification(ok=False, runs=runs, events=events, first_bad=fault)
    return Verification(ok=True, runs=runs, events=events, first_bad=None)


def chain_fault(run_id: UUID, stored: Sequence[StoredEvent]) -> Fault | None:
    """The first event whose number, link or hash is not what the ones before it make it."""
    previous = GENESIS_HASH
    for position, item in enumerate(stored, start=1):
        if item.event.seq != position:
            return Fault(run_id=run_id, seq=position, problem=f"event {position} is missing")
        if item.prev_hash.hex() != previous:
            return Fault(run_id=run_id, seq=position, problem="prev_hash is not the hash of the event before")
        try:
            computed = event_hash(run_id, item.event, previous)
        except (ValueError, TypeError):
            return Fault(run_id=run_id, seq=position, problem="the event has no canonical form")
        if item.hash.hex() != computed:
            return Fault(run_id=run_id, seq=position, problem="hash does not match the event")
        previous = computed
    return None


def head_fault(row: RunRow, replayed: RunState, stored: Sequence[StoredEvent]) -> Fault | None:
    """Where the stored head differs from what the log comes to."""
    if not stored or stored[-1].hash != row.hash or stored[-1].event.seq != row.state.seq:
        return Fault(run_id=row.state.run_id, seq=row.state.seq, problem="the head names another last event")
    head, log = _comparable(row.state), _comparable(replayed)
    if row.row_status in (RunStatus.QUEUED, RunStatus.RUNNING):
        # That a retry has come due, and who works on a run, is known to the row alone.
        log = replace(log, retry_at=None, status=_leased(log.status))
    for name in RunState.__slots__:
        if getattr(head, name) != getattr(log, name):
            return Fault(run_id=row.state.run_id, seq=row.state.seq, problem=f"the head's {name} is not the log's")
    return None


def _leased(status: RunStatus) -> RunStatus:
    return RunStatus.QUEUED if status is RunStatus.RETRYING else status


def _comparable(state: RunState) -> RunState:
    return replace(state, labels=dict(state.labels), outputs=dict(state.outputs))


def _verify_run(core: Core, cursor: Cursor, run_id: UUID) -> tuple[int, Fault | None]:
    try:
        found = lock_run(cursor, run_id)
    except UNREADABLE as error:
        return 0, Fault(run_id=run_id, seq=None, problem=f"the head can't be read: {error!r}")
    if found is None:
        raise NotFound("there is no such run, or none that you may see")
    row = found[0]
    try:
        stored = load_events(cursor, run_id)
    except UNREADABLE as error:
        return 0, Fault(run_id=run_id, seq=None, problem=f"an event can't be read: {error!r}")
    fault = chain_fault(run_id, stored)
    if fault is not None:
        return len(stored), fault
    if not stored:
        return 0, Fault(run_id=run_id, seq=None, problem="the run has no log")
    try:
        graph = core.versions.graph(cursor, row.state.workflow, row.state.version)
    except (NotFound, *UNREADABLE) as error:
        return len(stored), Fault(run_id=run_id, seq=1, problem=f"its workflow version can't be read: {error!r}")
    if stored[0].event.data.get("sha256") != graph.sha256:
        return len(stored), Fault(run_id=run_id, seq=1, problem="the workflow version is not the one it was started on")
    try:
        replayed = replay(graph, run_id, [item.event for item in stored])
    except UNREADABLE as error:
        return len(stored), Fault(run_id=run_id, seq=None, problem=f"the log does not replay: {error!r}")
    return len(stored), head_fault(row, replayed, stored)


def _batches(core: Core, run_id: UUID | None) -> Iterator[list[UUID]]:
    if run_id is not None:
        yield [run_id]
        return
    last = UUID(int=0)
    while True:
        with core.database.transaction() as cursor:
            cursor.execute("SELECT id FROM runs WHERE id > %s ORDER BY id LIMIT %s", (last, BATCH))
            batch = [row[0] for row in cursor.fetchall()]
        if not batch:
            return
        yield batch
        last = batch[-1]
