"""Workflows that wait for the clock, each for something else. How long is told by the scenario or stands here."""

from __future__ import annotations

from typing import Any

from signoff import Gate, Retry, RunContext, Workflow, step
from tests.chaos.flows import post

Value = dict[str, Any]

REMINDERS = (0.8, 1.3)
ESCALATION = 1.8
REROUTED = 1.6
GRACE = 1.5
BACKOFF = 1.0
FACTOR = 1.5
ATTEMPTS = 3
CLAIM_MINUTES = 0.05


def _ms(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


@step
def mark(value: Value, *, idempotency_key: str) -> Value:
    """Tell the receiver that the run has come this far."""
    post(idempotency_key, {"kind": "mark", "item": value["item"]})
    return value


@step(retry=Retry(attempts=ATTEMPTS, backoff=_ms(BACKOFF), factor=FACTOR, jitter=0.0))
def unlucky(value: Value, *, run: RunContext, idempotency_key: str) -> Value:
    """Tell the receiver of each attempt, and succeed at the last."""
    post(f"{idempotency_key}:{run.attempt}", {"kind": "attempt", "item": value["item"], "attempt": run.attempt})
    if run.attempt < ATTEMPTS:
        raise RuntimeError("not yet")
    return value


_ASKED: dict[str, Any] = {"reviewers": "leads"}

ladder = Workflow(
    "ladder",
    [
        Gate(
            "check",
            remind=[_ms(after) for after in REMINDERS],
            escalate=[(_ms(ESCALATION), "user:cleo")],
            due="{wait}",
            on_timeout="reject",
            **_ASKED,
        ),
        mark,
    ],
)
silent = Workflow("silent", [Gate("check", due="{wait}", **_ASKED), mark])
rerouted = Workflow("rerouted", [Gate("check", reroute=[(_ms(REROUTED), "user:cleo")], **_ASKED), mark])
graced = Workflow("graced", [Gate("check", grace=_ms(GRACE), **_ASKED), mark])
claimed = Workflow("claimed", [Gate("check", **_ASKED), mark])
retried = Workflow("retried", [unlucky])
