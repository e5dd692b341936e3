"""Which steps are short enough to be done for several runs together."""

from __future__ import annotations

import resource
import time
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from tests.integration.engine.flows import CHAIN

from signoff.definition.graph import StepNode
from signoff.model import SYSTEM, RunState, RunStatus
from signoff_workers import pace
from signoff_workers.pace import SHORT_SECONDS, Pace, Stopwatch

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATE = RunState(
    run_id=uuid4(),
    workflow="chain",
    version=1,
    status=RunStatus.QUEUED,
    node="one",
    value=None,
    requester=SYSTEM,
    seq=1,
    created_at=NOW,
    updated_at=NOW,
)
ONE = CHAIN.step("one")
QUICK, LONG = SHORT_SECONDS / 4, SHORT_SECONDS * 10


def known(seen: Pace, step: StepNode = ONE) -> tuple[bool, bool]:
    return seen.is_short(STATE, step), f"chain/1/{step.name}" in seen.companions(step.queue)


def test_a_step_that_has_never_run_here_is_not_short() -> None:
    assert known(Pace()) == (False, False)


def test_one_long_time_counts_until_some_short_ones_have_followed() -> None:
    seen = Pace()
    seen.note(STATE, ONE, QUICK)
    assert known(seen) == (True, True)
    seen.note(STATE, ONE, LONG)
    assert known(seen) == (False, False)
    for _ in range(2):
        seen.note(STATE, ONE, QUICK)
    assert known(seen) == (False, False)
    for _ in range(8):
        seen.note(STATE, ONE, QUICK)
    assert known(seen) == (True, True)


def test_a_step_that_is_long_now_and_then_is_not_short() -> None:
    seen = Pace()
    for number in range(60):
        seen.note(STATE, ONE, LONG * 3 if number % 8 == 0 else QUICK)
    assert known(seen) == (False, False)


def test_a_step_that_waits_is_timed_by_the_clock_and_one_that_only_computes_by_the_processor() -> None:
    waits = Stopwatch()
    time.sleep(0.03)
    assert waits.seconds() >= 0.03
    if hasattr(resource, "RUSAGE_THREAD"):
        stopwatch, until = Stopwatch(), time.thread_time() + 0.03
        while time.thread_time() < until:
            pass
        taken, clock = stopwatch.seconds(), time.monotonic() - stopwatch._clock
        assert 0.03 <= taken <= clock


def test_an_irreversible_step_may_be_short_and_joins_no_others() -> None:
    seen, pay = Pace(), replace(ONE, irreversible=True)
    seen.note(STATE, pay, QUICK)
    assert known(seen, pay) == (True, False)


def test_steps_are_kept_apart_by_workflow_version_and_queue() -> None:
    seen = Pace()
    seen.note(STATE, ONE, QUICK)
    assert not seen.is_short(replace(STATE, version=2), ONE)
    assert not seen.is_short(replace(STATE, workflow="other"), ONE)
    assert seen.companions("gpu") == ()


def test_what_is_remembered_is_bounded() -> None:
    seen = Pace()
    for number in range(pace.MAX_STEPS + 3):
        seen.note(STATE, replace(ONE, name=f"step-{number}"), QUICK)
    assert len(seen.companions(ONE.queue)) == 3
