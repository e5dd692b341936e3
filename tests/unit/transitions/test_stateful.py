"""Random workflows, random people, random time: the transitions against the reference."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.mutants import mutate
from tests.unit.transitions.desk import Desk
from tests.unit.transitions.exploration import check
from tests.unit.transitions.random_runs import Driver, RandomRuns, examples
from tests.unit.transitions.reference import MAX_LOST, MINUTE

from signoff.definition.graph import Graph
from signoff.errors import StaleView
from signoff.model import RunState
from signoff.transitions import decisions, fold, timers


class InMemory:
    """A desk as the machine's driver."""

    def __init__(self, graph: Graph, amount: int) -> None:
        self.desk = Desk.opened(graph, {"amount": amount})
        check(None, self.desk)

    def _to(self, desk: Desk) -> None:
        check(self.desk, desk)
        self.desk = desk

    def complete(self, amount: int) -> None:
        self._to(self.desk.complete({"amount": amount}))

    def fail(self, *, retryable: bool) -> None:
        self._to(self.desk.fail(retryable=retryable))

    def lose_worker(self) -> None:
        self._to(self.desk.lose_worker(max_lost=MAX_LOST))

    def decide(self, task: int, who: str, option: str, edit: int | None) -> None:
        patch = None if edit is None else {"amount": edit}
        self._to(self.desk.decide(who, option, task=self.desk.tasks[task], patch=patch))

    def decide_on_an_old_view(self, task: int, who: str) -> None:
        shown = self.desk.tasks[task]
        with pytest.raises(StaleView):
            self.desk.decide(who, "approve", task=shown, revision=shown.revision - 1)

    def withdraw(self, task: int, who: str) -> None:
        self._to(self.desk.withdraw(who, self.desk.tasks[task]))

    def cancel(self) -> None:
        self._to(self.desk.cancel())

    def retry(self, name: str | None) -> None:
        self._to(self.desk.retry(name))

    def wait(self, minutes: int) -> None:
        self.desk = self.desk.later(minutes * MINUTE)

    def sweep(self) -> None:
        for task in self.desk.tasks:
            self._to(self.desk.fire(task))

    def state(self) -> RunState:
        return self.desk.state


class RandomRunsInMemory(RandomRuns):
    def driver(self, graph: Graph, amount: int) -> Driver:
        return InMemory(graph, amount)


TestRandomRuns = RandomRunsInMemory.TestCase
TestRandomRuns.settings = examples(100)


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        (decisions._is_satisfied, "count >= (gate", "count + 1 >= (gate"),
        (decisions._expect_undecided, "not decision.seats.isdisjoint(seats)", "False"),
        (fold._gate_decided, 'if "value" in event.data:', "if False:"),
        (timers.fire, "task.wake_at > fold.now", "False"),
    ],
    ids=["quorum", "one voice", "the draft's input", "early timers"],
)
def test_the_reference_notices_when_a_guard_is_gone(
    function: Any, old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch, function, old, new)
    # Found is enough: no time is spent on the smallest example.
    quick = settings(examples(200), phases=[Phase.generate], database=None)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(RandomRunsInMemory, settings=quick)
