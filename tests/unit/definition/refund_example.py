"""The refund workflow of the authoring guide, as Python and as YAML."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, Field

from signoff import Feedback, Gate, Retry, Workflow, step


class Complaint(BaseModel):
    order_id: str
    text: str
    paid: Decimal


class Analysis(BaseModel):
    order_id: str
    severity: int


class Resolution(BaseModel):
    order_id: str
    amount: Decimal = Field(ge=0, le=5000)
    reply: str
    confidence: float = Field(ge=0, le=1)


class Receipt(BaseModel):
    payment_id: str


@step
def analyse(complaint: Complaint) -> Analysis:
    return Analysis(order_id=complaint.order_id, severity=len(complaint.text))


@step(queue="llm", retry=Retry(attempts=5, backoff="2s"), timeout="60s")
def draft(analysis: Analysis, *, input: Complaint, feedback: Feedback | None = None) -> Resolution:
    reply = "We are sorry." if feedback is None else f"We are sorry: {feedback.note}"
    return Resolution(order_id=analysis.order_id, amount=input.paid, reply=reply, confidence=0.62)


@step(irreversible=True)
def pay(resolution: Resolution, *, idempotency_key: str) -> Receipt:
    return Receipt(payment_id=f"pay_{resolution.order_id}_{resolution.amount}_{idempotency_key}")


@step
def apologise(resolution: Resolution, *, feedback: Feedback) -> None:
    assert feedback.decision in ("reject", "request_changes")
    assert resolution.reply


def undecorated(resolution: Resolution) -> Resolution:
    return resolution


refund = Workflow(
    "refund",
    [
        analyse,
        draft,
        Gate(
            "approve-refund",
            reviewers="support-leads",
            title="Refund {amount} for {order_id}",
            review_if="amount > 100.0 || confidence < 0.85",
            recommend="reply",
            score="confidence",
            editable=["amount", "reply"],
            options=["approve", "reject", "request_changes"],
            consequences={
                "approve": "Pays {amount} now. This cannot be undone.",
                "reject": "Nothing is paid; an apology is sent.",
            },
            due="4h",
            remind=["1h"],
            escalate=[("2h", "support-managers")],
            on_timeout="reject",
            on_reject=apologise,
        ),
        pay,
    ],
)

MODULE = __name__

YAML = """
workflow: refund
steps:
  - step: MODULE:analyse
  - step: MODULE:draft
    queue: llm
  - gate: approve-refund
    reviewers: support-leads
    title: "Refund {amount} for {order_id}"
    review_if: amount > 100.0 || confidence < 0.85
    recommend: reply
    score: confidence
    editable: [amount, reply]
    options: [approve, reject, request_changes]
    consequences:
      approve: Pays {amount} now. This cannot be undone.
      reject: Nothing is paid; an apology is sent.
    due: 4h
    remind: [1h]
    escalate:
      - {after: 2h, to: support-managers}
    on_timeout: reject
    on_reject: MODULE:apologise
  - step: MODULE:pay
""".replace("MODULE", MODULE)

PAYLOAD = {"order_id": "A-1", "amount": "640.00", "reply": "We are sorry.", "confidence": 0.9}
