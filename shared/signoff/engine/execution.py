"""What workers ask of the engine: claim a run, say how its step went, keep or give back the lease."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

import structlog

from signoff.broker import queue_name
from signoff.canonical import Json
from signoff.definition.graph import Graph, StepNode
from signoff.engine import approved
from signoff.engine.authority import concerns
from signoff.engine.core import Core, Locked, Message, outputs_of, queue_of
from signoff.errors import LeaseLost, SignoffError, StepError
from signoff.failpoints import hit
from signoff.model import RunState, RunStatus
from signoff.store import leases
from signoff.store.clock import DatabaseClock
from signoff.store.recording import Lease, record
from signoff.store.rows import RunRow
from signoff.store.runs import load_values
from signoff.transitions import steps
from signoff.transitions.advance import fail as fail_run
from signoff.transitions.fold import Fold
from signoff.transitions.staff import NotRead, StaffNotRead
from signoff.transitions.steps import Failure

log = structlog.get_logger(__name__)

LEASE_KEPT = 0.9
"""A lease that has this share left goes on to the next inline step as it is: then no indexed column changes, and the
row's new version needs no new entry in any index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A run that this worker holds under `epoch`, standing at `step`.

    `row` and `clock` are what it was read with. An inline step after one that was recorded under lock has no row.
    `settled` says that all of the run's human tasks were over then, so that what its step gives touches none of them.
    """

    run_id: UUID
    epoch: int
    graph: Graph
    step: StepNode
    state: RunState
    row: RunRow | None = None
    clock: DatabaseClock | None = None
    settled: bool = False

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt at this visit of the step, and for no other execution."""
        return f"{self.run_id}:{self.step.name}:{self.state.outputs.get(self.step.name, 0)}"


GoOn: TypeAlias = Callable[[Claimed, StepNode], bool]
"""Whether the worker that ends this step would go straight on with that one, where the graph allows it."""


def in_same_queue(claimed: Claimed, following: StepNode) -> bool:
    """The rule for a worker that knows nothing of other queues."""
    return claimed.step.queue == following.queue


def claim(core: Core, run_id: UUID, *, epoch: int, worker: str) -> Claimed | None:
    hit("claim.before_update")
    with core.database.autocommit() as cursor:
        found = leases.claim(cursor, run_id, epoch=epoch, worker=worker, lease_seconds=core.settings.lease_seconds)
        if found is None:
            return None
        row, now = found
        clock = DatabaseClock.of(now)
        graph = core.versions.graph(cursor, row.state.workflow, row.state.version)
        said = approved.examined(cursor, row, graph)
    hit("claim.after_update")
    claimed = claimed_from(row, graph, clock, settled=said.settled)
    if said.objection is not None:
        refuse(core, claimed, said.objection)
        return None
    return claimed


def refuse(core: Core, claimed: Claimed, objection: str) -> None:
    """End a run that would execute what nobody approved: it fails before its step has begun, and tells of it."""
    log.error("execution_refused", run_id=str(claimed.run_id), step=claimed.step.name, problem=objection)
    message = f"step {claimed.step.name!r} was not begun: {objection}"
    fail(core, claimed, Failure(code=approved.PAYLOAD_CHANGED, message=message, retryable=False))


def claimed_from(row: RunRow, graph: Graph, clock: DatabaseClock, *, settled: bool) -> Claimed:
    """The claim that this row is the answer to."""
    assert row.state.node is not None
    return Claimed(
        run_id=row.state.run_id,
        epoch=row.epoch,
        graph=graph,
        step=graph.step(row.state.node),
        state=row.state,
        row=row,
        clock=clock,
        settled=settled,
    )


def arguments(core: Core, claimed: Claimed, names: Iterable[str]) -> dict[str, Json]:
    """The values of a step's keyword-only parameters: `input`, and the latest outputs of earlier steps by name."""
    outputs = claimed.state.outputs
    wanted = set(names)
    seqs = {seq for name, seq in outputs.items() if name in wanted}
    if not seqs and "input" not in wanted:
        return {}
    with core.database.autocommit() as cursor:
        stored = load_values(cursor, claimed.run_id, sorted(seqs | {1}))
    values = outputs_of(stored, {name: seq for name, seq in outputs.items() if seq in seqs and name in wanted})
    if "input" in wanted:
        values["input"] = stored[1]["input"]
    return values


def complete(core: Core, claimed: Claimed, output: Json, *, worker: str, go_on: bool | GoOn) -> Claimed | None:
    """Record the output and move on; with `go_on` the next step is claimed at once where it may run inline.

    Raises LeaseLost when the run went on without this worker, StepError when the output is too large or has no exact
    JSON form.
    """
    expect_bounded(core, claimed, output)
    asked = _asked(go_on)
    hit("complete.before_update")
    made = _complete_untouched(core, claimed, output, worker=worker, go_on=asked)
    if made is None:
        with core.database.transaction() as cursor:
            locked = _held(core.lock(cursor, claimed.run_id), claimed)
            made = completed(core, claimed, locked, output, worker=worker, go_on=asked)
            core.save(cursor, locked, made.lease)
            hit("complete.before_commit")
    hit("complete.before_publish")
    core.send(core.messages(made.locked, made.lease))
    hit("complete.after_publish")
    return made.following


def expect_bounded(core: Core, claimed: Claimed, output: Json) -> None:
    """Raises StepError when the output is too large or has no exact JSON form."""
    try:
        core.bounded(output, f"the output of step {claimed.step.name!r}")
    except SignoffError as error:
        raise StepError(error.detail, code="output_invalid", fix=error.fix) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A step's batch of events, the lease that goes with it, and the next step when this worker goes on with it."""

    locked: Locked
    lease: Lease
    following: Claimed | None

    def going_on(self, clock: DatabaseClock, last_hash: bytes) -> Claimed:
        """The next step with all that the worker holds of its run, once the batch is written."""
        assert self.following is not None
        state = self.locked.state
        head = replace(
            self.locked.row,
            state=state,
            epoch=self.lease.epoch,
            hash=last_hash,
            due_at=self.lease.due_at,
            queue=self.lease.queue,
            has_human_tasks=self.locked.row.has_human_tasks or bool(state.human_tasks),
        )
        # Whoever is asked now may say something at any moment.
        return replace(self.following, row=head, clock=clock, settled=not state.human_tasks)


def _complete_untouched(core: Core, claimed: Claimed, output: Json, *, worker: str, go_on: GoOn) -> Completed | None:
    """The quick way: the batch is made of what was read when the run was claimed, and written on the condition that
    nobody has touched the run since. None, with nothing done, when somebody has; then the run is read under lock.
    """
    made = completed_untouched(core, claimed, output, worker=worker, go_on=go_on)
    if made is None:
        return None
    with core.database.autocommit() as cursor:
        saved = record(cursor, [made.locked.batch(made.lease)]).get(made.locked.state.run_id)
    if saved is None:
        return None
    if made.following is None:
        return made
    now, last_hash = saved
    return replace(made, following=made.going_on(DatabaseClock.of(now), last_hash))


def completed_untouched(core: Core, claimed: Claimed, output: Json, *, worker: str, go_on: GoOn) -> Completed | None:
    """The batch that ends the step, made of what the worker holds; None where that does not do."""
    row, clock = claimed.row, claimed.clock
    if row is None or clock is None or not claimed.settled:
        return None
    fold = Fold(claimed.graph, claimed.state, run_id=claimed.run_id, now=clock.now(), staff=NotRead())
    locked = Locked(row=row, fold=fold, now=fold.now)
    try:
        made = completed(core, claimed, locked, output, worker=worker, go_on=go_on)
    except StaffNotRead:
        # A gate that asks people by name, or hands its human tasks to somebody: people are read in a transaction.
        return None
    # A gate that takes authority opens in a transaction that reads the limits.
    tasks = fold.state.human_tasks
    if len(tasks) > 1 or concerns(fold):
        return None
    # In rows of JSON a payload of null would become SQL's.
    return None if any(task.payload is None for task in tasks.values()) else made


def completed(core: Core, claimed: Claimed, locked: Locked, output: Json, *, worker: str, go_on: GoOn) -> Completed:
    """The batch that ends the step. Raises LeaseLost when the run is no longer at it."""
    steps.complete(locked.fold, step=claimed.step.name, output=output, new_id=core.new_id)
    _stop_endless(core, locked)
    state = locked.state
    following = _inline(claimed, locked)
    if following is None or not go_on(claimed, following):
        lease = core.resting_lease(claimed.graph, state, epoch=claimed.epoch)
        return Completed(locked=locked, lease=lease, following=None)
    lease = _next_lease(core, locked, worker)
    held = Claimed(
        run_id=claimed.run_id,
        epoch=lease.epoch,
        graph=claimed.graph,
        step=following,
        state=state,
        clock=DatabaseClock.of(locked.now),
    )
    return Completed(locked=locked, lease=lease, following=held)


def fail(core: Core, claimed: Claimed, failure: Failure) -> RunStatus:
    """Record a failed attempt and answer what became of the run. Raises LeaseLost as `complete` does."""
    with core.database.transaction() as cursor:
        locked = _held(core.lock(cursor, claimed.run_id), claimed)
        # The jitter only spreads retries; nothing depends on it being hard to guess.
        steps.failed(
            locked.fold,
            step=claimed.step.name,
            failure=failure,
            random=random.random(),  # noqa: S311
        )
        lease = core.resting_lease(claimed.graph, locked.state, epoch=claimed.epoch)
        core.save(cursor, locked, lease)
    return locked.state.status


def give_back(core: Core, claimed: Claimed) -> None:
    """Hand back a run whose step has not begun; the next worker takes it at once."""
    with core.database.autocommit() as cursor:
        given = leases.give_back(cursor, claimed.run_id, epoch=claimed.epoch)
    if given:
        core.send([Message(run_id=claimed.run_id, epoch=claimed.epoch, queue=queue_name(claimed.step.queue))])


def renew(core: Core, held: Sequence[tuple[UUID, int]]) -> set[UUID]:
    """Lengthen the leases; answers which of the runs are still held."""
    with core.database.autocommit() as cursor:
        return leases.renew(cursor, held, lease_seconds=core.settings.lease_seconds)


LET_GO_SECONDS = 2.0
"""How long a worker that is cut off keeps its leases: it asks for that before it ends, or its last process has."""


def let_go(core: Core, mark: str) -> int:
    """End the leases of a worker that is cut off in the middle of its steps; answers how many it still had."""
    with core.database.autocommit() as cursor:
        return leases.let_go(cursor, mark, seconds=LET_GO_SECONDS)


def _held(locked: Locked | None, claimed: Claimed) -> Locked:
    if locked is None:
        raise LeaseLost(f"run {claimed.run_id} is gone")
    if locked.row.row_status is not RunStatus.RUNNING or locked.row.epoch != claimed.epoch:
        raise LeaseLost(
            f"run {claimed.run_id} is {locked.row.row_status} under epoch {locked.row.epoch}, not {claimed.epoch}"
        )
    return locked


def _asked(go_on: bool | GoOn) -> GoOn:
    if go_on is True:
        return in_same_queue
    return go_on or _never


def _never(_claimed: Claimed, _following: StepNode) -> bool:
    return False


def _inline(claimed: Claimed, locked: Locked) -> StepNode | None:
    """The next step, where there is one that may begin at once in the process that ended the one before."""
    state = locked.state
    if state.status is not RunStatus.QUEUED:
        return None
    assert state.node is not None
    following = claimed.graph.step(state.node)
    return following if following.inline else None


def _next_lease(core: Core, locked: Locked, worker: str) -> Lease:
    """The lease for the next step of the same run, exactly as if it had been claimed through a message."""
    now, seconds = locked.fold.now, core.settings.lease_seconds
    due_at = locked.row.due_at
    if due_at is None or due_at < now + timedelta(seconds=seconds * LEASE_KEPT):
        due_at = now + timedelta(seconds=seconds)
    return Lease(
        status=RunStatus.RUNNING,
        epoch=locked.row.epoch + 1,
        queue=queue_of(locked.fold.graph, locked.state),
        due_at=due_at,
        worker=worker,
    )


def _stop_endless(core: Core, locked: Locked) -> None:
    """Everything is bounded, a run that loops too: its log may not grow for ever."""
    limit = core.settings.max_events_per_run
    if locked.state.seq >= limit and not locked.state.status.finished:
        fail_run(locked.fold, "too_many_events", f"the run has {limit} events; it seems to loop")
