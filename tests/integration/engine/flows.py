"""The workflows of these tests."""

from __future__ import annotations

from tests.unit.transitions.graphs import STANDARD, TWICE, escalate, gate, graph, pay, remind, step, take

from signoff.definition.graph import Goto

HOUR = 3_600_000

REFUND = graph(
    step("draft", "ok", takes=("feedback",), retry=TWICE),
    gate(
        "ok",
        "pay",
        options=STANDARD,
        changes_to="draft",
        review_if="amount > 5",
        editable=("amount",),
        due=4 * HOUR,
        on_timeout=take("reject"),
        ladder=(remind(HOUR), escalate(2 * HOUR, "managers")),
    ),
    pay(following="tell"),
    step("tell"),
    name="refund",
)

GATE = graph(gate("ok", "pay", due=HOUR, on_timeout=take("reject"), editable=("amount",)), pay(), name="gate")

PAIR = graph(gate("ok", "pay", approvals=2, editable=("amount",)), pay(), name="pair")

GRACE = graph(gate("ok", "pay", grace_ms=10_000), pay(), name="grace")

CHAIN = graph(step("one", "two", retry=TWICE), step("two", "three"), step("three"), name="chain")

BESIDE = graph(
    step("draft", "audit"),
    gate("audit", "send", mode="after", routes={"reject": Goto(node="undo")}, editable=("amount",)),
    step("send"),
    step("undo", takes=("draft", "input", "feedback")),
    name="beside",
)

UNKEYED = graph(pay(takes=()), name="unkeyed")

QUEUES = graph(
    step("one", "two"), step("two", "ok", queue="llm"), gate("ok", "three"), step("three", queue="llm"), name="queues"
)
