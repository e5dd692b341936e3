"""Breadth-first over everything that can happen to a small run: workers, people, time, operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from tests.unit.transitions.desk import START, Desk, person
from tests.unit.transitions.ledger import Ledger, check_head

from signoff.canonical import Json, canonical
from signoff.definition.graph import GateNode, Graph, StepNode
from signoff.errors import SignoffError
from signoff.model import SYSTEM, Event, EventType, HumanTask, RunState, RunStatus, TaskState
from signoff.transitions.fold import replay, transition
from signoff.transitions.runs import values_received

PEOPLE = ("ana", "ben", "cleo")
SMALL: Json = {"amount": 1}
LARGE: Json = {"amount": 9}
ENDS = {EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELED}
NEVER = "never: "
"""What a command's label begins with when it has to be refused."""

BIT = timedelta(milliseconds=1)

Command = Callable[[Desk], Desk]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A graph and what may happen around it. `depth` bounds how many things happen one after the other."""

    name: str
    graph: Graph
    depth: int
    outputs: tuple[Json, ...] = (SMALL,)
    patches: tuple[Json, ...] = ()
    people: tuple[str, ...] = PEOPLE[:2]
    withdraws: bool = False
    handles: bool = False
    cancels: bool = True
    loses_workers: bool = False


@dataclass(slots=True)
class Explored:
    """What an exploration came by."""

    states: int = 0
    operations: int = 0
    refused: int = 0
    applied: int = 0
    statuses: set[str] = field(default_factory=set)


def explore(scene: Scene, *, total: int = 0) -> Explored:
    """Reach every state within the scene's depth and check each.

    To the first `total` states every type of event is applied as well, fitting or not. Raises AssertionError with the
    way to the first bad state.
    """
    found = Explored()
    start = Desk.opened(scene.graph, LARGE)
    check(None, start)
    frontier: list[tuple[Desk, tuple[str, ...]]] = [(start, ())]
    seen = {_key(start)}
    for _ in range(scene.depth):
        following: list[tuple[Desk, tuple[str, ...]]] = []
        for desk, way in frontier:
            _visit(found, desk, total=total)
            for label, command in commands(scene, desk):
                steps = (*way, label)
                found.operations += 1
                try:
                    after = command(desk)
                    assert not label.startswith(NEVER), "it was admitted"
                    key = _key(after)
                    check(desk, after, replays=key not in seen)
                except SignoffError:
                    found.refused += 1
                    continue
                except Exception as error:
                    raise AssertionError(f"{scene.name}: {' → '.join(steps)}: {error!r}") from error
                if key not in seen:
                    seen.add(key)
                    following.append((after, steps))
        frontier = following
    for desk, _ in frontier:
        _visit(found, desk, total=total)
    return found


def _visit(found: Explored, desk: Desk, *, total: int) -> None:
    found.states += 1
    found.statuses.add(str(desk.status))
    check_timers(desk)
    if found.states <= total:
        found.applied += check_total(desk)


def commands(scene: Scene, desk: Desk) -> Iterator[tuple[str, Command]]:
    """Everything that workers, people, time and operators may try now; admission refuses some of it."""
    state = desk.state
    if state.status in (RunStatus.QUEUED, RunStatus.RETRYING):
        yield from _by_workers(scene, desk)
    for number, task in enumerate(desk.tasks):
        if task.state is TaskState.OPEN or number == len(desk.tasks) - 1:
            yield from _by_people(scene, desk, number, task)
        if task.not_before is not None and task.not_before > desk.now:
            yield f"wait for {number}", lambda d, t=task: d.at(t.not_before)
        if task.wake_at is not None:
            moment = max(task.wake_at, desk.now)
            yield f"wake {number}", lambda d, t=task, m=moment: d.at(m).fire(t)
            yield f"wake {number} late", lambda d, t=task, m=moment: d.at(m + timedelta(days=1)).fire(t)
    if scene.cancels:
        over = NEVER if state.status.finished else ""
        yield f"{over}cancel", lambda d: d.cancel()
    yield f"{'' if state.status is RunStatus.FAILED else NEVER}retry", lambda d: d.retry()
    if state.status is RunStatus.FAILED:
        for name in scene.graph.nodes:
            yield f"retry from {name}", lambda d, n=name: d.retry(n)


def _by_workers(scene: Scene, desk: Desk) -> Iterator[tuple[str, Command]]:
    moment = max(desk.now, desk.state.retry_at or desk.now)
    for output in scene.outputs:
        yield f"complete {output['amount']}", lambda d, o=output: d.at(moment).complete(o)
    yield f"{NEVER}complete another step", lambda d: d.at(moment).complete(SMALL, step="elsewhere")
    yield "fail", lambda d: d.at(moment).fail()
    yield "fail for good", lambda d: d.at(moment).fail(retryable=False)
    if scene.loses_workers:
        yield "lose the worker", lambda d: d.at(moment).lose_worker()


def _by_people(scene: Scene, desk: Desk, number: int, task: HumanTask) -> Iterator[tuple[str, Command]]:
    gate = scene.graph.gate(task.gate)
    for who in scene.people:
        over = NEVER if task.state is not TaskState.OPEN or task.pending is not None else ""
        for option in gate.options:
            yield f"{over}{who}: {option} {number}", lambda d, w=who, o=option: d.decide(w, o, task=task)
        yield f"{NEVER}{who}: nonsense {number}", lambda d, w=who: d.decide(w, "nonsense", task=task)
        if task.revision > 1:
            yield (
                f"{NEVER}{who} approves what was shown before",
                lambda d, w=who: d.decide(w, "approve", task=task, revision=task.revision - 1),
            )
        for at, patch in enumerate(scene.patches):
            yield (
                f"{who}: approve {number} with edit {at}",
                lambda d, w=who, p=patch: d.decide(w, "approve", task=task, patch=p),
            )
        if scene.withdraws:
            yield f"{who}: withdraw {number}", lambda d, w=who: d.withdraw(w, task)
        if scene.handles:
            yield f"{who}: claim {number}", lambda d, w=who: d.claim(w, task)
            yield f"{who}: release {number}", lambda d, w=who: d.release(w, task=task)


def check(before: Desk | None, after: Desk, *, replays: bool = True) -> None:
    """Everything that must hold after an operation; with `replays` also that the log as it is read back gives it."""
    state = after.state
    assert [event.seq for event in after.log] == list(range(1, len(after.log) + 1)), "the log has no gaps"
    assert state.seq == len(after.log)
    ledger = Ledger.read(after.graph, after.log)
    check_head(after.graph, state, ledger)
    if replays:
        read_back = [_through_storage(event) for event in after.log]
        assert replay(after.graph, state.run_id, read_back) == state, "the stored log replays to the head"
    for child in after.children:
        check_head(after.graph, child.state, Ledger.read(after.graph, child.log))
    if before is not None:
        _check_move(before.state, after.state, after.log[len(before.log) :])


def _check_move(before: RunState, after: RunState, events: Sequence[Event]) -> None:
    for name in ("run_id", "workflow", "version", "requester", "created_at", "labels"):
        assert getattr(before, name) == getattr(after, name), f"{name} never changes"
    if not before.status.finished:
        return
    if any(event.type is EventType.RUN_RETRIED for event in events):
        assert before.status is RunStatus.FAILED, "only a failed run is retried"
        return
    assert not {event.type for event in events} & ENDS, "a run ends once"
    for name in ("status", "node", "value", "outcome", "error", "finished_at", "feedback", "outputs"):
        assert getattr(before, name) == getattr(after, name), f"a finished run moved: {name}"


def check_timers(desk: Desk) -> None:
    """That nothing happens before its time, something at its time, and nothing more a second time."""
    for task in desk.tasks:
        assert (task.wake_at is None) or task.state is TaskState.OPEN
        if task.wake_at is None:
            assert desk.later(10**12).fire(task).log == desk.log, "nothing was to come, and something came"
            continue
        if task.wake_at > desk.now:
            assert desk.fire(task).log == desk.log, "a timer fired early"
            assert desk.at(task.wake_at - BIT).fire(task).log == desk.log, "a timer fired early"
        fired = desk.at(max(task.wake_at, desk.now)).fire(task)
        assert fired.log != desk.log, "a timer came due and nothing happened"
        assert fired.fire(task).log == fired.log, "a timer fired twice"


def check_total(desk: Desk) -> int:
    """Apply every type of event, fitting or not, and see that the transition answers each with a state.

    What is required of an event is that its data has the fields of its type, of their JSON types; the names and ids
    in it may be anything. One that does not fit changes nothing but the count, above all not a finished run.
    """
    applied = 0
    state = desk.state
    for kind in EventType:
        for data in plausible_data(desk, kind):
            event = Event(seq=state.seq + 1, type=kind, at=desk.now, actor=SYSTEM, data=data)
            after = transition(desk.graph, state, state.run_id, event)
            applied += 1
            assert after.seq == state.seq + 1
            assert after.updated_at == desk.now
            if state.status.finished and kind is not EventType.RUN_RETRIED:
                assert (after.status, after.node, after.error) == (state.status, state.node, state.error), (
                    f"{kind} moved a run that is {state.status}"
                )
            if state.status in (RunStatus.COMPLETED, RunStatus.CANCELED):
                assert after.status is state.status, f"{kind} moved a run that is {state.status}"
            for key, task in state.human_tasks.items():
                if task.outcome is not None and kind is not EventType.GATE_REVISED:
                    assert after.human_tasks[key].outcome == task.outcome, f"{kind} changed an outcome"
    return applied


def plausible_data(desk: Desk, kind: EventType) -> Iterator[dict[str, Any]]:
    """Data of the right form for an event of this type: with ids and names of this run, and with others."""
    ids = [str(task) for task in desk.state.human_tasks] + [str(UUID(int=99))]
    gates = [node.name for node in desk.graph.nodes.values() if isinstance(node, GateNode)] + ["nowhere"]
    steps = [node.name for node in desk.graph.nodes.values() if isinstance(node, StepNode)] + ["nowhere"]
    gate_names = {str(task.id): task.gate for task in desk.tasks}
    about = [{"human_task_id": each, "gate": gate_names.get(each, "nowhere")} for each in ids]
    word, payload = str(kind), {"amount": 3}
    shown: dict[str, Any] = {"payload_sha256": "0" * 64, "title": "", "why": "", "due_ms": None}
    decision: dict[str, Any] = {
        "decision_id": str(UUID(int=98)), "revision": 1, "decision": "approve", "note": None, "reason": None,
        "patch": None, "payload_sha256": "0" * 64, "on_behalf_of": None, "bulk_id": None, "release_ms": None,
    }  # fmt: skip
    match kind:
        case EventType.RUN_CREATED:
            yield dict(desk.log[0].data)
        case EventType.STEP_COMPLETED:
            yield from ({"step": name, "attempt": 1, "output": payload} for name in (*steps, *gates))
        case EventType.STEP_FAILED:
            yield from ({"step": name, "attempt": 1, "code": "x", "message": "x"} for name in steps)
        case EventType.STEP_RETRY_SCHEDULED:
            for name in (*steps, *gates):
                for delay in (0, 5):
                    yield {"step": name, "attempt": 1, "code": "x", "message": "x", "delay_ms": delay}
        case EventType.GATE_PASSED:
            yield from ({"gate": name, "payload_sha256": "0" * 64} for name in (*gates, *steps))
        case EventType.GATE_OPENED:
            empty = {"users": [], "groups": []}
            for name in (*gates, *steps):
                yield shown | {"gate": name, "human_task_id": ids[-1], "candidates": empty, "assignee": None}
        case EventType.GATE_REVISED:
            for each in about:
                yield each | shown | {"revision": 7, "restarted": True, "carried": []}
                yield each | shown | {"revision": 7, "restarted": False, "carried": [], "payload": payload}
        case EventType.DECISION_RECORDED:
            for each in about:
                yield each | decision
                yield each | decision | {"release_ms": 5}
                yield each | {"decision_id": "x", "decision": "withdraw", "withdraws": "x"}
        case EventType.GATE_DECIDED:
            for each in about:
                for option in ("approve", "reject", "request_changes", "nonsense", None):
                    by = "human" if option else "timeout"
                    told = {"option": option, "outcome": "told", "decided_by": by, "decision_ids": [], "feedback": None}
                    yield each | told
                    yield each | told | {"output": payload, "output_sha256": "0" * 64, "edited": ["amount"]}
        case EventType.GATE_REMINDED:
            yield from (each | {"rung": 0, "overdue": late} for each in about for late in (True, False))
        case EventType.GATE_ESCALATED:
            to = {"users": ["max"], "groups": []}
            for each in about:
                yield from (each | {"rung": 0, "action": action, "to": to} for action in ("escalate", "reroute"))
        case EventType.GATE_TIMED_OUT:
            yield from (each | {"action": "reject"} for each in about)
        case (
            EventType.HUMAN_TASK_CLAIMED
            | EventType.HUMAN_TASK_RELEASED
            | EventType.HUMAN_TASK_ASSIGNED
            | EventType.HUMAN_TASK_COMMENTED
        ):
            yield from (each | {"assignee": "zoe", "text": word} for each in about)
        case EventType.RUN_COMPLETED:
            yield {"outcome": word}
            yield {"outcome": word, "output": None}
        case EventType.RUN_FAILED:
            yield {"code": "x", "message": "x", "step": None, "attempt": None}
        case EventType.RUN_CANCELED:
            yield {"reason": "x", "outcome": "canceled"}
        case EventType.RUN_RETRIED:
            for name in (*steps, *gates):
                yield {"from_step": name}
                yield {"from_step": name, "value": payload}


def _through_storage(event: Event) -> Event:
    """The event as it is read back from its canonical bytes."""
    data = orjson.loads(canonical(dict(event.data)))
    return Event(seq=event.seq, type=EventType(str(event.type)), at=event.at, actor=event.actor, data=data)


def _key(desk: Desk) -> tuple[Any, ...]:
    """What tells states apart for all that can still happen: ids and numbers of events don't."""
    state = desk.state
    earlier = None
    if state.status is RunStatus.FAILED:
        earlier = canonical(values_received(desk.graph, state.run_id, desk.log))
    return (
        state.status, state.node, canonical(state.value), state.attempt, state.lost, state.outcome,
        canonical(state.feedback), tuple(sorted(state.outputs)), _since(state.retry_at), _since(desk.now), earlier,
        state.error, len(desk.children),
        tuple(_task_key(task) for task in desk.tasks),
    )  # fmt: skip


def _task_key(task: HumanTask) -> tuple[Any, ...]:
    said = tuple((d.revision, d.decision, d.actor.name, canonical(d.patch), d.withdrawn) for d in task.decisions)
    return (
        task.gate, task.state, task.revision, task.payload_sha256, task.candidates, task.assignee,
        _since(task.revised_at), _since(task.due_at), _since(task.wake_at), task.rung, task.pending,
        _since(task.release_at), task.outcome, _since(task.not_before), said,
    )  # fmt: skip


def _since(moment: datetime | None) -> float | None:
    return None if moment is None else (moment - START).total_seconds()


__all__ = ["LARGE", "SMALL", "Explored", "Scene", "check", "explore", "person"]
