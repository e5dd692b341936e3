"""What a test holds of a run: what it looks at, and what people do to it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from signoff.authorization import Action, HumanTaskFacts, RunFacts, authorize
from signoff.canonical import Json
from signoff.durations import parse_duration
from signoff.errors import NotFound
from signoff.ids import new_id
from signoff.model import Candidates, Event, HumanTask, RunError, RunState, RunStatus, TaskState
from signoff.testing.people import People
from signoff.testing.simulation import Simulation, bounded
from signoff.transitions import collaboration, decisions, runs
from signoff.transitions.decisions import DecisionRequest
from signoff.transitions.edits import merge_patch
from signoff.transitions.fold import Fold, replay
from signoff.transitions.seats import expect_own_seat


class Run:
    """One run under test. `testing.run` makes it.

    Whatever changes it goes on until the next stop and returns the run itself. What is read is read from the log, so
    a test may keep it and change it as it likes.
    """

    def __init__(self, simulation: Simulation, people: People, run_id: UUID) -> None:
        self._simulation = simulation
        self._people = people
        self.id = run_id

    def __repr__(self) -> str:
        state = self.state
        at = "" if state.status.finished else f" at {state.node!r}"
        why = f": {state.error.message}" if state.error is not None else ""
        return f"<Run of {state.workflow!r}, {state.status}{at}{why}>"

    # What it is -------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The virtual time, in UTC."""
        return self._simulation.now

    @property
    def state(self) -> RunState:
        """Everything the log comes to."""
        return replay(self._simulation.graph, self.id, self.events)

    @property
    def events(self) -> list[Event]:
        """The log, oldest first."""
        return self._simulation.records[self.id].events()

    @property
    def status(self) -> RunStatus:
        """`waiting`, `retrying`, `completed`, `failed` or `canceled`; equal to the text."""
        return self.state.status

    @property
    def node(self) -> str | None:
        """The step or gate it stands at; the last one when it has finished."""
        return self.state.node

    @property
    def output(self) -> Any:
        """What the last step returned, as JSON; None unless the run is completed."""
        state = self.state
        return state.value if state.status is RunStatus.COMPLETED else None

    @property
    def outputs(self) -> dict[str, Any]:
        """The latest output of each step, and of each gate where the payload was edited."""
        return self._simulation.values(self.id)

    @property
    def outcome(self) -> str | None:
        """What the last gate concluded (`approved`, `rejected`, an option's name), or `completed` without one."""
        return self.state.outcome

    @property
    def error(self) -> RunError | None:
        """Why it failed."""
        return self.state.error

    @property
    def tasks(self) -> list[HumanTask]:
        """Every human task of the run, oldest first."""
        return list(self.state.human_tasks.values())

    @property
    def task(self) -> HumanTask:
        """The human task that is open: the one the run waits for, or the one that stays beside it.

        Raises NotFound when there is none, or when several stay beside the run.
        """
        return self._open(None)

    @property
    def children(self) -> list[Run]:
        """The runs that late rejections started, oldest first. They share the clock."""
        found = self._simulation.records[self.id].children
        return [Run(self._simulation, self._people, child) for child in found]

    # What time does ---------------------------------------------------------------------------------------------

    def skip(self, duration: str | timedelta) -> Run:
        """Move the clock on and do all that comes due on the way, in order and each at its own moment.

        `duration` is like `2h` or a timedelta. Raises ValueError when it is none.
        """
        ms = parse_duration(duration) if isinstance(duration, str) else round(duration.total_seconds() * 1000)
        if ms < 0:
            raise ValueError("the clock does not go back")
        self._simulation.skip(ms)
        return self

    # What people do ---------------------------------------------------------------------------------------------

    def decide(
        self,
        decision: str,
        *,
        by: str = "reviewer",
        note: str | None = None,
        reason: str | None = None,
        patch: Json | None = None,
        gate: str | None = None,
        revision: int | None = None,
        payload_sha256: str | None = None,
        on_behalf_of: str | None = None,
    ) -> Run:
        """Decide the open human task (of `gate`, where several are open) as the person `by`.

        The person has seen what is there now, unless `revision` or `payload_sha256` says what they saw. The same words
        by the same person again do nothing. Raises what the engine does: Forbidden, Conflict, StaleView, InvalidInput.
        """
        task = self._decidable(gate)
        person = self._people.person(by, task.candidates)
        if revision is None and payload_sha256 is None:
            revision = task.revision
        request = DecisionRequest(
            decision=decision,
            note=note,
            reason=reason,
            patch=None if patch is None else bounded(patch, "patch"),
            payload_sha256=payload_sha256,
            revision=revision,
            on_behalf_of=on_behalf_of,
        )
        fold = self._fold()
        authorize(person, Action.DECIDE, _facts(fold, task))
        if decisions.replayed(task, request, person.actor) is not None:
            return self
        if task.state is TaskState.OPEN and task.pending is None:
            find = self._people.person
            expect_own_seat(
                fold, task, by=person, acts_for=None, find=lambda names: [find(each, task.candidates) for each in names]
            )
        if isinstance(request.patch, dict):
            bounded(merge_patch(task.payload, request.patch), "the edited payload")
        held = self._people.held(person)
        lent = self._people.lent(fold, task, person)
        decisions.decide(fold, task, request, actor=person.actor, new_id=new_id, held=held, lent=lent)
        return self._save(fold)

    def withdraw(self, *, by: str = "reviewer", gate: str | None = None) -> Run:
        """Take one's own decision back while its grace lasts. Raises Conflict when it is too late."""
        task = self._decidable(gate)
        fold = self._fold()
        person = self._people.person(by, task.candidates)
        authorize(person, Action.DECIDE, _facts(fold, task))
        decisions.withdraw(fold, task, actor=person.actor)
        return self._save(fold)

    def claim(self, *, by: str = "reviewer", gate: str | None = None) -> Run:
        """Take the open human task for oneself. Raises Conflict when another holds it."""
        task = self._decidable(gate)
        fold = self._fold()
        person = self._people.person(by, task.candidates)
        authorize(person, Action.CLAIM, _facts(fold, task))
        collaboration.claim(fold, task, actor=person.actor)
        return self._save(fold)

    def release(self, *, by: str = "reviewer", gate: str | None = None) -> Run:
        """Give the human task back. Raises Conflict when another holds it."""
        task = self._decidable(gate)
        fold = self._fold()
        person = self._people.person(by, task.candidates)
        authorize(person, Action.READ_HUMAN_TASK, _facts(fold, task))
        collaboration.release(fold, task, actor=person.actor, may_release_for_others=False)
        return self._save(fold)

    def assign(self, assignee: str, *, by: str = "reviewer", gate: str | None = None) -> Run:
        """Hand the human task to a candidate. Raises InvalidInput when they are none."""
        task = self._decidable(gate)
        fold = self._fold()
        person = self._people.person(by, task.candidates)
        authorize(person, Action.ASSIGN, _facts(fold, task))
        found = self._people.known(assignee, task.candidates)
        collaboration.assign(fold, task, assignee=found, name=assignee, actor=person.actor)
        return self._save(fold)

    def comment(self, text: str, *, by: str = "reviewer", gate: str | None = None) -> Run:
        """Say something about the human task, in the log."""
        task = self._decidable(gate)
        fold = self._fold()
        person = self._people.person(by, task.candidates)
        authorize(person, Action.COMMENT, _facts(fold, task))
        collaboration.comment(fold, task, text=text, actor=person.actor)
        return self._save(fold)

    def cancel(self, reason: str, *, by: str | None = None) -> Run:
        """Cancel the run and its open human tasks, as its requester or `by`. Raises Conflict when it has finished."""
        fold = self._fold()
        facts = _run_facts(fold)
        person = self._people.person(by or self._people.requester.name, facts.candidates)
        authorize(person, Action.CANCEL_RUN, facts)
        runs.cancel(fold, reason=reason, actor=person.actor)
        return self._save(fold)

    def retry(self, from_step: str | None = None, *, by: str | None = None) -> Run:
        """Let a failed run go on from the failed step, or an earlier one. Raises Conflict when it has not failed."""
        fold = self._fold()
        facts = _run_facts(fold)
        person = self._people.person(by or self._people.requester.name, facts.candidates)
        authorize(person, Action.RETRY_RUN, facts)
        runs.retry(fold, from_step=from_step, history=self.events, actor=person.actor, new_id=new_id)
        return self._save(fold)

    # What holds it together -------------------------------------------------------------------------------------

    def check(self) -> Run:
        """Replay the log and compare it with the state; every operation has done so already.

        Raises AssertionError with the first thing that differs.
        """
        self._simulation.check(self.id)
        for child in self.children:
            child.check()
        return self

    def _fold(self) -> Fold:
        return self._simulation.fold(self.id)

    def _save(self, fold: Fold) -> Run:
        if fold.events:
            self._simulation.save(fold)
            self._simulation.settle()
        return self

    def _open(self, gate: str | None) -> HumanTask:
        state = self.state
        found = [
            task
            for task in state.human_tasks.values()
            if task.state is TaskState.OPEN and (gate is None or task.gate == gate)
        ]
        awaited = [task for task in found if task.mode == "before"]
        if awaited:
            return awaited[-1]
        if len(found) == 1:
            return found[0]
        if found:
            gates = ", ".join(sorted({task.gate for task in found}))
            raise NotFound(f"several human tasks are open, at {gates}", fix="pass gate=…, or look at r.tasks")
        at = f" at gate {gate!r}" if gate is not None else ""
        raise NotFound(f"no human task is open{at}: {self!r}")

    def _decidable(self, gate: str | None) -> HumanTask:
        """The open human task or, so that a late decision is answered as late, the last one there was."""
        past = [task for task in self.tasks if gate in (None, task.gate)]
        if past and all(task.state is not TaskState.OPEN for task in past):
            return past[-1]
        return self._open(gate)


def _facts(fold: Fold, task: HumanTask) -> HumanTaskFacts:
    return HumanTaskFacts(
        workflow=fold.state.workflow,
        requester_id=fold.state.requester.id,
        candidates=task.candidates,
        assignee=task.assignee,
        four_eyes=fold.graph.gate(task.gate).four_eyes,
    )


def _run_facts(fold: Fold) -> RunFacts:
    candidates = Candidates()
    for task in fold.state.human_tasks.values():
        candidates = candidates.with_(task.candidates)
    state = fold.state
    return RunFacts(workflow=state.workflow, requester_id=state.requester.id, candidates=candidates)
