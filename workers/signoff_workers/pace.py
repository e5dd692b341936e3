"""How long steps take in this process: only those that it has seen to be short are done for several runs together."""

from __future__ import annotations

import resource
import threading
import time

from signoff.definition.graph import StepNode
from signoff.model import RunState
from signoff.store.together import step_key

SHORT_SECONDS = 0.002
"""A step that takes longer gains nothing by company, and would keep the others waiting."""

NEWEST = 0.3
"""The share of the newest time in the mean: after 100 ms it takes a dozen short ones to be short again, and after the
slow first call of a process a few."""

_THREAD: int | None = getattr(resource, "RUSAGE_THREAD", None)

MAX_STEPS = 500
"""Steps remembered. A process that meets more begins anew."""


class Stopwatch:
    """How long a step takes that this thread runs: by the clock, or by the processor where the step never waited.

    On a machine with more to do than processors a step of microseconds is put aside for milliseconds now and then, and
    that is no reason to do it alone: then above all it is worth while not to.
    """

    def __init__(self) -> None:
        self._waits = _waits()
        self._processor = time.thread_time()
        self._clock = time.monotonic()

    def seconds(self) -> float:
        """Since it was made."""
        if self._waits is not None and _waits() == self._waits:
            return time.thread_time() - self._processor
        return time.monotonic() - self._clock


def _waits() -> int | None:
    """How often this thread has waited for anything but a processor; None where the system does not count it."""
    return resource.getrusage(_THREAD).ru_nvcsw if _THREAD is not None else None


class Pace:
    """How long each step has lately taken. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        self._companions: dict[str, tuple[str, ...]] = {}

    def note(self, state: RunState, step: StepNode, seconds: float) -> None:
        """The step has just taken so long."""
        key = _key(state, step)
        known = self._seconds.get(key)
        now = seconds if known is None else known + NEWEST * (seconds - known)
        if known is None or (known <= SHORT_SECONDS) != (now <= SHORT_SECONDS):
            self._sort(key, step, now)
        else:
            self._seconds[key] = now

    def is_short(self, state: RunState, step: StepNode) -> bool:
        """Whether the step has lately been short. One that has never run here has not."""
        return self._seconds.get(_key(state, step), SHORT_SECONDS + 1) <= SHORT_SECONDS

    def companions(self, queue: str) -> tuple[str, ...]:
        """The short steps of a queue, by `step_key`, that have no lasting effect."""
        return self._companions.get(queue, ())

    def _sort(self, key: str, step: StepNode, seconds: float) -> None:
        with self._lock:
            if len(self._seconds) >= MAX_STEPS:
                self._seconds.clear()
                self._companions.clear()
            self._seconds[key] = seconds
            others = tuple(other for other in self._companions.get(step.queue, ()) if other != key)
            joins = seconds <= SHORT_SECONDS and not step.irreversible
            self._companions[step.queue] = (*others, key) if joins else others


def _key(state: RunState, step: StepNode) -> str:
    return step_key(state.workflow, state.version, step.name)
