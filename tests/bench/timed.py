"""The refund workflow's shape with steps that do nothing; the last one says when it began."""

from __future__ import annotations

import time

from signoff import Gate, Workflow, step


@step
def analyse(value: dict) -> dict:
    return value


@step
def draft(value: dict) -> dict:
    return value


@step(irreversible=True)
def pay(value: dict, *, idempotency_key: str) -> dict:
    return {"began": time.time(), "key": idempotency_key}


timed = Workflow(
    "timed",
    [analyse, draft, Gate("approve", reviewers="bench", review_if="amount > 100.0"), pay],
)
