"""Random workflows and random things that happen to them, for whatever can run them."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal, Protocol

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.unit.transitions.reference import Asked, GateSpec, Reference, Refused, Spec, StepSpec, build

from signoff.definition.graph import Graph
from signoff.errors import Conflict, InvalidInput
from signoff.model import RunState

PEOPLE = ("ana", "ben", "cleo")


class Driver(Protocol):
    """What carries out what the machine thinks of. Human tasks are counted from 0, oldest first."""

    def complete(self, amount: int) -> None: ...
    def fail(self, *, retryable: bool) -> None: ...
    def lose_worker(self) -> None: ...
    def decide(self, task: int, who: str, option: str, edit: int | None) -> None: ...
    def decide_on_an_old_view(self, task: int, who: str) -> None: ...
    def withdraw(self, task: int, who: str) -> None: ...
    def cancel(self) -> None: ...
    def retry(self, name: str | None) -> None: ...
    def wait(self, minutes: int) -> None: ...
    def sweep(self) -> None: ...
    def state(self) -> RunState: ...


def _step(name: str) -> st.SearchStrategy[Spec]:
    return st.builds(
        StepSpec,
        name=st.just(name),
        irreversible=st.booleans(),
        keyed=st.booleans(),
        attempts=st.integers(1, 3),
    )


def _gate(name: str, *, drafts: bool) -> st.SearchStrategy[Spec]:
    def made(after: bool, due: int | None, on_timeout: Literal["reject", "cancel", "fail"] | None, **rest: Any) -> Spec:
        quiet = None if due is None or (after and on_timeout in ("cancel", "fail")) else on_timeout
        changes = rest.pop("changes") and drafts and not after
        return GateSpec(name=name, after=after, due=due, on_timeout=quiet, changes=changes, **rest)

    return st.builds(
        made,
        after=st.sampled_from([False, False, False, True]),
        approvals=st.integers(1, 3),
        reject_after=st.integers(1, 2),
        threshold=st.sampled_from([None, None, 5]),
        changes=st.sampled_from([True, True, False]),
        due=st.sampled_from([None, 30, 60]),
        on_timeout=st.sampled_from([None, "reject", "cancel", "fail"]),
        remind=st.sampled_from([None, 20, 45]),
        grace=st.sampled_from([0, 0, 10]),
        editable=st.booleans(),
    )


@st.composite
def lines(draw: st.DrawFn) -> list[Spec]:
    """A draft (perhaps), then up to three more nodes."""
    drafts = draw(st.sampled_from([True, True, True, True, False]))
    specs: list[Spec] = [StepSpec(name="draft", attempts=draw(st.integers(1, 2)))] if drafts else []
    for number in range(draw(st.integers(1, 3))):
        gate = _gate(f"gate{number}", drafts=drafts)
        specs.append(draw(gate if draw(st.integers(0, 2)) else _step(f"step{number}")))
    return specs


AMOUNTS = st.integers(1, 9)


class RandomRuns(RuleBasedStateMachine):
    """Compares a driver with the reference after every operation."""

    @abstractmethod
    def driver(self, graph: Graph, amount: int) -> Driver:
        """What is tested: a run of `graph` that has just been started."""

    @initialize(specs=lines(), amount=AMOUNTS)
    def start(self, specs: list[Spec], amount: int) -> None:
        self.expected = Reference(specs, amount)
        self.tested = self.driver(build(specs), amount)

    def _both(self, expected: Callable[[], None], tested: Callable[[], None]) -> None:
        """Do it to both; where one refuses, the other has to refuse for the same reason."""
        refusal = None
        try:
            expected()
        except Refused as error:
            refusal = {"conflict": Conflict, "invalid": InvalidInput}[error.why]
        refused: Exception | None = None
        try:
            tested()
        except (Conflict, InvalidInput) as error:
            refused = error
        assert (type(refused) if refused else None) is refusal, f"{refused!r}, expected {refusal}"

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        """One of the things that make sense now, and now and then one that does not."""
        expected = self.expected
        happens = [self.time_passes] * 2 + [self.somebody_cancels]
        if expected.working:
            happens += [self.a_step_completes] * 5 + [self.a_step_fails, self.a_worker_is_lost]
        if expected.tasks:
            is_open = any(task.state == "open" for task in expected.tasks)
            happens += [self.somebody_decides] * (7 if is_open else 1) + [self.somebody_takes_it_back]
        if any(task.revision > 1 and task.state == "open" for task in expected.tasks):
            happens.append(self.somebody_decides_on_what_was_shown_before)
        if expected.status in ("failed", "completed", "canceled"):
            happens += [self.somebody_retries] * (4 if expected.status == "failed" else 1)
        data.draw(st.sampled_from(happens))(data)

    def a_step_completes(self, data: st.DataObject) -> None:
        amount = data.draw(AMOUNTS)
        self._both(lambda: self.expected.complete(amount), lambda: self.tested.complete(amount))

    def a_step_fails(self, data: st.DataObject) -> None:
        retryable = data.draw(st.booleans())
        self._both(lambda: self.expected.fail(retryable=retryable), lambda: self.tested.fail(retryable=retryable))

    def a_worker_is_lost(self, _data: st.DataObject) -> None:
        self._both(self.expected.lose_worker, self.tested.lose_worker)

    def somebody_decides(self, data: st.DataObject) -> None:
        number, task = self._which(data)
        options = ["approve", "approve", "reject"] + ["request_changes"] * (2 if task.spec.changes else 1)
        who, option = data.draw(st.sampled_from(PEOPLE)), data.draw(st.sampled_from(options))
        edit = data.draw(st.sampled_from([None, None, None, 1, 3, 7]))
        self._both(
            lambda: self.expected.decide(task, who, option, edit),
            lambda: self.tested.decide(number, who, option, edit),
        )

    def somebody_decides_on_what_was_shown_before(self, data: st.DataObject) -> None:
        number, task = self._which(data)
        who = data.draw(st.sampled_from(PEOPLE))
        if task.revision > 1 and task.state == "open" and not task.pending and who not in task.votes:
            self.tested.decide_on_an_old_view(number, who)

    def somebody_takes_it_back(self, data: st.DataObject) -> None:
        number, task = self._which(data)
        who = data.draw(st.sampled_from(sorted(task.votes) or PEOPLE))
        self._both(lambda: self.expected.withdraw(task, who), lambda: self.tested.withdraw(number, who))

    def time_passes(self, data: st.DataObject) -> None:
        minutes = data.draw(st.sampled_from([0, 1, 10, 25, 60]))
        self.expected.now += minutes
        self.tested.wait(minutes)
        self._both(self.expected.sweep, self.tested.sweep)

    def somebody_cancels(self, data: st.DataObject) -> None:
        if data.draw(st.integers(0, 4)) == 4:
            self._both(self.expected.cancel, self.tested.cancel)

    def somebody_retries(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([None, None, *self.expected.names]))
        self._both(lambda: self.expected.retry(name), lambda: self.tested.retry(name))

    def _which(self, data: st.DataObject) -> tuple[int, Asked]:
        """An open human task mostly, and any other now and then."""
        tasks = list(enumerate(self.expected.tasks))
        likely = [each for each in tasks if each[1].state == "open"] * 5
        return data.draw(st.sampled_from(likely + tasks))

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "tested"):
            return
        expected, state = self.expected, self.tested.state()
        assert coarse(str(state.status)) == coarse(expected.status)
        assert state.node == expected.names[expected.at]
        assert state.value == (None if expected.amount is None else {"amount": expected.amount})
        assert state.outcome == expected.outcome
        assert (state.error.code if state.error else None) == expected.error
        assert (state.attempt, state.lost) == (expected.attempt, expected.lost) or state.status.finished
        tasks = list(state.human_tasks.values())
        assert len(tasks) == len(expected.tasks)
        for task, asked in zip(tasks, expected.tasks, strict=True):
            assert (task.gate, str(task.state), task.outcome) == (asked.spec.name, asked.state, asked.outcome)
            assert (task.revision, task.payload) == (asked.revision, {"amount": asked.amount})
            assert task.pending == asked.pending
            if asked.state == "open":
                votes = {decision.actor.name: decision.decision for decision in task.current_decisions}
                assert votes == {who: option for who, (option, _) in asked.votes.items()}


def coarse(status: str) -> str:
    """The status as the log knows it: that a retry has come due is known to the row alone."""
    return "queued" if status == "retrying" else status


def examples(few: int) -> settings:
    """Few examples by default; `SIGNOFF_TEST_EXAMPLES` asks for more."""
    wanted = int(os.environ.get("SIGNOFF_TEST_EXAMPLES", few))
    # Explaining a failure takes longer than reading it.
    phases = [phase for phase in Phase if phase is not Phase.explain]
    return settings(max_examples=wanted, stateful_step_count=30, phases=phases)
