"""A refund with a gate in it, for the tests of `signoff.testing`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import BaseModel, Field

from signoff import Feedback, Gate, Retry, Workflow, step, testing

BROKEN = {"order_id": "A-1", "text": "broken", "paid": "640"}


class Complaint(BaseModel):
    order_id: str
    text: str
    paid: Decimal


class Resolution(BaseModel):
    order_id: str
    amount: Decimal = Field(ge=0, le=5000)
    reply: str = "sorry"
    confidence: float = 0.9


class Receipt(BaseModel):
    payment_id: str


@step
def draft(complaint: Complaint, *, feedback: Feedback | None = None) -> Resolution:
    amount = Decimal(feedback.note) if feedback is not None and feedback.note else complaint.paid
    return Resolution(order_id=complaint.order_id, amount=amount)


@step(irreversible=True, retry=Retry(attempts=3, backoff="10s", jitter=0.5))
def pay(resolution: Resolution, *, idempotency_key: str) -> Receipt:
    return Receipt(payment_id=f"pay_{resolution.order_id}_{resolution.amount}")


@step
def apologise(resolution: Resolution, *, feedback: Feedback) -> None: ...


def refund(**changes: Any) -> Workflow:
    """The refund of the documentation, its gate changed."""
    keys: dict[str, Any] = {
        "reviewers": "support-leads",
        "title": "Refund {amount} for {order_id}",
        "review_if": "amount > 100.0 || confidence < 0.85",
        "editable": ["amount", "reply"],
        "options": ["approve", "reject", "request_changes"],
        "due": "4h",
        "remind": ["1h"],
        "escalate": [("2h", "support-managers")],
        "on_timeout": "reject",
        "on_reject": apologise,
    }
    return Workflow("refund", [draft, Gate("approve-refund", **(keys | changes)), pay])


def types(r: testing.Run) -> list[str]:
    return [str(event.type) for event in r.events]
