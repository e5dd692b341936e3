"""Workflows whose steps do nothing: the shape of refund, whose last step says when it began, and four in a row."""

from __future__ import annotations

import time
from typing import Any

from signoff import Gate, Workflow, step


@step
def analyse(value: dict[str, Any]) -> dict[str, Any]:
    return value


@step
def draft(value: dict[str, Any]) -> dict[str, Any]:
    return value


@step(irreversible=True)
def pay(value: dict[str, Any], *, idempotency_key: str) -> dict[str, Any]:
    return {"began": time.time(), "key": idempotency_key}


timed = Workflow(
    "timed",
    [analyse, draft, Gate("approve", reviewers="bench", review_if="amount > 100.0"), pay],
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


plain = Workflow("plain", [first, second, third, fourth])
