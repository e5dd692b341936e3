"""A refund to review, and what the form of the Review screen has."""

from __future__ import annotations

from typing import Any

from tests.integration.inbox.html import Node

PAYLOAD: dict[str, Any] = {
    "order_id": "A-881",
    "amount": "640.00",
    "rate": 0.5,
    "count": 3,
    "urgent": False,
    "color": "red",
    "nick": None,
    "ship": {"city": "Rome"},
    "tags": ["a", "b"],
    "reply": "We are sorry that it arrived broken. You get all of your money back today.",
    "plain": "x",
    "confidence": 0.62,
}


def edit_field(page: Node, name: str) -> Node:
    return page.one(name=f"edit.{name}")


def controls_locked(page: Node) -> bool:
    return all(button.disabled for button in page.find("button", data_arm=True))
