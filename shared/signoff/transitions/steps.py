"""Admission of what a worker says about a step: it completed, it failed, or nothing more is heard of the worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from signoff.canonical import Json
from signoff.definition.graph import RetryPolicy, StepNode
from signoff.errors import LeaseLost
from signoff.model import EventType
from signoff.transitions.advance import NewId, advance, fail
from signoff.transitions.fold import ACTIVE, Fold

MAX_MESSAGE = 2_000
MAX_TRACE = 8_000
"""Characters kept of an exception's message and trace: enough to find the line, not enough to fill the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why one attempt failed. One that is not `retryable` would fail the same way again."""

    code: str
    message: str
    trace: str | None = None
    retryable: bool = True


def complete(fold: Fold, *, step: str, output: Json, new_id: NewId) -> None:
    """Record the step's output and move on. Raises LeaseLost when the run is no longer at this step."""
    _expect(fold, step)
    data = {"step": step, "attempt": fold.state.attempt, "output": output}
    fold.emit(EventType.STEP_COMPLETED, data)
    advance(fold, new_id)


def failed(fold: Fold, *, step: str, failure: Failure, random: float) -> None:
    """Schedule the next attempt, or fail the run. `random` in 0..1 places the wait within its jitter.

    Raises LeaseLost when the run is no longer at this step.
    """
    node = _expect(fold, step)
    attempt = fold.state.attempt
    data = _failure_data(step, attempt, failure)
    if failure.retryable and attempt < node.retry.attempts:
        data["delay_ms"] = backoff_ms(node.retry, attempt, random)
        fold.emit(EventType.STEP_RETRY_SCHEDULED, data)
        return
    fold.emit(EventType.STEP_FAILED, data)
    fail(fold, failure.code, data["message"], step=step, attempt=attempt)


def worker_lost(fold: Fold, *, max_lost: int) -> None:
    """The lease ended without a word: another worker takes over, where that is safe.

    An irreversible step that takes no idempotency key may or may not have happened, so the run stops for a person to
    find out (`outcome_unknown`). A step that loses its worker again and again is taken to be the reason.
    """
    state = fold.state
    assert state.node is not None
    node = fold.graph.step(state.node)
    if not may_be_repeated(node):
        message = "the worker was lost during an irreversible step that takes no idempotency key"
        _give_up(fold, node, Failure(code="outcome_unknown", message=message))
    elif state.lost + 1 >= max_lost:
        message = f"{max_lost} workers in a row were lost at this step"
        _give_up(fold, node, Failure(code="worker_lost", message=message))
    else:
        lost = Failure(code="worker_lost", message="the worker's lease ended; another worker takes over")
        data = _failure_data(node.name, state.attempt, lost) | {"delay_ms": 0}
        fold.emit(EventType.STEP_RETRY_SCHEDULED, data)


def may_be_repeated(step: StepNode) -> bool:
    """Whether the step may run again when nobody knows how far it got: it has no lasting effect, or takes a key."""
    return not step.irreversible or (step.takes is not None and "idempotency_key" in step.takes)


def backoff_ms(policy: RetryPolicy, attempt: int, random: float) -> int:
    """The wait after this failed attempt (1 for the first): exponential, capped, spread by the policy's jitter."""
    wait = min(policy.backoff_ms * policy.factor ** (attempt - 1), policy.max_backoff_ms)
    return max(1, round(wait * (1 - policy.jitter * random)))


def _expect(fold: Fold, step: str) -> StepNode:
    state = fold.state
    if state.status not in ACTIVE or state.node != step:
        raise LeaseLost(f"the run is at {state.node!r} and {state.status}, not at step {step!r}")
    return fold.graph.step(step)


def _give_up(fold: Fold, node: StepNode, failure: Failure) -> None:
    attempt = fold.state.attempt
    fold.emit(EventType.STEP_FAILED, _failure_data(node.name, attempt, failure))
    fail(fold, failure.code, failure.message, step=node.name, attempt=attempt)


def _failure_data(step: str, attempt: int, failure: Failure) -> dict[str, Any]:
    data: dict[str, Any] = {
        "step": step,
        "attempt": attempt,
        "code": failure.code,
        "message": _cut(failure.message, MAX_MESSAGE),
    }
    if failure.trace is not None:
        # The end of a trace names the place that raised.
        data["trace"] = _storable(failure.trace[-MAX_TRACE:])
    return data


def _cut(text: str, limit: int) -> str:
    return _storable(text if len(text) <= limit else f"{text[: limit - 1]}…")


def _storable(text: str) -> str:
    """Without the half characters that a message may hold (of a file's name, say) and that UTF-8 has no form for."""
    return text.encode("utf-8", "replace").decode()
