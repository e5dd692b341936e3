"""Short steps for a worker in the test's own process. What they do is what the test has put here."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from signoff import Gate, Retry, RunContext, Workflow, step

SEEN: list[tuple[str, Any]] = []
"""Which step ran on which value, in order."""

ON: dict[str, Callable[[Any, RunContext], None]] = {}
"""What a step does besides, by its name."""


def seen(name: str, value: Any, run: RunContext) -> Any:
    SEEN.append((name, value))
    if name in ON:
        ON[name](value, run)
    return value


@step
def one(value: Any, *, run: RunContext) -> Any:
    return seen("one", value, run)


@step(retry=Retry(attempts=1))
def two(value: Any, *, run: RunContext) -> Any:
    return seen("two", value, run)


@step
def three(value: Any, *, run: RunContext) -> Any:
    return seen("three", value, run)


@step
def mortal(value: Any) -> Any:
    """Ends its process where it is told to; for a worker that is a process of its own."""
    if value == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return value


@step(irreversible=True)
def pay(value: Any, *, run: RunContext, idempotency_key: str) -> Any:
    assert idempotency_key
    return seen("pay", value, run)


@step(irreversible=True)
def pay_blindly(value: Any, *, run: RunContext) -> Any:
    return seen("pay_blindly", value, run)


@step(queue="gpu")
def elsewhere(value: Any, *, run: RunContext) -> Any:
    return seen("elsewhere", value, run)


killing = Workflow("killing", [one, mortal, three])
three_short = Workflow("three-short", [one, two, three])
paid_last = Workflow("paid-last", [one, two, pay])
paid_blindly_last = Workflow("paid-blindly-last", [one, pay_blindly])
handed_over = Workflow("handed-over", [one, elsewhere])
decided_first = Workflow("decided-first", [Gate("check", reviewers="leads"), two, three])
