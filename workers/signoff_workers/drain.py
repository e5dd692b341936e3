"""What one message leads to: its run, and where runs pile up and their steps are short, some more of the same queue.

A step is begun when what led to it is on disk, whoever else is in hand. What short steps of different runs gave is
recorded together, within milliseconds. An irreversible step is begun when nothing waits to be recorded, and recorded
by itself.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from signoff.canonical import Json
from signoff.definition.graph import StepNode
from signoff.engine import Claimed, Failure
from signoff.errors import Unavailable
from signoff.transitions.steps import may_be_repeated
from signoff_workers.pace import Stopwatch

if TYPE_CHECKING:
    from signoff_workers.runner import Runner

log = structlog.get_logger(__name__)

QUEUED_SECONDS = 0.005
"""A run that waited longer than this for its worker was not alone."""

TAKE_SECONDS = 0.003
"""After this no more runs are taken: a decision's continuation may wait behind them."""

COMPANY_SECONDS = 0.1
"""After this runs in company don't go straight on; they queue again."""

RECORD_SECONDS = 0.005
"""How long the output of a short step waits, at most and with the next short step, for those of others."""

SETTLE_SECONDS = 0.05
"""After so long in one step, what waits to be recorded is recorded for it, and what was not begun is given back."""


class Drain:
    """The runs that one thread of this process has in hand."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._engine = runner.engine
        self._pace = runner.pace
        now = time.monotonic()
        self._take_until = now + TAKE_SECONDS
        self._company_until = now + COMPANY_SECONDS
        self._fresh_seconds = runner.engine.settings.lease_seconds / 4
        self._until = now + runner.engine.settings.inline_budget_seconds
        # The watching thread takes from these two, when a step keeps this one.
        self._lock = threading.Lock()
        self._ready: deque[Claimed] = deque()
        self._done: list[tuple[Claimed, Json]] = []
        self._done_since = 0.0
        self._step_began: float | None = None
        self._recording = 0

    def run(self, first: Claimed) -> None:
        """Go on with the run as long as its steps may run inline and the time lasts, and with others beside it."""
        self._ready.append(first)
        try:
            if self._was_queued(first):
                self._take_more(first)
            while not self._runner.stopping:
                claimed = self._next()
                if claimed is not None:
                    self._step(claimed)
                elif self._done:
                    self._record()
                elif not self._take_more(first):
                    return
        finally:
            # Also when the worker is stopping, or something unheard of was raised: the others are not to suffer by it.
            if self._done or self._ready:
                self._end()
            self._runner.watch.leave(self)

    def _end(self) -> None:
        self.settle()
        for claimed, output in self._done:
            self._runner.record(claimed, output, _never)
        # What could not be given back stays until its lease ends.

    def _next(self) -> Claimed | None:
        """The next step to begin. None when there is none, or only such as this process has kept too long."""
        with self._lock:
            if not self._ready:
                return None
            claimed = self._ready.popleft()
        assert claimed.clock is not None
        if time.monotonic() - claimed.clock.at < self._fresh_seconds:
            return claimed
        # The database was away, or this process stood still. Its lease has been renewed by nobody meanwhile.
        log.warning("claim_too_old", run_id=str(claimed.run_id), step=claimed.step.name)
        with suppress(Unavailable):
            self._engine.give_back(claimed)
        return None

    # Taking --------------------------------------------------------------------------------------------------------

    def _was_queued(self, claimed: Claimed) -> bool:
        assert claimed.row is not None
        assert claimed.clock is not None
        return (claimed.clock.heard - claimed.row.state.updated_at).total_seconds() > QUEUED_SECONDS

    def _take_more(self, beside: Claimed) -> bool:
        """Take runs of the same queue that may be done together. Whether there were any."""
        wanted = self._engine.settings.drain_runs - 1
        if wanted <= 0 or self._runner.stopping or time.monotonic() >= self._take_until:
            return False
        state, step = beside.state, beside.step
        if state.lost or step.irreversible or not self._pace.is_short(state, step):
            return False
        try:
            taken = self._engine.claim_waiting(
                step.queue, steps=self._pace.companions(step.queue), limit=wanted, worker=self._runner.name
            )
        except Unavailable as error:
            log.warning("claim_failed", error=error.detail)
            return False
        if not taken:
            self._take_until = 0.0
            return False
        for claimed in taken:
            self._runner.tell_taken(claimed)
        with self._lock:
            self._ready.extend(taken)
        self._runner.watch.attend(self)
        return True

    # Doing -----------------------------------------------------------------------------------------------------------

    def _step(self, claimed: Claimed) -> None:
        joins = not claimed.step.irreversible and self._pace.is_short(claimed.state, claimed.step)
        if self._done and (not joins or time.monotonic() - self._done_since > RECORD_SECONDS):
            self._record()
        self._step_began = time.monotonic()
        stopwatch = Stopwatch()
        try:
            output = self._runner.attempt(claimed)
        finally:
            self._step_began = None
        self._pace.note(claimed.state, claimed.step, stopwatch.seconds())
        if isinstance(output, Failure):
            self._runner.fail(claimed, output)
        elif joins and self._in_company():
            with self._lock:
                if not self._done:
                    self._done_since = time.monotonic()
                self._done.append((claimed, output))
        else:
            self._record_alone(claimed, output)

    def _in_company(self) -> bool:
        return bool(self._ready or self._done)

    def _goes_on(self, claimed: Claimed, following: StepNode) -> bool:
        """Whether this thread goes straight on with the next step of a run."""
        now = time.monotonic()
        if now >= self._until or self._runner.stopping or not self._runner.serves(claimed.step.queue, following.queue):
            return False
        if self._recording + len(self._ready) <= 1:
            return True
        # In company only what keeps nobody waiting, and what may be repeated should this process die before it begins.
        short = self._pace.is_short(claimed.state, following)
        return short and now < self._company_until and may_be_repeated(following)

    # Recording -------------------------------------------------------------------------------------------------------

    def _record(self) -> None:
        """Record what is done, and go on with the runs whose next step is for this thread."""
        with self._lock:
            done, self._done = self._done, []
        if len(done) == 1:
            self._record_alone(*done[0])
            return
        self._recording = len(done)
        try:
            recorded = self._runner.patiently(
                lambda: self._engine.complete_together(done, worker=self._runner.name, go_on=self._goes_on)
            )
        except Unavailable as error:
            # No trace: `Unavailable` says all there is to know.
            log.error("results_not_recorded", count=len(done), error=error.detail)  # noqa: TRY400
            return
        finally:
            self._recording = 0
        with self._lock:
            self._ready.extend(recorded.following)
        for claimed, output in recorded.left:
            self._record_alone(claimed, output)

    def _record_alone(self, claimed: Claimed, output: Json) -> None:
        self._recording = 1
        following = self._runner.record(claimed, output, self._goes_on)
        self._recording = 0
        if following is not None:
            with self._lock:
                self._ready.append(following)

    # For the watching thread ---------------------------------------------------------------------------------------

    def settle_at(self) -> float:
        """When the step in hand has kept the others for too long."""
        return (self._step_began or time.monotonic()) + SETTLE_SECONDS

    def settle(self) -> None:
        """Record and give back what waits for a step that takes long. By the watching thread."""
        with self._lock:
            done, self._done = self._done, []
            ready, self._ready = list(self._ready), deque()
        try:
            if done:
                recorded = self._engine.complete_together(done, worker=self._runner.name, go_on=_never)
                done = recorded.left
            if ready:
                self._engine.give_back_all(ready)
                ready = []
        except Unavailable as error:
            log.warning("not_settled", done=len(done), not_begun=len(ready), error=error.detail)
        if done or ready:
            # The thread itself sees to the rest, with its patience.
            with self._lock:
                self._done[:0] = done
                self._ready.extendleft(reversed(ready))


def _never(_claimed: Claimed, _following: StepNode) -> bool:
    return False
