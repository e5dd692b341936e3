"""Workflows whose steps do nothing: a refund with a gate, whose last step says when it began, and four in a row."""

from __future__ import annotations

import time
from typing import Any

from signoff import Gate, Workflow, step

REVIEWERS = "bench"


@step
def analyse(value: dict[str, Any]) -> dict[str, Any]:
    return value


@step
def draft(value: dict[str, Any]) -> dict[str, Any]:
    return value


@step(irreversible=True)
def send(value: dict[str, Any], *, idempotency_key: str) -> dict[str, Any]:
    return {"began": time.time(), "key": idempotency_key}


refund = Workflow(
    "bench-refund",
    [
        analyse,
        draft,
        Gate(
            "approve",
            reviewers=REVIEWERS,
            title="Refund {amount} for {order_id}",
            review_if="amount > 100.0",
            editable=["amount", "reply"],
            options=["approve", "reject"],
            due="4h",
            remind=["1h"],
        ),
        send,
    ],
)


@step
def first(value: dict[str, Any]) -> dict[str, Any]:
    return value


@step
def second(value: dict[str, Any]) -> dict[str, Any]:
    return value


@step
def third(value: dict[str, Any]) -> dict[str, Any]:
    return value


@step
def fourth(value: dict[str, Any]) -> dict[str, Any]:
    return value


plain = Workflow("bench-plain", [first, second, third, fourth])
STEPS = 4


def complaint(number: int, *, amount: float = 640.0) -> dict[str, Any]:
    """What a run of either workflow is started with: the size of a small letter."""
    return {
        "order_id": f"B-{number}",
        "amount": amount,
        "reply": "We are sorry that it arrived broken, and pay back what it cost within three working days.",
        "confidence": 0.9,
    }
