"""What workers ask of the engine: claim a run, say how its step went, keep or give back the lease."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from signoff.canonical import Json
from signoff.definition.graph import Graph, StepNode
from signoff.engine.core import Core, Locked, Message, outputs_of, queue_of
from signoff.errors import LeaseLost, SignoffError, StepError
from signoff.model import RunState, RunStatus
from signoff.store import leases
from signoff.store.runs import Lease, load_values
from signoff.transitions import steps
from signoff.transitions.advance import fail as fail_run
from signoff.transitions.steps import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A run that this worker holds under `epoch`, standing at `step`."""

    run_id: UUID
    epoch: int
    graph: Graph
    step: StepNode
    state: RunState

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt at this visit of the step, and for no other execution."""
        return f"{self.run_id}:{self.step.name}:{self.state.outputs.get(self.step.name, 0)}"


def claim(core: Core, run_id: UUID, *, epoch: int, worker: str) -> Claimed | None:
    with core.database.autocommit() as cursor:
        row = leases.claim(cursor, run_id, epoch=epoch, worker=worker, lease_seconds=core.settings.lease_seconds)
        if row is None:
            return None
        graph = core.versions.graph(cursor, row.state.workflow, row.state.version)
    assert row.state.node is not None
    return Claimed(run_id=run_id, epoch=row.epoch, graph=graph, step=graph.step(row.state.node), state=row.state)


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


def complete(core: Core, claimed: Claimed, output: Json, *, worker: str, go_on: bool) -> Claimed | None:
    """Record the output and move on; with `go_on` the next step is claimed at once where it may run inline.

    Raises LeaseLost when the run went on without this worker, StepError when the output is too large or has no exact
    JSON form.
    """
    try:
        core.bounded(output, f"the output of step {claimed.step.name!r}")
    except SignoffError as error:
        raise StepError(error.detail, code="output_invalid", fix=error.fix) from error
    with core.database.transaction() as cursor:
        locked = _held(core.lock(cursor, claimed.run_id), claimed)
        steps.complete(locked.fold, step=claimed.step.name, output=output, new_id=core.new_id)
        _stop_endless(core, locked)
        inline = go_on and _may_go_on(claimed, locked)
        lease = (
            _next_lease(core, locked, worker)
            if inline
            else core.resting_lease(claimed.graph, locked.state, epoch=claimed.epoch)
        )
        messages = core.save(cursor, locked, lease)
    core.send(messages)
    if not inline:
        return None
    state = locked.state
    assert state.node is not None
    return Claimed(
        run_id=claimed.run_id,
        epoch=lease.epoch,
        graph=claimed.graph,
        step=claimed.graph.step(state.node),
        state=state,
    )


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
        core.send([Message(run_id=claimed.run_id, epoch=claimed.epoch, queue=f"signoff.{claimed.step.queue}")])


def renew(core: Core, held: Sequence[tuple[UUID, int]]) -> set[UUID]:
    """Lengthen the leases; answers which of the runs are still held."""
    with core.database.autocommit() as cursor:
        return leases.renew(cursor, held, lease_seconds=core.settings.lease_seconds)


def _held(locked: Locked | None, claimed: Claimed) -> Locked:
    if locked is None:
        raise LeaseLost(f"run {claimed.run_id} is gone")
    if locked.row.row_status is not RunStatus.RUNNING or locked.row.epoch != claimed.epoch:
        raise LeaseLost(
            f"run {claimed.run_id} is {locked.row.row_status} under epoch {locked.row.epoch}, not {claimed.epoch}"
        )
    return locked


def _may_go_on(claimed: Claimed, locked: Locked) -> bool:
    state = locked.state
    if state.status is not RunStatus.QUEUED or queue_of(claimed.graph, state) != claimed.step.queue:
        return False
    assert state.node is not None
    return claimed.graph.step(state.node).inline


def _next_lease(core: Core, locked: Locked, worker: str) -> Lease:
    """The lease for the next step of the same run, exactly as if it had been claimed through a message."""
    return Lease(
        status=RunStatus.RUNNING,
        epoch=locked.row.epoch + 1,
        queue=queue_of(locked.fold.graph, locked.state),
        due_at=locked.fold.now + timedelta(seconds=core.settings.lease_seconds),
        worker=worker,
    )


def _stop_endless(core: Core, locked: Locked) -> None:
    """Everything is bounded, a run that loops too: its log may not grow for ever."""
    limit = core.settings.max_events_per_run
    if locked.state.seq >= limit and not locked.state.status.finished:
        fail_run(locked.fold, "too_many_events", f"the run has {limit} events; it seems to loop")
