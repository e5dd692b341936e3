"""One run in memory, on a clock that the test moves. Every operation goes through the real admission."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from signoff.canonical import Json
from signoff.definition.graph import Graph
from signoff.model import Actor, Decision, Event, EventType, HumanTask, RunState, RunStatus, TaskState
from signoff.transitions import collaboration, decisions, runs, steps, timers
from signoff.transitions.decisions import Conclusion, DecisionRequest
from signoff.transitions.fold import Fold
from signoff.transitions.steps import Failure

START = datetime(2030, 1, 7, 9, tzinfo=UTC)
RUN_ID = UUID(int=0xA)
REQUESTER = Actor(type="service", id="requester-id", name="requester")


def person(name: str) -> Actor:
    """A user; the same name is the same person."""
    return Actor(type="user", id=f"{name}-id", name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A run that a late rejection started."""

    state: RunState
    log: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A run with its log at one moment. Operations give a new desk and leave this one as it is."""

    graph: Graph
    now: datetime
    state: RunState
    log: tuple[Event, ...]
    children: tuple[Child, ...] = ()
    last: Any = None

    @classmethod
    def opened(cls, graph: Graph, value: Json, *, now: datetime = START) -> Desk:
        """A run of `graph` just started with `value`."""
        fold = runs.create(
            graph,
            run_id=RUN_ID,
            version=1,
            value=value,
            requester=REQUESTER,
            labels={"team": "blue"},
            now=now,
            new_id=_ids(0),
        )
        return cls(graph=graph, now=now, state=fold.state, log=tuple(fold.events))

    # What is there ----------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> list[HumanTask]:
        return list(self.state.human_tasks.values())

    @property
    def task(self) -> HumanTask:
        """The only open human task."""
        (found,) = [task for task in self.tasks if task.state is TaskState.OPEN]
        return found

    @property
    def status(self) -> RunStatus:
        return self.state.status

    def events(self, *kinds: EventType) -> list[Event]:
        return [event for event in self.log if event.type in kinds]

    # What happens -----------------------------------------------------------------------------------------------

    def do(self, command: Callable[[Fold, Callable[[], UUID]], Any]) -> Desk:
        """What `command` makes of the run; nothing when it raises."""
        fold = Fold(self.graph, self.state, run_id=self.state.run_id, now=self.now, history=lambda: self.log)
        new_id = _ids(self.state.seq)
        result = command(fold, new_id)
        children = tuple(
            _branch(self, fold, event, new_id) for event in fold.events if "compensation_run_id" in event.data
        )
        return replace(
            self,
            now=fold.now,
            state=fold.state,
            log=self.log + tuple(fold.events),
            children=self.children + children,
            last=result,
        )

    def later(self, ms: float) -> Desk:
        return replace(self, now=self.now + timedelta(milliseconds=ms))

    def at(self, moment: datetime) -> Desk:
        return replace(self, now=moment)

    def complete(self, output: Json, step: str | None = None) -> Desk:
        name = step or self.state.node or ""
        return self.do(lambda fold, new_id: steps.complete(fold, step=name, output=output, new_id=new_id))

    def fail(self, *, retryable: bool = True, random: float = 0.0, code: str = "step_raised") -> Desk:
        failure = Failure(code=code, message="it broke", trace="Traceback …", retryable=retryable)
        return self.do(lambda fold, _: steps.failed(fold, step=self.state.node or "", failure=failure, random=random))

    def lose_worker(self, *, max_lost: int = 2) -> Desk:
        return self.do(lambda fold, _: steps.worker_lost(fold, max_lost=max_lost))

    def decide(self, who: str, decision: str, *, task: HumanTask | None = None, **said: Any) -> Desk:
        """What `who` says of the payload as it is shown now, unless `payload_sha256` or `revision` say otherwise."""
        on = task or self.task
        if not said.keys() & {"payload_sha256", "revision"}:
            said["payload_sha256"] = on.payload_sha256
        request = DecisionRequest(decision=decision, **said)
        return self.do(
            lambda fold, new_id: decisions.decide(
                fold, fold.state.human_tasks[on.id], request, actor=person(who), new_id=new_id
            )
        )

    def withdraw(self, who: str, task: HumanTask | None = None) -> Desk:
        on = task or self.task
        return self.do(lambda fold, _: decisions.withdraw(fold, fold.state.human_tasks[on.id], actor=person(who)))

    def fire(self, task: HumanTask | None = None) -> Desk:
        """The sweep looks at the human task."""
        on = task or self.task
        return self.do(lambda fold, new_id: timers.fire(fold, fold.state.human_tasks[on.id], new_id))

    def claim(self, who: str, task: HumanTask | None = None) -> Desk:
        on = task or self.task
        return self.do(lambda fold, _: collaboration.claim(fold, fold.state.human_tasks[on.id], actor=person(who)))

    def release(self, who: str, *, may_release_for_others: bool = False, task: HumanTask | None = None) -> Desk:
        on = task or self.task
        return self.do(
            lambda fold, _: collaboration.release(
                fold,
                fold.state.human_tasks[on.id],
                actor=person(who),
                may_release_for_others=may_release_for_others,
            )
        )

    def cancel(self, who: str = "boss") -> Desk:
        return self.do(lambda fold, _: runs.cancel(fold, reason="enough", actor=person(who)))

    def retry(self, from_step: str | None = None, who: str = "boss") -> Desk:
        return self.do(
            lambda fold, new_id: runs.retry(
                fold, from_step=from_step, history=self.log, actor=person(who), new_id=new_id
            )
        )

    @property
    def recorded(self) -> Decision:
        """The decision that was recorded last."""
        found: Decision = self.last[0]
        return found

    @property
    def concluded(self) -> Conclusion | None:
        """What the gate concluded from the last decision, if it did."""
        found: Conclusion | None = self.last[1]
        return found


def _ids(seq: int) -> Callable[[], UUID]:
    """Ids that depend on the length of the log alone, so that the same history always has the same ids."""
    count = 0

    def new_id() -> UUID:
        nonlocal count
        count += 1
        return UUID(int=(seq << 16) + count)

    return new_id


def _branch(desk: Desk, fold: Fold, event: Event, new_id: Callable[[], UUID]) -> Child:
    """The run that the engine starts for a late rejection, with what it hands over."""
    data = event.data
    task = fold.state.human_tasks[UUID(data["human_task_id"])]
    by_seq = {entry.seq: entry for entry in (*desk.log, *fold.events)}
    child = runs.create_branch(
        desk.graph,
        fold.state,
        run_id=UUID(data["compensation_run_id"]),
        entry=data["compensation_entry"],
        value=data.get("output", task.payload),
        run_input=desk.log[0].data["input"],
        carried={name: by_seq[seq].data["output"] for name, seq in fold.state.outputs.items()},
        feedback=data["feedback"],
        human_task_id=task.id,
        now=fold.now,
        new_id=new_id,
    )
    return Child(state=child.state, log=tuple(child.events))
