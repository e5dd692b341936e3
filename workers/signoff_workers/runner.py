"""Running claimed steps: load the function, bind its arguments, call it under its limits, record what it says.

Which steps, and in which order, is the matter of `drain.py`.
"""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Callable, Iterable
from typing import TypeVar
from uuid import UUID

import structlog

from signoff.canonical import Json
from signoff.definition.callables import call, resolve
from signoff.definition.context import RunContext
from signoff.definition.steps import StepDef
from signoff.engine import Claimed, Engine, Failure, GoOn
from signoff.errors import LeaseLost, StepError, Unavailable
from signoff.failpoints import hit
from signoff_workers.drain import Drain
from signoff_workers.in_hand import InHand
from signoff_workers.limits import StepTimedOut, Watch, timeout_failure
from signoff_workers.pace import Pace
from signoff_workers.taken import Taken, said_of

log = structlog.get_logger(__name__)

T = TypeVar("T")

LONGEST_PAUSE_SECONDS = 5.0


class Runner:
    """Executes runs for one worker process. `queues` are those that the worker serves."""

    def __init__(self, engine: Engine, in_hand: InHand, queues: Iterable[str] = (), taken: Taken | None = None) -> None:
        self.engine = engine
        self.watch = Watch(engine)
        self.pace = Pace()
        self.name = f"{socket.gethostname()}:{os.getpid()}:{in_hand.mark}"
        self._in_hand = in_hand
        self._taken = taken
        self._queues = frozenset(queues)

    @property
    def stopping(self) -> bool:
        """Whether nothing is to be begun any more."""
        return self._in_hand.stopping

    def serves(self, queue: str, following: str) -> bool:
        """Whether who serves the one queue goes straight on in the other: a worker that serves both has no need to
        hand the run to itself by a message."""
        return queue == following or following in self._queues

    def execute(self, run_id: UUID, epoch: int) -> None:
        """Take the run and go on with it as long as its steps may run inline and the time budget lasts."""
        with self._in_hand.holding():
            if not self._in_hand.stopping:
                self._execute(run_id, epoch)
            # Else the run stays queued, and the sweep has its message sent to another worker.

    def _execute(self, run_id: UUID, epoch: int) -> None:
        try:
            claimed = self.engine.claim_run(run_id, epoch=epoch, worker=self.name)
        except Unavailable as error:
            # The run stays queued in the database, and the sweep sends its message again.
            log.warning("claim_failed", run_id=str(run_id), error=error.detail)
            return
        if claimed is not None:
            Drain(self).run(claimed)

    def tell_taken(self, claimed: Claimed) -> None:
        """Let the message pass over that will come about a run that was taken beside another."""
        if self._taken is not None:
            self._taken.add(said_of(claimed.run_id, claimed.epoch - 1))

    def record(self, claimed: Claimed, output: Json, go_on: GoOn) -> Claimed | None:
        """Record what a step gave; answers the next step when this worker goes straight on with it."""
        bound = log.bind(run_id=str(claimed.run_id), step=claimed.step.name, attempt=claimed.state.attempt)
        try:
            return self.patiently(lambda: self.engine.complete(claimed, output, worker=self.name, go_on=go_on))
        except LeaseLost as error:
            bound.warning("result_refused", error=error.detail)
        except StepError as error:
            self.fail(claimed, _failure(error, retryable=False))
        except Unavailable as error:
            bound.error("result_not_recorded", error=error.detail)
        return None

    def attempt(self, claimed: Claimed) -> Json | Failure:
        """One try at the step under its limits: what it returned, or why it failed."""
        limit = (claimed.step.timeout_ms or 0) / 1000 or self.engine.settings.step_timeout_seconds
        try:
            with self.watch.over(claimed, limit):
                return self._call(claimed)
        except StepTimedOut:
            return timeout_failure(limit)
        except StepError as error:
            return _failure(error, retryable=False)
        except Unavailable as error:
            return _failure(error, retryable=True)
        except Exception as error:  # noqa: BLE001  # whatever a step raises is that step's failure, never the worker's
            message = f"{type(error).__name__}: {error}"
            return Failure(code="step_raised", message=message, trace=traceback.format_exc())

    def _call(self, claimed: Claimed) -> Json:
        step = resolve(claimed.step.ref)
        keywords = self._keywords(claimed, step)
        hit("effect.before_call")
        output = call(step, claimed.state.value, keywords)
        hit("effect.after_call")
        return output

    def _keywords(self, claimed: Claimed, step: StepDef) -> dict[str, object]:
        names = set(step.takes_names or ())
        values: dict[str, object] = dict(self.engine.arguments(claimed, names))
        if "feedback" in names and claimed.state.feedback is not None:
            values["feedback"] = claimed.state.feedback
        if "idempotency_key" in names:
            values["idempotency_key"] = claimed.idempotency_key
        if "run" in names:
            values["run"] = RunContext(
                run_id=claimed.run_id,
                workflow=claimed.state.workflow,
                version=claimed.state.version,
                step=claimed.step.name,
                attempt=claimed.state.attempt,
                labels=claimed.state.labels,
                logger=log.bind(run_id=str(claimed.run_id), step=claimed.step.name),
            )
        return values

    def fail(self, claimed: Claimed, failure: Failure) -> None:
        """Record that the attempt failed."""
        try:
            status = self.patiently(lambda: self.engine.fail(claimed, failure))
        except (LeaseLost, Unavailable) as error:
            log.warning("failure_not_recorded", run_id=str(claimed.run_id), error=error.detail)
            return
        log.warning(
            "step_failed",
            run_id=str(claimed.run_id),
            step=claimed.step.name,
            attempt=claimed.state.attempt,
            code=failure.code,
            message=failure.message,
            run=str(status),
        )

    def patiently(self, record: Callable[[], T]) -> T:
        """Record what a step said, waiting for a database that is away: the work is done and should not be repeated.

        Recording twice is harmless: the second time is refused by the epoch.
        """
        give_up = time.monotonic() + self.engine.settings.record_patience_seconds
        pause = 0.2
        while True:
            try:
                return record()
            except Unavailable:
                if time.monotonic() + pause > give_up:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _failure(error: StepError | Unavailable, *, retryable: bool) -> Failure:
    message = f"{error.detail} ({error.fix})" if error.fix else error.detail
    return Failure(code=error.code, message=message, retryable=retryable)
