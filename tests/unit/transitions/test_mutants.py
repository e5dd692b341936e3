"""Each guard of the transitions, taken out: the exploration has to notice every time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.mutants import mutate
from tests.unit.transitions.exploration import explore
from tests.unit.transitions.scenes import scene

from signoff.transitions import advance, decisions, fold, human_task_events, runs, steps, timers


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One guard, what is left when it is gone, and the scene that is to notice."""

    promise: str
    function: Any
    old: str
    new: str
    scene: str
    depth: int = 6
    total: int = 0


MUTANTS = (
    Mutant(
        promise="a decision is on what is shown now",
        function=decisions._expect_same_view,
        old="task.revision):",
        new="task.revision, request.revision):",
        scene="changes are asked for",
    ),
    Mutant(
        promise="a gate that is decided takes no decision",
        function=decisions._expect_undecided,
        old="task.state is not TaskState.OPEN",
        new="False",
        scene="beside the run",
        depth=4,
    ),
    Mutant(
        promise="nothing is decided while grace runs",
        function=decisions._expect_undecided,
        old="task.pending is not None",
        new="False",
        scene="grace for two",
        depth=4,
    ),
    Mutant(
        promise="one person has one voice",
        function=decisions._expect_undecided,
        old="not decision.seats.isdisjoint(seats)",
        new="False",
        scene="two must approve",
    ),
    Mutant(
        promise="a quorum is counted in full",
        function=decisions._is_satisfied,
        old="count >= (gate",
        new="count + 1 >= (gate",
        scene="two must approve",
    ),
    Mutant(
        promise="only what was said of this revision counts",
        function=human_task_events.revised,
        old="if decision.id in carried",
        new="if True",
        scene="two must approve what may be edited",
        depth=4,
    ),
    Mutant(
        promise="an edit is shown to the others before it stands",
        function=decisions._needs_others,
        old="return gate.approvals > 1 or",
        new="return False and",
        scene="two must approve what may be edited",
        depth=4,
    ),
    Mutant(
        promise="an edit that leaves all as it was revises nothing",
        function=decisions.decide,
        old="revises = edited is not None and",
        new="revises = bool(request.patch) and",
        scene="grace for two",
        depth=4,
    ),
    Mutant(
        promise="no timer fires early",
        function=timers.fire,
        old="task.wake_at > fold.now",
        new="False",
        scene="reminders and a due time",
        depth=3,
    ),
    Mutant(
        promise="a timer fires once",
        function=human_task_events.reminded,
        old="task.rung + 1",
        new="task.rung",
        scene="reminders and a due time",
        depth=3,
    ),
    Mutant(
        promise="taking back a word that did not decide leaves the decision in grace",
        function=human_task_events._withdrawn,
        old="task.pending is not None and any(",
        new="task.pending is not None or any(",
        scene="grace for two",
        depth=4,
    ),
    Mutant(
        promise="what is shown is what the next step receives",
        function=fold._gate_decided,
        old='value=event.data["output"], ',
        new="",
        scene="an edit",
    ),
    Mutant(
        promise="a gate asks a person unless its condition says that none is needed",
        function=advance._reach,
        old="verdict.review:",
        new="False:",
        scene="approve or reject",
    ),
    Mutant(
        promise="a new draft after changes is shown to a person",
        function=advance._reach,
        old='earlier is not None and gate.mode == "before"',
        new="False",
        scene="a threshold",
    ),
    Mutant(
        promise="nothing that can't be undone runs twice on one approval",
        function=runs._would_repeat,
        old="step.irreversible and step.name in done",
        new="False",
        scene="a step between the gate and the one that can't be undone",
    ),
    Mutant(
        promise="a finished run can't be canceled",
        function=runs.cancel,
        old="fold.state.status.finished",
        new="False",
        scene="a step alone",
    ),
    Mutant(
        promise="only a failed run is retried",
        function=runs.retry,
        old="state.status is not RunStatus.FAILED",
        new="False",
        scene="a step alone",
    ),
    Mutant(
        promise="a result for another step is refused",
        function=steps._expect,
        old="state.status not in ACTIVE or state.node != step",
        new="state.status not in ACTIVE",
        scene="a step alone",
    ),
    Mutant(
        promise="an event that comes after the end moves nothing",
        function=fold._run_canceled,
        old="state.status.finished",
        new="False",
        scene="a step alone",
        depth=3,
        total=100,
    ),
    Mutant(
        promise="a gate has one outcome",
        function=fold._gate_decided,
        old="task.state is not TaskState.OPEN",
        new="False",
        scene="beside the run",
        depth=3,
        total=100,
    ),
    Mutant(
        promise="a review beside the run does not stop it",
        function=fold._gate_revised,
        old='task.mode == "after"',
        new="False",
        scene="beside the run, two people",
        depth=4,
    ),
    Mutant(
        promise="a finished run leaves no open gate before it",
        function=fold._run_canceled,
        old="if task.state is TaskState.OPEN else task",
        new="if False else task",
        scene="approve or reject",
    ),
    Mutant(
        promise="the log replays to the head",
        function=fold._retry_scheduled,
        old="attempt=state.attempt + (not lost)",
        new="attempt=state.attempt + _RANDOM.randint(1, 9)",
        scene="a step alone",
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.promise.replace(" ", "-"))
def test_the_exploration_notices_when_a_guard_is_gone(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    import random

    monkeypatch.setattr(fold, "_RANDOM", random.Random(1), raising=False)
    mutate(monkeypatch, mutant.function, mutant.old, mutant.new)
    with pytest.raises(AssertionError):
        explore(replace(scene(mutant.scene), depth=mutant.depth), total=mutant.total)
