"""Audit verification: recompute every hash, replay every log, compare with the stored head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from signoff.anchors.form import BrokenAnchors
from signoff.canonical import Json
from signoff.definition.graph import Graph
from signoff.engine.anchoring import anchors_of
from signoff.engine.core import Core, queue_of
from signoff.engine.witness import Claim, Objection, Witness
from signoff.errors import NotFound
from signoff.model import GENESIS_HASH, EventType, HumanTask, RunState, RunStatus, event_hash, format_time
from signoff.store.database import Cursor
from signoff.store.evidence import UNREADABLE, Disagreement, StoredRun, in_one_snapshot, run_ids, stored_runs
from signoff.store.rows import RunRow, StoredEvent
from signoff.store.versions import VersionCache
from signoff.transitions.fold import replay
from signoff.transitions.human_task_events import WITHDRAW

BATCH = 100
"""Runs that are read in one snapshot: what a verification holds of the database, and for how long, stays small."""

_MOVING = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.RETRYING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The first thing that does not add up in one run; `run_id` is None where it is the file of anchors."""

    run_id: UUID | None
    seq: int | None
    problem: str

    def to_json(self) -> dict[str, Any]:
        run_id = None if self.run_id is None else str(self.run_id)
        return {"run": run_id, "seq": self.seq, "problem": self.problem}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a verification found.

    `anchored_at` is the last moment up to which an anchor outside vouches for the log, and `unanchored` the number of
    events that no anchor names; both are None where no anchors are configured, or something does not add up.
    """

    ok: bool
    runs: int
    events: int
    first_bad: Fault | None
    anchored_at: datetime | None = None
    unanchored: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "runs": self.runs,
            "events": self.events,
            "first_bad": None if self.first_bad is None else self.first_bad.to_json(),
            "anchored_at": None if self.anchored_at is None else format_time(self.anchored_at),
            "unanchored": self.unanchored,
        }


@dataclass(slots=True, kw_only=True)
class _Outside:
    """What the anchors claim of the runs of one batch, and which runs were there to be asked."""

    witness: Witness | None
    claims: dict[UUID, list[Claim]] = field(default_factory=dict)
    seen: set[UUID] = field(default_factory=set)

    def turn_to(self, batch: Sequence[UUID] | None, *, alone: bool) -> None:
        """Take the claims on the runs of the next batch, and on those that should be between it and the one before.

        None is all that are left.
        """
        self.seen.clear()
        if self.witness is None:
            return
        if alone and batch is not None:
            self.claims = self.witness.claims_on(batch[0])
        else:
            self.claims = self.witness.claims_upto(None if batch is None else batch[-1])

    def ask(self, run: StoredRun) -> Fault | None:
        run_id = run.row.state.run_id
        self.seen.add(run_id)
        if self.witness is None:
            return None
        return _fault(self.witness.objection(run_id, run.events, self.claims.get(run_id, ())))

    def missing(self) -> Fault | None:
        return None if self.witness is None else _fault(self.witness.missing(self.claims, self.seen))


def verify(core: Core, run_id: UUID | None = None, *, noted: str | None = None) -> Verification:
    """Verify one run, or all of them in batches, oldest first; stops at the first fault. Raises NotFound.

    Where anchors are configured, each log is held against them; `noted` is the hash of one that has to be there.
    Nothing is locked and nothing written. Each run is seen as of one moment.
    """
    # Graphs that this process knows from earlier may no longer be those that are stored.
    versions = VersionCache()
    # Before the runs: what is anchored by now is there to be seen.
    outside, broken = _outside(core, noted)
    runs = events = 0
    for batch in _batches(core, run_id):
        outside.turn_to(batch, alone=run_id is not None)
        for count, fault in _verify_batch(core, versions, batch, outside):
            runs += 1
            events += count
            if fault is not None:
                return Verification(ok=False, runs=runs, events=events, first_bad=fault)
        fault = outside.missing()
        if fault is not None:
            return Verification(ok=False, runs=runs, events=events, first_bad=fault)
    if run_id is None:
        outside.turn_to(None, alone=False)
        broken = outside.missing() or broken
    elif not runs:
        raise NotFound("there is no such run, or none that you may see")
    if broken is not None or outside.witness is None:
        return Verification(ok=broken is None, runs=runs, events=events, first_bad=broken)
    return Verification(
        ok=True,
        runs=runs,
        events=events,
        first_bad=None,
        anchored_at=outside.witness.anchored_at,
        unanchored=outside.witness.unanchored,
    )


def _outside(core: Core, noted: str | None) -> tuple[_Outside, Fault | None]:
    """The anchors, or what is wrong with their file. The runs are verified all the same."""
    try:
        log = anchors_of(core.settings)
    except BrokenAnchors as error:
        return _Outside(witness=None), Fault(run_id=None, seq=None, problem=str(error))
    broken = None
    if noted is not None and (log is None or noted.lower() not in {each.anchor.hash for each in log.anchors}):
        broken = Fault(run_id=None, seq=None, problem="there is no anchor of the hash that was noted")
    return _Outside(witness=None if log is None else Witness.of(log)), broken


def _fault(objection: Objection | None) -> Fault | None:
    if objection is None:
        return None
    return Fault(run_id=objection.run_id, seq=objection.seq, problem=objection.problem)


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
        except UNREADABLE:
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
    if not _exactly(_values(head), _values(log)):
        return Fault(run_id=row.state.run_id, seq=row.state.seq, problem="a value of the head is not the log's")
    return None


def lease_fault(row: RunRow, graph: Graph) -> Fault | None:
    """What the row knows beside the log and can't be: how long it is looked at again, by whom, in which queue.

    Epoch, resends, and which worker has the run until when are the row's alone: no log vouches for them.
    """
    moving = row.row_status in _MOVING
    for name, wrong in (
        ("queue", row.queue != queue_of(graph, row.state)),
        ("due_at", (row.due_at is not None) != moving),
        ("worker", (row.worker is not None) != (row.row_status is RunStatus.RUNNING)),
    ):
        if wrong:
            problem = f"the head's {name} is none that a run can have that is {row.row_status}"
            return Fault(run_id=row.state.run_id, seq=row.state.seq, problem=problem)
    return None


def _leased(status: RunStatus) -> RunStatus:
    return RunStatus.QUEUED if status is RunStatus.RETRYING else status


def _comparable(state: RunState) -> RunState:
    return replace(state, labels=dict(state.labels), outputs=dict(state.outputs))


def _values(state: RunState) -> Json:
    """All JSON of a head that may be of any form."""
    error = None if state.error is None else state.error.to_json()
    tasks = {str(key): _values_of_task(task) for key, task in state.human_tasks.items()}
    return [state.value, state.feedback, dict(state.outputs), dict(state.labels), error, tasks]


def _values_of_task(task: HumanTask) -> Json:
    return [task.payload, [decision.patch for decision in task.decisions]]


def _exactly(one: Json, other: Json) -> bool:
    """Whether two values that are equal in Python are the same JSON: there, True is 1."""
    if isinstance(one, Mapping):
        return all(_exactly(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return all(_exactly(value, its) for value, its in zip(one, other, strict=True))
    return isinstance(one, bool) is isinstance(other, bool)


def _verify_batch(
    core: Core, versions: VersionCache, ids: Sequence[UUID], outside: _Outside
) -> Iterator[tuple[int, Fault | None]]:
    """The number of events and the fault of each of these runs."""
    done = 0
    try:
        for found in _verify_together(core, versions, ids, outside):
            yield found
            done += 1
    except UNREADABLE:
        # One by one, it shows whose rows can't be read.
        for run_id in ids[done:]:
            found_alone = _verify_alone(core, versions, run_id, outside)
            if found_alone is not None:
                yield found_alone


def _verify_together(
    core: Core, versions: VersionCache, ids: Sequence[UUID], outside: _Outside
) -> Iterator[tuple[int, Fault | None]]:
    with core.database.transaction() as cursor:
        in_one_snapshot(cursor)
        for run in stored_runs(cursor, ids):
            # The anchors are asked last: about logs that are sound in themselves.
            yield len(run.events), _run_fault(cursor, versions, run) or outside.ask(run)


def _verify_alone(
    core: Core, versions: VersionCache, run_id: UUID, outside: _Outside
) -> tuple[int, Fault | None] | None:
    try:
        # None at all is a run that has been deleted since it was listed, or never was.
        return next(_verify_together(core, versions, [run_id], outside), None)
    except Disagreement as error:
        return 0, Fault(run_id=run_id, seq=None, problem=str(error))
    except UNREADABLE as error:
        return 0, Fault(run_id=run_id, seq=None, problem=f"it can't be read: {error!r}")


def _run_fault(cursor: Cursor, versions: VersionCache, run: StoredRun) -> Fault | None:
    state, stored = run.row.state, run.events
    fault = chain_fault(state.run_id, stored)
    if fault is not None:
        return fault
    if not stored:
        return Fault(run_id=state.run_id, seq=None, problem="the run has no log")
    try:
        graph = versions.graph(cursor, state.workflow, state.version)
    except (NotFound, *UNREADABLE) as error:
        problem = f"its workflow version can't be read: {error!r}"
        return Fault(run_id=state.run_id, seq=1, problem=problem)
    if stored[0].event.data.get("sha256") != graph.sha256:
        problem = "the workflow version is not the one it was started on"
        return Fault(run_id=state.run_id, seq=1, problem=problem)
    try:
        replayed = replay(graph, state.run_id, [item.event for item in stored])
    except UNREADABLE as error:
        return Fault(run_id=state.run_id, seq=None, problem=f"the log does not replay: {error!r}")
    return head_fault(run.row, replayed, stored) or _decision_fault(run) or lease_fault(run.row, graph)


def _decision_fault(run: StoredRun) -> Fault | None:
    """A decision's row says where the log stood when it was written: at an event of the decision's own moment."""
    events = run.events
    for event in (stored.event for stored in events):
        if event.type is not EventType.DECISION_RECORDED or event.data["decision"] == WITHDRAW:
            continue
        seq = run.decision_seqs.get(event.data["decision_id"])
        if seq is not None and not (event.seq <= seq <= len(events) and events[seq - 1].event.at == event.at):
            return Fault(run_id=run.row.state.run_id, seq=event.seq, problem="the decision's seq is not the log's")
    return None


def _batches(core: Core, run_id: UUID | None) -> Iterator[list[UUID]]:
    if run_id is not None:
        yield [run_id]
        return
    last: UUID | None = None
    while True:
        with core.database.autocommit() as cursor:
            batch = run_ids(cursor, after=last, limit=BATCH)
        if not batch:
            return
        yield batch
        last = batch[-1]
