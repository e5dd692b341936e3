"""The transition function: what each event makes of a run. Pure and total, so that every log replays.

It refuses nothing. Whether an event may happen is decided before it is written, by the admission modules beside this
one; an event that does not fit the state it meets changes nothing but the count, and the stored head would show it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from signoff.canonical import Json
from signoff.definition.graph import End, GateNode, Goto, Graph, TakeOption, Target
from signoff.model import (
    APPROVED,
    CHANGES_REQUESTED,
    SYSTEM,
    Actor,
    Event,
    EventType,
    HumanTask,
    RunError,
    RunState,
    RunStatus,
    TaskState,
)
from signoff.transitions import human_task_events as tasks
from signoff.transitions.staff import Staff, Unknown

Handler: TypeAlias = Callable[[Graph, RunState, Event], RunState]

ACTIVE = (RunStatus.QUEUED, RunStatus.RETRYING)
"""The log's view of a run that a worker may have: it does not know leases, nor when a retry came due."""


def transition(graph: Graph, state: RunState | None, run_id: UUID, event: Event) -> RunState:
    """The state after `event`. `state` is None before the first event, which must be `run.created`."""
    if state is None:
        return _created(graph, run_id, event)
    changed = _HANDLERS[event.type](graph, state, event)
    return replace(changed, seq=event.seq, updated_at=event.at)


def replay(graph: Graph, run_id: UUID, events: Iterable[Event]) -> RunState:
    """The state a whole log comes to. Raises ValueError for an empty log."""
    state: RunState | None = None
    for event in events:
        state = transition(graph, state, run_id, event)
    if state is None:
        raise ValueError("a log has at least the event run.created")
    return state


def values_received(graph: Graph, run_id: UUID, history: Iterable[Event]) -> dict[str, Json]:
    """What each node the run came by received last, in the order of the first visit."""
    received: dict[str, Json] = {}
    state: RunState | None = None
    for event in history:
        state = transition(graph, state, run_id, event)
        if state.node is not None and state.ending is None:
            received[state.node] = state.value
    return received


class Fold:
    """A batch of events on one run, each applied as it is added.

    `now` is the database's clock, read under the run's lock; events of one batch share it. `history` reads the log
    before the batch, for the few commands that need more than the head; `staff` knows people, for gates that open.
    """

    def __init__(
        self,
        graph: Graph,
        state: RunState | None,
        *,
        run_id: UUID,
        now: datetime,
        history: Callable[[], Iterable[Event]] = tuple,
        staff: Staff | None = None,
    ) -> None:
        self.graph = graph
        self.run_id = run_id
        self.now = now if state is None else max(now, state.updated_at)
        self.before = state
        self.history = history
        self.staff: Staff = staff or Unknown()
        self.events: list[Event] = []
        self._state = state

    @property
    def state(self) -> RunState:
        """The state after the events so far."""
        assert self._state is not None, "the first event of a run is run.created"
        return self._state

    def emit(self, kind: EventType, data: dict[str, Any], *, actor: Actor = SYSTEM) -> None:
        """Add one event and apply it."""
        seq = 1 if self._state is None else self._state.seq + 1
        event = Event(seq=seq, type=kind, at=self.now, actor=actor, data=data)
        self._state = transition(self.graph, self._state, self.run_id, event)
        self.events.append(event)


def arrive(state: RunState, target: Target) -> RunState:
    """The run with its cursor where `target` leads."""
    match target:
        case Goto(node=node):
            return replace(state, status=RunStatus.QUEUED, node=node, attempt=1, lost=0, retry_at=None, ending=None)
        case End(status=status):
            return replace(state, status=RunStatus.QUEUED, ending=status, attempt=1, lost=0, retry_at=None)
        case TakeOption():
            return state


def after_node(node_next: str | None) -> Target:
    """Where the main line goes after a node: to the next, or to the end."""
    return End(status="completed") if node_next is None else Goto(node=node_next)


def route(gate: GateNode, option: str) -> Target:
    """Where `option` of this gate leads."""
    if option == "request_changes":
        # The definition's checks demand a way back wherever the option is offered.
        return Goto(node=gate.changes_to) if gate.changes_to is not None else End(status="failed")
    return gate.routes.get(option) or after_node(gate.next)


def _created(graph: Graph, run_id: UUID, event: Event) -> RunState:
    data = event.data
    carried = data.get("carried") or {}
    return RunState(
        run_id=run_id,
        workflow=data["workflow"],
        version=data["version"],
        status=RunStatus.QUEUED,
        node=data.get("entry") or graph.start,
        value=data["value"] if "value" in data else data["input"],
        requester=Actor.from_json(data["requester"]),
        seq=event.seq,
        created_at=event.at,
        updated_at=event.at,
        labels=dict(data["labels"]),
        outputs=dict.fromkeys(carried, event.seq),
        feedback=data.get("feedback"),
    )


def _step_completed(graph: Graph, state: RunState, event: Event) -> RunState:
    step = graph.nodes.get(event.data["step"])
    if step is None or not _stands_at(state, step.name):
        return state
    moved = arrive(state, after_node(step.next))
    return replace(moved, value=event.data["output"], outputs={**state.outputs, step.name: event.seq})


def _retry_scheduled(_graph: Graph, state: RunState, event: Event) -> RunState:
    if not _stands_at(state, event.data["step"]):
        return state
    delay = event.data["delay_ms"]
    lost = event.data["code"] == "worker_lost"
    return replace(
        state,
        status=RunStatus.RETRYING if delay else RunStatus.QUEUED,
        retry_at=event.at + timedelta(milliseconds=delay) if delay else None,
        attempt=state.attempt + (not lost),
        lost=state.lost + lost,
    )


def _gate_passed(graph: Graph, state: RunState, event: Event) -> RunState:
    gate = graph.nodes.get(event.data["gate"])
    if not isinstance(gate, GateNode) or not _stands_at(state, gate.name):
        return state
    moved = arrive(state, after_node(gate.next))
    if gate.mode == "after":
        return moved
    return replace(moved, outcome=APPROVED, feedback=None)


def _gate_opened(graph: Graph, state: RunState, event: Event) -> RunState:
    gate = graph.nodes.get(event.data["gate"])
    if not isinstance(gate, GateNode) or not _stands_at(state, gate.name):
        return state
    opened = tasks.opened(gate, state.value, event)
    state = replace(state, human_tasks={**state.human_tasks, opened.id: opened})
    if gate.mode == "after":
        return arrive(state, after_node(gate.next))
    return replace(state, status=RunStatus.WAITING, feedback=None)


def _gate_revised(graph: Graph, state: RunState, event: Event) -> RunState:
    task = state.human_tasks.get(UUID(event.data["human_task_id"]))
    if task is None or not (task.state is TaskState.OPEN or task.outcome == CHANGES_REQUESTED):
        return state
    if task.mode == "after":
        # The run has gone on; only what is shown beside it changes.
        return _with(state, tasks.revised(graph.gate(task.gate), task, event.data.get("payload", task.payload), event))
    if state.status.finished or state.node != task.gate:
        return state
    value = event.data.get("payload", state.value)
    revised = tasks.revised(graph.gate(task.gate), task, value, event)
    return replace(_with(state, revised), status=RunStatus.WAITING, value=value, feedback=None)


def _on_human_task(change: Callable[[GateNode, HumanTask, Event], HumanTask]) -> Handler:
    """A handler for events that touch one open human task and leave the run where it is."""

    def handle(graph: Graph, state: RunState, event: Event) -> RunState:
        task = state.human_tasks.get(UUID(event.data["human_task_id"]))
        if task is None or task.state is not TaskState.OPEN:
            return state
        return _with(state, change(graph.gate(task.gate), task, event))

    return handle


def _gate_decided(graph: Graph, state: RunState, event: Event) -> RunState:
    task = state.human_tasks.get(UUID(event.data["human_task_id"]))
    if task is None or task.state is not TaskState.OPEN:
        return state
    gate = graph.gate(task.gate)
    option = event.data["option"]
    target = gate.on_timeout if option is None else route(gate, option)
    if target is None:
        # Only an on_timeout decides a gate without an option, and this gate has none.
        return state
    state = _with(state, tasks.decided(task, event))
    if gate.mode == "after" or state.status is not RunStatus.WAITING or state.node != gate.name:
        return state
    moved = arrive(state, target)
    if "output" in event.data:
        moved = replace(moved, value=event.data["output"], outputs={**state.outputs, gate.name: event.seq})
    if "value" in event.data:
        moved = replace(moved, value=event.data["value"])
    return replace(moved, outcome=event.data["outcome"], feedback=event.data.get("feedback"))


def _run_completed(_graph: Graph, state: RunState, event: Event) -> RunState:
    if state.ending != "completed":
        return state
    ended = replace(
        state,
        status=RunStatus.COMPLETED,
        ending=None,
        outcome=event.data["outcome"],
        finished_at=event.at,
    )
    return replace(ended, value=event.data["output"]) if "output" in event.data else ended


def _run_failed(_graph: Graph, state: RunState, event: Event) -> RunState:
    if state.status.finished:
        return state
    return replace(
        state,
        status=RunStatus.FAILED,
        ending=None,
        error=RunError.from_json(event.data),
        finished_at=event.at,
        retry_at=None,
        # What stopped the run has nothing left to decide; a review beside it has.
        human_tasks={
            key: tasks.canceled(task, event) if task.state is TaskState.OPEN and task.mode == "before" else task
            for key, task in state.human_tasks.items()
        },
    )


def _run_canceled(_graph: Graph, state: RunState, event: Event) -> RunState:
    if state.status.finished:
        return state
    return replace(
        state,
        status=RunStatus.CANCELED,
        ending=None,
        outcome=event.data["outcome"],
        finished_at=event.at,
        retry_at=None,
        human_tasks={
            key: tasks.canceled(task, event) if task.state is TaskState.OPEN else task
            for key, task in state.human_tasks.items()
        },
    )


def _run_retried(graph: Graph, state: RunState, event: Event) -> RunState:
    node = graph.nodes.get(event.data["from_step"])
    if state.status is not RunStatus.FAILED or node is None:
        return state
    # What the gate before the failed step concluded still holds when the run goes on from there.
    kept = state.outcome if node.name == state.node and node.kind == "step" else None
    moved = replace(arrive(state, Goto(node=node.name)), error=None, outcome=kept, finished_at=None)
    return replace(moved, value=event.data["value"]) if "value" in event.data else moved


def _stands_at(state: RunState, node: str) -> bool:
    return state.status in ACTIVE and state.node == node


def _unchanged(_graph: Graph, state: RunState, _event: Event) -> RunState:
    return state


def _with(state: RunState, task: HumanTask) -> RunState:
    return replace(state, human_tasks={**state.human_tasks, task.id: task})


_HANDLERS: Mapping[EventType, Handler] = {
    EventType.RUN_CREATED: _unchanged,
    EventType.STEP_COMPLETED: _step_completed,
    EventType.STEP_FAILED: _unchanged,
    EventType.STEP_RETRY_SCHEDULED: _retry_scheduled,
    EventType.GATE_OPENED: _gate_opened,
    EventType.GATE_PASSED: _gate_passed,
    EventType.GATE_REVISED: _gate_revised,
    EventType.HUMAN_TASK_CLAIMED: _on_human_task(tasks.assigned),
    EventType.HUMAN_TASK_RELEASED: _on_human_task(tasks.released),
    EventType.HUMAN_TASK_ASSIGNED: _on_human_task(tasks.assigned),
    EventType.HUMAN_TASK_COMMENTED: _unchanged,
    EventType.DECISION_RECORDED: _on_human_task(tasks.decision_recorded),
    EventType.GATE_DECIDED: _gate_decided,
    EventType.GATE_REMINDED: _on_human_task(tasks.reminded),
    EventType.GATE_ESCALATED: _on_human_task(tasks.escalated),
    EventType.GATE_TIMED_OUT: _on_human_task(tasks.timed_out),
    EventType.RUN_COMPLETED: _run_completed,
    EventType.RUN_FAILED: _run_failed,
    EventType.RUN_CANCELED: _run_canceled,
    EventType.RUN_RETRIED: _run_retried,
}
