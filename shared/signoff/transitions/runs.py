"""Admission of what happens to a whole run: it is created, canceled, or retried after a failure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from signoff.canonical import Json
from signoff.definition.graph import GateNode, Goto, Graph, Node, StepNode
from signoff.errors import Conflict, FieldError, InvalidInput
from signoff.model import Actor, Event, EventType, RunState, RunStatus
from signoff.transitions.advance import NewId, advance
from signoff.transitions.fold import Fold, transition, values_received
from signoff.transitions.staff import Staff

_ASKS = (EventType.GATE_OPENED, EventType.GATE_REVISED, EventType.GATE_DECIDED, EventType.GATE_PASSED)


def create(
    graph: Graph,
    *,
    run_id: UUID,
    version: int,
    value: Json,
    requester: Actor,
    labels: Mapping[str, str],
    now: datetime,
    new_id: NewId,
    staff: Staff | None = None,
) -> Fold:
    """A new run at its first node; gates that stand there are evaluated at once."""
    fold = Fold(graph, None, run_id=run_id, now=now, staff=staff)
    data = {
        "workflow": graph.workflow,
        "version": version,
        "sha256": graph.sha256,
        "input": value,
        "labels": dict(labels),
        "requester": requester.to_json(),
    }
    fold.emit(EventType.RUN_CREATED, data, actor=requester)
    advance(fold, new_id)
    return fold


def create_branch(
    graph: Graph,
    parent: RunState,
    *,
    run_id: UUID,
    entry: str,
    value: Json,
    run_input: Json,
    carried: Mapping[str, Json],
    feedback: Mapping[str, Json],
    human_task_id: UUID,
    now: datetime,
    new_id: NewId,
    staff: Staff | None = None,
) -> Fold:
    """A child run that starts at a branch of its parent's graph: the compensation after a late rejection.

    It has the parent's input, the outputs of its steps, its requester and its labels, and the label `compensates`.
    """
    fold = Fold(graph, None, run_id=run_id, now=now, staff=staff)
    data: dict[str, Any] = {
        "workflow": graph.workflow,
        "version": parent.version,
        "sha256": graph.sha256,
        "input": run_input,
        "labels": {**parent.labels, "compensates": str(parent.run_id)},
        "requester": parent.requester.to_json(),
        "entry": entry,
        "value": value,
        "carried": dict(carried),
        "feedback": dict(feedback),
        "parent": {"run_id": str(parent.run_id), "human_task_id": str(human_task_id)},
    }
    fold.emit(EventType.RUN_CREATED, data)
    advance(fold, new_id)
    return fold


def cancel(fold: Fold, *, reason: str, actor: Actor) -> None:
    """End the run now; its open human tasks end with it. Raises Conflict when it has finished."""
    if fold.state.status.finished:
        raise Conflict(f"the run is already {fold.state.status}", code="run_finished")
    fold.emit(EventType.RUN_CANCELED, {"reason": reason, "outcome": "canceled"}, actor=actor)


def retry(fold: Fold, *, from_step: str | None, history: Iterable[Event], actor: Actor, new_id: NewId) -> None:
    """Let a failed run go on from the step that failed, or from an earlier one with the value that step had.

    Raises Conflict when the run has not failed, InvalidInput when it never came by `from_step`.
    """
    state = fold.state
    if state.status is not RunStatus.FAILED:
        raise Conflict(f"only a failed run can be retried; this one is {state.status}", code="run_not_failed")
    data: dict[str, Any] = {"from_step": from_step or state.node}
    if from_step is not None and from_step != state.node:
        history = list(history)
        received = values_received(fold.graph, fold.run_id, history)
        if from_step not in received:
            raise InvalidInput(
                errors=[
                    FieldError(
                        path="/from_step",
                        message=f"the run has not been at {from_step!r}",
                        fix=f"name one of: {', '.join(received)}",
                    )
                ]
            )
        repeated = _would_repeat(fold.graph, fold.run_id, history, from_step)
        if repeated is not None:
            raise Conflict(
                f"step {repeated!r} is irreversible and has been done; from here it would be done again",
                fix="go on from a step before its gate, so that a person is asked again",
            )
        superseded = _asked_since(fold.graph, fold.run_id, history, from_step)
        if superseded is not None:
            raise Conflict(
                f"gate {superseded!r} was asked again after the run was at {from_step!r}: it has to allow it",
                fix="go on from a step before that gate, so that a person is asked again",
            )
        data["value"] = received[from_step]
    fold.emit(EventType.RUN_RETRIED, data, actor=actor)
    advance(fold, new_id)


def _would_repeat(graph: Graph, run_id: UUID, history: Iterable[Event], from_step: str) -> str | None:
    """The irreversible step that going on at `from_step` would execute again on an approval already used."""
    done: set[str] = set()
    state: RunState | None = None
    for event in history:
        state = transition(graph, state, run_id, event)
        if event.type is EventType.STEP_COMPLETED:
            done.add(event.data["step"])
        elif _was_allowed(graph, event) and state.node is not None:
            # Whoever was asked has just allowed the steps from here to the next gate, once more if need be.
            done.difference_update(step.name for step in until_gate(graph, state.node))
    return next((step.name for step in until_gate(graph, from_step) if step.irreversible and step.name in done), None)


def _asked_since(graph: Graph, run_id: UUID, history: Iterable[Event], from_step: str) -> str | None:
    """The gate in front of `from_step` that was asked once more after the run was there; None where none was.

    Whatever was said then, what the step would be given is not what it was said of.
    """
    guards = {
        node.name
        for node in graph.nodes.values()
        if isinstance(node, GateNode) and node.mode == "before" and from_step in _behind(graph, node)
    }
    asked: str | None = None
    state: RunState | None = None
    for event in history:
        state = transition(graph, state, run_id, event)
        if event.type in _ASKS and event.data["gate"] in guards:
            asked = event.data["gate"]
        if state.node == from_step and state.ending is None:
            asked = None
    return asked


def _behind(graph: Graph, gate: GateNode) -> set[str]:
    """The nodes that this gate leads to with no other gate in front of them."""
    targets = [*gate.routes.values(), gate.on_timeout]
    starts = {target.node for target in targets if isinstance(target, Goto)} | {gate.next}
    return {node.name for start in starts for node in _until_gate(graph, start)}


def _was_allowed(graph: Graph, event: Event) -> bool:
    if event.type not in (EventType.GATE_PASSED, EventType.GATE_DECIDED):
        return False
    return graph.gate(event.data["gate"]).mode == "before"


def until_gate(graph: Graph, name: str) -> Iterator[StepNode]:
    """The steps from `name` on that no gate in mode before stands in front of."""
    return (node for node in _until_gate(graph, name) if isinstance(node, StepNode))


def _until_gate(graph: Graph, name: str | None) -> Iterator[Node]:
    while name is not None:
        node = graph.nodes[name]
        if isinstance(node, GateNode) and node.mode == "before":
            return
        yield node
        name = node.next
