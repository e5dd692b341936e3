"""The engine in memory: runs, their logs, and a clock that only a test moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from signoff.authority import admitting
from signoff.canonical import Json, canonical
from signoff.definition.graph import Graph
from signoff.definition.schemas import validate
from signoff.errors import FieldError, InvalidInput, StepError, TooLarge
from signoff.ids import new_id
from signoff.model import GENESIS_HASH, Actor, Event, HumanTask, RunState, RunStatus, TaskState, event_hash
from signoff.testing.people import People
from signoff.testing.staff import KnownStaff
from signoff.testing.stepping import Steps, failure_of
from signoff.transitions import runs, steps, timers
from signoff.transitions.above import above_of, asked_anew, in_own_right, put_above
from signoff.transitions.fold import Fold, replay
from signoff.transitions.steps import Failure

MAX_PAYLOAD_BYTES = 262_144
"""Largest input, output or payload: what SIGNOFF_MAX_PAYLOAD_BYTES is in production unless it is set."""


@dataclass(slots=True, kw_only=True)
class Record:
    """One run: its state, and its log with each event's data as the bytes that a database would keep."""

    state: RunState
    log: list[tuple[Event, bytes]] = field(default_factory=list)
    children: list[UUID] = field(default_factory=list)

    def events(self) -> list[Event]:
        """The log, read anew: what is changed in it changes nothing here."""
        return [replace(event, data=orjson.loads(data)) for event, data in self.log]


class Simulation:
    """Runs of one graph. Every change goes through `save`, as every change of the engine goes through a transaction."""

    def __init__(self, graph: Graph, functions: Steps, *, now: datetime, auto_retry: bool, people: People) -> None:
        # The stored form, because that is what the API and the workers of production read.
        self.graph = Graph.from_json(orjson.loads(canonical(graph.to_json())))
        self.now = now
        self.records: dict[UUID, Record] = {}
        self._people = people
        self._staff = KnownStaff(people, self._human_tasks)
        self._functions = functions
        self._auto_retry = auto_retry

    def _human_tasks(self) -> Iterator[HumanTask]:
        return (task for record in self.records.values() for task in record.state.human_tasks.values())

    def start(self, value: Json, *, requester: Actor, labels: Mapping[str, str], run_id: UUID | None) -> UUID:
        """Create a run and answer its id. Raises InvalidInput with the path of each bad field, or TooLarge."""
        value = bounded(value, "input")
        errors = validate(self.graph.input_schema, value)
        if errors:
            raise InvalidInput(
                errors=[
                    FieldError(path=f"/input{error.path}", message=error.message, fix=error.fix) for error in errors
                ]
            )
        fold = runs.create(
            self.graph,
            run_id=run_id or new_id(),
            version=1,
            value=value,
            requester=requester,
            labels=labels,
            now=self.now,
            new_id=new_id,
            staff=self._staff,
        )
        self.save(fold)
        return fold.run_id

    def fold(self, run_id: UUID) -> Fold:
        """A batch of events on a run, for `save`."""
        record = self.records[run_id]
        history, staff = record.events, self._staff
        return Fold(self.graph, record.state, run_id=run_id, now=self.now, history=history, staff=staff)

    def save(self, fold: Fold) -> None:
        """Append a batch to its run's log and start the runs that it calls for."""
        self._ask_above(fold)
        record = self.records.setdefault(fold.run_id, Record(state=fold.state))
        record.log += [(replace(event, data={}), orjson.dumps(event.data)) for event in fold.events]
        record.state = fold.state
        self.check(fold.run_id)
        for event in fold.events:
            if "compensation_run_id" in event.data:
                self._compensate(record, event)

    def _ask_above(self, fold: Fold) -> None:
        """Ask those above where too few may approve, as `engine.authority` does."""
        for gate, task in asked_anew(fold):
            barred = fold.state.requester.id if gate.four_eyes else None
            found = admitting(self._people.limits, self.graph, gate, task.payload)
            asked = in_own_right(fold, task)
            if self._people.able(asked, found, barred=barred, enough=gate.approvals):
                continue
            everybody = asked.with_(above_of(self.graph, gate, task.payload))
            reached = self._people.able(everybody, found, barred=barred, enough=gate.approvals)
            put_above(fold, gate, task, reached=reached)

    def check(self, run_id: UUID) -> None:
        """Raise AssertionError unless the run's log has canonical bytes and replays to its state."""
        record = self.records[run_id]
        events = record.events()
        before = GENESIS_HASH
        for event in events:
            before = event_hash(run_id, event, before)
        replayed = replay(self.graph, run_id, events)
        for name in RunState.__slots__:
            found, expected = getattr(record.state, name), getattr(replayed, name)
            if found != expected:
                raise AssertionError(f"run {run_id}: its {name} is {found!r}, and its log comes to {expected!r}")
        # From here on the state shares nothing with what a step or a test holds in its hands.
        record.state = replayed

    def settle(self) -> None:
        """Run steps until every run is parked, finished or, with `auto_retry` off, waits for its next try."""
        self._work()
        while self._auto_retry:
            coming = [
                record.state.retry_at
                for record in self.records.values()
                if record.state.status is RunStatus.RETRYING and record.state.retry_at is not None
            ]
            if not coming:
                return
            self._move_to(min(coming))

    def skip(self, ms: int) -> None:
        """Move the clock on and do everything that comes due on the way, each thing at its own moment."""
        self._move_to(self.now + timedelta(milliseconds=ms))
        self.settle()

    def values(self, run_id: UUID) -> dict[str, Json]:
        """The latest output of each step and gate of a run, copied."""
        record = self.records[run_id]
        events = record.events()
        found: dict[str, Json] = {}
        for name, seq in record.state.outputs.items():
            data = events[seq - 1].data
            found[name] = data["carried"][name] if "carried" in data else data["output"]
        return found

    def _move_to(self, until: datetime) -> None:
        while due := min(self._due(until), key=_moment, default=None):
            at, run_id, human_task_id = due
            self.now = max(self.now, at)
            if human_task_id is None:
                self._attempt(run_id)
            else:
                fold = self.fold(run_id)
                timers.fire(fold, fold.state.human_tasks[human_task_id], new_id)
                assert fold.events, f"human task {human_task_id} asked to be looked at and had nothing to do"
                self.save(fold)
            self._work()
        self.now = max(self.now, until)

    def _due(self, until: datetime) -> Iterator[tuple[datetime, UUID, UUID | None]]:
        """What comes due by `until`: tries of runs, and human tasks by their id."""
        for run_id, record in self.records.items():
            state = record.state
            if state.status is RunStatus.RETRYING and state.retry_at is not None and state.retry_at <= until:
                yield state.retry_at, run_id, None
            for task in state.human_tasks.values():
                if task.state is TaskState.OPEN and task.wake_at is not None and task.wake_at <= until:
                    yield task.wake_at, run_id, task.id

    def _work(self) -> None:
        while ready := next((key for key, one in self.records.items() if one.state.status is RunStatus.QUEUED), None):
            self._attempt(ready)

    def _attempt(self, run_id: UUID) -> None:
        """One try at the step a run stands at."""
        state = self.records[run_id].state
        assert state.node is not None  # a run that is queued stands at a step
        node = self.graph.step(state.node)
        available = self.values(run_id) | {"input": self.records[run_id].events()[0].data["input"]}
        # The same key for every try at this visit of the step, and for no other: as `engine.execution` makes it.
        key = f"{run_id}:{node.name}:{state.outputs.get(node.name, 0)}"
        handed = replay(self.graph, run_id, self.records[run_id].events())
        result = self._functions.attempt(node, handed, key, available)
        if not isinstance(result, Failure):
            result = _kept(node.name, result)
        fold = self.fold(run_id)
        if isinstance(result, Failure):
            steps.failed(fold, step=node.name, failure=result, random=0.0)
        else:
            steps.complete(fold, step=node.name, output=result, new_id=new_id)
        self.save(fold)

    def _compensate(self, parent: Record, event: Event) -> None:
        """Start the run that a late rejection calls for, as `engine.core` does."""
        state = parent.state
        task = state.human_tasks[UUID(event.data["human_task_id"])]
        fold = runs.create_branch(
            self.graph,
            state,
            run_id=UUID(event.data["compensation_run_id"]),
            entry=event.data["compensation_entry"],
            value=event.data.get("output", task.payload),
            run_input=parent.events()[0].data["input"],
            carried=self.values(state.run_id),
            feedback=event.data["feedback"],
            human_task_id=task.id,
            now=self.now,
            new_id=new_id,
            staff=self._staff,
        )
        parent.children.append(fold.run_id)
        self.save(fold)


def _moment(due: tuple[datetime, UUID, UUID | None]) -> datetime:
    return due[0]


def bounded(value: Json, what: str) -> Json:
    """A copy of a JSON value. Raises InvalidInput where it has no canonical form, TooLarge beyond the limit."""
    try:
        size = len(canonical(value))
        copied = orjson.loads(orjson.dumps(value))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInput(f"{what} has a value that JSON can't carry exactly: {error}") from error
    if size > MAX_PAYLOAD_BYTES:
        raise TooLarge(
            f"{what} is {size} bytes; the limit is {MAX_PAYLOAD_BYTES}",
            fix="pass a reference (a key or a URL) and let the step fetch it",
        )
    return copied


def _kept(step: str, output: Json) -> Json | Failure:
    try:
        return bounded(output, f"the output of step {step!r}")
    except InvalidInput as error:
        return failure_of(StepError(error.detail, code="output_invalid", fix=error.fix), retryable=False)
