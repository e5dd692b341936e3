"""Leases and time limits: one thread per process watches over everything the process holds.

It renews the leases of the runs in hand, and ends steps that overrun their time. In a prefork child the step runs in
the main thread and an alarm interrupts it, even in a system call. In a thread an exception is raised in it at its next
bytecode. Where neither ends it (a call that blocks, code that catches everything), the failure is recorded for it, and
what it says later is refused by its epoch.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol
from uuid import UUID

import structlog

from signoff.engine import Claimed, Engine, Failure
from signoff.errors import LeaseLost, Unavailable

log = structlog.get_logger(__name__)

OVERRUN_SECONDS = 2.0
"""How long a step has to end after it was told to, before its failure is recorded for it."""


class StepTimedOut(BaseException):
    """The step took longer than its time limit. Not an Exception, so that a step's own handlers let it through."""


@dataclass(slots=True, kw_only=True)
class _Held:
    claimed: Claimed
    thread_id: int
    limit_seconds: float
    deadline: float
    interrupts: bool
    told: bool = False
    given_up: bool = False

    @property
    def key(self) -> tuple[UUID, int]:
        """Under which it is held. A process may meet a run again while a step that it has given up still lives."""
        return self.claimed.run_id, self.claimed.epoch


class Attended(Protocol):
    """Runs that wait for a step in hand: it must not keep them for long."""

    def settle_at(self) -> float:
        """The moment of the monotonic clock at which the step has kept them long enough."""

    def settle(self) -> None:
        """See to them."""


class Watch:
    """The watching thread and what it watches. One per process, started with the first step."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[tuple[UUID, int], _Held] = {}
        self._attended: set[Attended] = set()
        # No RLock, and entered as itself: between taking it and entering the block an exception could come that was
        # set from outside, were there a line of Python in between, and then nobody would ever let go of it.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._renew_every = engine.settings.lease_seconds / 4
        self._renew_at = 0.0
        self._wakes_at = 0.0

    @contextmanager
    def over(self, claimed: Claimed, limit_seconds: float) -> Iterator[None]:
        """Hold the lease of `claimed` and the time limit of its step. Raises StepTimedOut inside."""
        in_main = threading.current_thread() is threading.main_thread()
        held = _Held(
            claimed=claimed,
            thread_id=threading.get_ident(),
            limit_seconds=limit_seconds,
            deadline=time.monotonic() + limit_seconds,
            interrupts=in_main,
        )
        self._add(held)
        try:
            if in_main:
                with _alarm(limit_seconds):
                    yield
            else:
                yield
        finally:
            self._remove(held)

    def _add(self, held: _Held) -> None:
        with self._lock:
            self._held[held.key] = held
            # An alarm ends the step in the main thread; then there is nothing to wake for.
            self._wake_by(self._renew_at if held.interrupts else held.deadline)

    def attend(self, waiting: Attended) -> None:
        """See to what waits for a step, when its moment comes."""
        with self._lock:
            self._attended.add(waiting)
            self._wake_by(waiting.settle_at())

    def leave(self, waiting: Attended) -> None:
        """Nothing waits there any more."""
        with self._lock:
            self._attended.discard(waiting)

    def _wake_by(self, moment: float) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="signoff-watch", daemon=True)
            self._renew_at = time.monotonic() + self._renew_every
            self._wakes_at = 0.0
            self._thread.start()
        elif moment < self._wakes_at:
            # Only then: waking a thread for every step would cost more than many a step.
            self._changed.notify()

    def _remove(self, held: _Held) -> None:
        try:
            self._let_go(held)
        except StepTimedOut:
            # It was told at the very moment it ended. Nobody is told twice, so this time nothing comes in between.
            self._let_go(held)
            raise

    def _let_go(self, held: _Held) -> None:
        with self._lock:
            self._held.pop(held.key, None)
            if held.told:
                # An exception that was set and not yet raised must not hit whatever this thread does next.
                _raise_in(held.thread_id, None)

    def _watch(self) -> None:
        while True:
            with self._lock:
                self._wakes_at = self._next_moment()
                self._changed.wait(max(0.01, self._wakes_at - time.monotonic()))
                overdue = [held for held in self._held.values() if self._is_overdue(held)]
                waiting = [each for each in self._attended if time.monotonic() >= each.settle_at()]
                renew = time.monotonic() >= self._renew_at
                # One that was told to end is still ours until it is given up.
                held_now = [key for key, held in self._held.items() if not held.given_up]
            for each in waiting:
                each.settle()
            for held in overdue:
                self._end(held)
            if renew:
                self._renew(held_now)

    def _next_moment(self) -> float:
        """The next renewal, which comes round when nothing is held as well, or the first step to be ended."""
        ends = [_ends_at(held) for held in self._held.values() if not held.given_up]
        return min([self._renew_at, *ends, *(each.settle_at() for each in self._attended)])

    def _is_overdue(self, held: _Held) -> bool:
        return not held.given_up and time.monotonic() >= _ends_at(held)

    def _end(self, held: _Held) -> None:
        with self._lock:
            if self._held.get(held.key) is not held:
                return
            if not held.told and not held.interrupts:
                held.told = True
                _raise_in(held.thread_id, StepTimedOut)
                return
            held.given_up = True
        try:
            self._engine.fail(held.claimed, timeout_failure(held.limit_seconds))
        except (LeaseLost, Unavailable) as error:
            log.warning("overrun_not_recorded", run_id=str(held.claimed.run_id), error=error.detail)

    def _renew(self, held: list[tuple[UUID, int]]) -> None:
        self._renew_at = time.monotonic() + self._renew_every
        if not held:
            return
        try:
            kept = self._engine.renew(held)
        except Unavailable as error:
            log.warning("leases_not_renewed", count=len(held), error=error.detail)
            return
        for run_id, epoch in held:
            if run_id not in kept and (run_id, epoch) in self._held:
                log.warning("lease_lost", run_id=str(run_id), epoch=epoch)


def _ends_at(held: _Held) -> float:
    """When the watch has to do something about a step: tell it, unless an alarm does, and then give it up."""
    return held.deadline + (OVERRUN_SECONDS if held.told or held.interrupts else 0.0)


def timeout_failure(limit_seconds: float) -> Failure:
    """What is recorded of a step that overran."""
    return Failure(code="step_timeout", message=f"the step took longer than {limit_seconds:g} s")


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise StepTimedOut

    previous: Callable[[int, FrameType | None], object] | int | None = signal.signal(signal.SIGALRM, ring)
    # And again: a step that catches everything is not to keep its process for ever.
    signal.setitimer(signal.ITIMER_REAL, seconds, OVERRUN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _raise_in(thread_id: int, exception: type[BaseException] | None) -> None:
    target = ctypes.py_object(exception) if exception is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), target)
