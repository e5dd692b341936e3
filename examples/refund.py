"""Pattern 1, approve before an irreversible action: a complaint is read, a refund is drafted, a person approves it.

    signoff run refund '{"order_id": "A-1", "text": "broken", "paid": "640"}' --watch

`refund.yaml` compiles to the same graph.
"""

from __future__ import annotations

import logging
import re
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, Field

from refund_drafting import LIMIT, Answer, Endpoint, ask_model, by_rule, cents
from signoff import Feedback, Gate, Retry, Workflow, step

log = logging.getLogger(__name__)

ORDER_NUMBER = re.compile(r"[A-Za-z0-9-]*[0-9][A-Za-z0-9-]*")

KINDS: dict[str, tuple[str, ...]] = {
    "damaged": ("broken", "damaged", "cracked", "defect", "scratch"),
    "late": ("late", "delay", "waiting", "arrived after"),
    "wrong item": ("wrong", "another", "instead of", "not what"),
    "missing": ("missing", "never arrived", "not arrived", "lost", "empty"),
}


class Complaint(BaseModel):
    """What a customer wrote, and what the order cost them."""

    order_id: str = Field(min_length=1, max_length=64)
    text: str = Field(max_length=10_000)
    paid: Decimal = Field(ge=0)


class Analysis(BaseModel):
    """What can be said of a complaint without a model. `order_found`: the order number has the shop's form."""

    order_id: str
    kind: Literal["damaged", "late", "wrong item", "missing", "other"]
    order_found: bool


class Resolution(BaseModel):
    """What a reviewer is shown and the next step receives. `drafted_by` is `rule` or the name of a model."""

    order_id: str
    amount: Decimal = Field(ge=0, le=LIMIT)
    reply: str = Field(max_length=4_000)
    confidence: float = Field(ge=0, le=1)
    drafted_by: str


class Receipt(BaseModel):
    """The payment that was made."""

    payment_id: str


@step
def analyse(complaint: Complaint) -> Analysis:
    """Sort the complaint by its words. The words are a customer's: they are looked at, and never obeyed."""
    words = complaint.text.lower()
    kind = next((kind for kind, signs in KINDS.items() if any(sign in words for sign in signs)), "other")
    found = ORDER_NUMBER.fullmatch(complaint.order_id) is not None
    return Analysis(order_id=complaint.order_id, kind=kind, order_found=found)


@step(queue="llm", retry=Retry(attempts=5, backoff="2s"), timeout="60s")
def draft(analysis: Analysis, *, input: Complaint, feedback: Feedback | None = None) -> Resolution:
    """Draft the refund and the reply: by a model where one is configured, by a rule otherwise."""
    most = cents(min(input.paid, LIMIT))
    note = feedback.note if feedback is not None else None
    endpoint = Endpoint.from_environment()
    if endpoint is None:
        answer = by_rule(analysis.kind, most=most, note=note)
    else:
        answer = ask_model(endpoint, kind=analysis.kind, text=input.text, most=most, note=note)
    return _resolution(analysis, answer, most)


def _resolution(analysis: Analysis, answer: Answer, most: Decimal) -> Resolution:
    """The draft within its bounds, whatever the complaint talked the model into."""
    confidence, by = answer.confidence, answer.by
    if not analysis.order_found:
        confidence = min(confidence, 0.6)
    if answer.amount > most:
        # The reply may promise what is not paid, so no confidence of the model's own lets this pass unseen.
        confidence, by = 0.0, f"{by}, cut to what was paid"
    return Resolution(
        order_id=analysis.order_id,
        amount=min(answer.amount, most),
        reply=answer.reply,
        confidence=confidence,
        drafted_by=by,
    )


@step(irreversible=True)
def pay(resolution: Resolution, *, idempotency_key: str) -> Receipt:
    """Pay the refund. There is no bank behind this example.

    A payment service takes the key (as `Idempotency-Key`, say) and answers a second request with the first payment.
    Here the same order and amount make the same id, which comes to the same thing.
    """
    amount = cents(resolution.amount)
    log.info("paying %s for order %s under key %s", amount, resolution.order_id, idempotency_key)
    return Receipt(payment_id=f"pay_{resolution.order_id}_{amount}")


@step
def apologise(resolution: Resolution, *, feedback: Feedback) -> None:
    """Tell the customer that nothing is paid. There is no mail server behind this example."""
    log.info("apologising for order %s, refused by %s", resolution.order_id, feedback.by or "the clock")


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
    description="A complaint becomes a refund that a support lead approves when it is large or uncertain.",
)
