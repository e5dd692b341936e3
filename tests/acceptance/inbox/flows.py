"""Workflows of gates alone for the tests of the pages: their runs show what they were started with."""

from __future__ import annotations

from typing import Any

from tests.acceptance.caller import Caller

LETTER = """
workflow: {name}
input:
  type: object
  properties:
    order: {{type: string, title: Order}}
    amount: {{type: string, format: decimal, title: Amount}}
    reply: {{type: string, title: Reply, maxLength: 4000}}
    confidence: {{type: number, title: Confidence}}
  required: [order, amount, reply]
steps:
  - gate: read
    reviewers: support-leads
    title: "Letter about {{order}}"
    recommend: reply
    score: confidence
    editable: [amount, reply]
    options: [approve, reject]
    consequences: {{approve: "Pays {{amount}} now.", reject: "Nothing is paid."}}
{more}
"""


def letter(admin: Caller, name: str, *more: str) -> str:
    """Register a gate of this name with more keys; the name."""
    admin.register(LETTER.format(name=name, more="\n".join(f"    {line}" for line in more)))
    return name


def value(order: str, **more: Any) -> dict[str, Any]:
    """What a run of it is started with."""
    return {"order": order, "amount": "640.00", "reply": "We are sorry, and pay it back.", "confidence": 0.62} | more


def opened(requester: Caller, reviewer: Caller, workflow: str, order: str, **more: Any) -> Any:
    """A run that waits at the gate; its human task."""
    return reviewer.parked(requester.start(workflow, value(order, **more)))
