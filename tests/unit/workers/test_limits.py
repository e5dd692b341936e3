"""The watch of one process: what it renews, whom it tells to end, and what happens when both come at once."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.servers import eventually

from signoff.engine import Failure
from signoff_workers import limits
from signoff_workers.limits import StepTimedOut, Watch


@dataclass
class Ledger:
    """An engine that only notes what it is told."""

    settings: Any
    renewed: list[tuple[UUID, int]] = field(default_factory=list)
    failed: list[tuple[UUID, int, str]] = field(default_factory=list)

    def renew(self, held: Sequence[tuple[UUID, int]]) -> set[UUID]:
        self.renewed += held
        return {run_id for run_id, _ in held}

    def fail(self, claimed: Any, failure: Failure) -> None:
        self.failed.append((claimed.run_id, claimed.epoch, failure.code))


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(limits, "OVERRUN_SECONDS", 0.2)
    return Ledger(SimpleNamespace(lease_seconds=0.1))


def claimed(run_id: UUID | None = None, epoch: int = 1) -> Any:
    return SimpleNamespace(run_id=run_id or uuid4(), epoch=epoch)


@contextmanager
def stuck(watch: Watch, held: Any, limit: float) -> Iterator[None]:
    """Another thread is at this step and hears nothing until the end of the block."""
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with suppress(StepTimedOut), watch.over(held, limit):
            inside.set()
            while not leave.is_set():
                with suppress(StepTimedOut):
                    leave.wait()

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(5)
    try:
        yield
    finally:
        leave.set()
        thread.join(5)


def test_the_leases_of_all_that_is_held_are_renewed(ledger: Ledger) -> None:
    watch, one, two = Watch(ledger), claimed(), claimed(epoch=7)  # type: ignore[arg-type]
    with stuck(watch, one, 60), watch.over(two, 60):
        eventually(lambda: {(one.run_id, 1), (two.run_id, 7)} <= set(ledger.renewed))


def test_a_step_that_hears_nothing_keeps_its_lease_until_it_is_given_up_and_not_longer(ledger: Ledger) -> None:
    watch, held = Watch(ledger), claimed()  # type: ignore[arg-type]
    with stuck(watch, held, 0.05):
        eventually(lambda: watch._held[held.run_id, 1].told)
        told_at = len(ledger.renewed)
        eventually(lambda: ledger.failed == [(held.run_id, 1, "step_timeout")])
        assert len(ledger.renewed) > told_at, "renewed between being told and being given up"
        given_up_at = len(ledger.renewed)
        with watch.over(claimed(), 60):
            eventually(lambda: len(ledger.renewed) >= given_up_at + 2)
        assert (held.run_id, 1) not in ledger.renewed[given_up_at + 1 :]


def test_a_given_up_step_that_ends_does_not_end_the_watch_over_its_successor(ledger: Ledger) -> None:
    watch, run_id = Watch(ledger), uuid4()  # type: ignore[arg-type]
    with watch.over(claimed(run_id, 2), 60):
        with stuck(watch, claimed(run_id, 1), 0.05):
            eventually(lambda: ledger.failed)
        before = len(ledger.renewed)
        eventually(lambda: len(ledger.renewed) > before)
        assert ledger.renewed[-1] == (run_id, 2)


def test_a_step_in_the_main_thread_that_catches_everything_is_given_up(ledger: Ledger) -> None:
    watch, held = Watch(ledger), claimed()  # type: ignore[arg-type]
    rung, deadline = 0, time.monotonic() + 3
    with suppress(StepTimedOut), watch.over(held, 0.05):
        while (not ledger.failed or rung < 2) and time.monotonic() < deadline:
            try:
                threading.Event().wait(1)
            except StepTimedOut:
                rung += 1
    assert rung >= 2, "the alarm rings again"
    assert ledger.failed == [(held.run_id, 1, "step_timeout")]


def test_a_step_that_is_told_while_it_ends_leaves_the_watch_unlocked(ledger: Ledger) -> None:
    watch, held = Watch(ledger), claimed()  # type: ignore[arg-type]
    ended = threading.Event()

    def work() -> None:
        with suppress(StepTimedOut), watch.over(held, 60):
            entered.set()
            proceed.wait(5)
        ended.set()

    entered, proceed = threading.Event(), threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(5)
    with watch._lock:
        # The step has ended and waits for this lock to say so; now it is told.
        proceed.set()
        eventually(lambda: waits_in(thread, "_remove"))
        watch._held[held.run_id, 1].told = True
        limits._raise_in(thread.ident or 0, StepTimedOut)
    assert ended.wait(5)
    thread.join(5)
    assert watch._lock.acquire(timeout=1), "somebody went away with the lock"
    watch._lock.release()
    assert watch._held == {}


def waits_in(thread: threading.Thread, function: str) -> bool:
    """Whether the thread is in this function."""
    frame = sys._current_frames()[thread.ident or 0]
    while frame is not None and frame.f_code.co_name != function:
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None
