"""The small graphs that are explored to the end: one for each thing a gate can be told."""

from __future__ import annotations

from tests.unit.transitions.exploration import LARGE, SMALL, Scene
from tests.unit.transitions.graphs import (
    CANCELED,
    FAILED,
    STANDARD,
    TWICE,
    escalate,
    gate,
    graph,
    pay,
    remind,
    reroute,
    step,
    take,
)

from signoff.definition.graph import Goto

HOUR = 3_600_000

SCENES = (
    Scene(name="a step alone", graph=graph(step("draft", retry=TWICE)), depth=8, loses_workers=True),
    Scene(name="two steps, the second can't be undone", depth=8, loses_workers=True,
          graph=graph(step("draft", "ok"), gate("ok", "pay"), pay(retry=TWICE))),
    Scene(name="approve or reject", graph=graph(step("draft", "ok"), gate("ok", "pay"), pay()), depth=8),
    Scene(name="a rejection leads to a step", depth=8,
          graph=graph(step("draft", "ok"), gate("ok", "pay", routes={"reject": Goto(node="sorry")}), pay(),
                      step("sorry"))),
    Scene(name="options of its own", depth=6,
          graph=graph(step("draft", "ok"),
                      gate("ok", "pay", options=("approve", "reject", "later", "burn"),
                           routes={"later": CANCELED, "burn": FAILED}), pay())),
    Scene(name="changes are asked for", depth=8, outputs=(SMALL, LARGE), people=("ana",),
          graph=graph(step("draft", "ok", takes=("feedback",)),
                      gate("ok", "pay", options=STANDARD, changes_to="draft"), pay())),
    Scene(name="a threshold", depth=8, outputs=(SMALL, LARGE), people=("ana",),
          graph=graph(step("draft", "ok", takes=("feedback",)),
                      gate("ok", "pay", options=STANDARD, changes_to="draft", review_if="amount > 5"), pay())),
    Scene(name="two must approve", depth=7, people=("ana", "ben", "cleo"), cancels=False,
          graph=graph(step("draft", "ok"), gate("ok", "pay", approvals=2, reject_after=2), pay())),
    Scene(name="two must approve what may be edited", depth=4, people=("ana", "ben", "cleo"), cancels=False,
          patches=({"amount": 2}, {"amount": 9}),
          graph=graph(step("draft", "ok"), gate("ok", "pay", approvals=2, editable=("amount",)), pay()),
          outputs=(LARGE,)),
    Scene(name="an edit", depth=7, patches=({"amount": 2}, {"other": 1}),
          graph=graph(step("draft", "ok"), gate("ok", "pay", editable=("amount",)), pay())),
    Scene(name="grace", depth=6, withdraws=True,
          graph=graph(step("draft", "ok"),
                      gate("ok", "pay", grace_ms=10_000, due=HOUR, on_timeout=take("reject")), pay())),
    Scene(name="grace for two", depth=4, withdraws=True, people=("ana", "ben", "cleo"), cancels=False, outputs=(),
          patches=({"amount": 9},),
          graph=graph(gate("ok", "pay", grace_ms=10_000, approvals=2, reject_after=2, editable=("amount",)), pay())),
    Scene(name="reminders and a due time", depth=8, people=("ana",),
          graph=graph(step("draft", "ok"), gate("ok", "pay", ladder=(remind(HOUR), remind(2 * HOUR)), due=4 * HOUR,
                                                on_timeout=take("reject")), pay())),
    Scene(name="overdue", depth=7, people=("ana",),
          graph=graph(step("draft", "ok", takes=("feedback",)),
                      gate("ok", "pay", ladder=(remind(HOUR),), due=2 * HOUR, options=STANDARD, changes_to="draft"),
                      pay())),
    Scene(name="escalate and reroute", depth=8, people=("ana",),
          graph=graph(gate("ok", "pay", ladder=(escalate(HOUR, "managers"), reroute(2 * HOUR, "user:max")),
                           due=3 * HOUR, on_timeout=CANCELED), pay())),
    Scene(name="a timeout that fails", depth=8, people=("ana",),
          graph=graph(step("draft", "ok"), gate("ok", "pay", due=HOUR, on_timeout=FAILED), pay())),
    Scene(name="a timeout that leads elsewhere", depth=8, people=("ana",),
          graph=graph(step("draft", "ok"), gate("ok", "pay", due=HOUR, on_timeout=Goto(node="second")), pay(),
                      gate("second", "end"), step("end"))),
    Scene(name="two gates in a row", depth=7,
          graph=graph(gate("first", "second"), gate("second", "pay", due=HOUR, on_timeout=take("reject")), pay())),
    Scene(name="beside the run", depth=6, patches=({"amount": 2},),
          graph=graph(step("draft", "audit"),
                      gate("audit", "send", mode="after", routes={"reject": Goto(node="undo")}, editable=("amount",)),
                      step("send"), step("undo"))),
    Scene(name="beside the run, two people", depth=4, patches=({"amount": 2},),
          graph=graph(step("draft", "audit"),
                      gate("audit", "send", mode="after", approvals=2, editable=("amount",), due=HOUR,
                           on_timeout=Goto(node="undo")), step("send"), step("undo"))),
    Scene(name="beside the run, then before a step", depth=6, people=("ana",), cancels=True,
          graph=graph(step("draft", "audit"), gate("audit", "ok", mode="after"), gate("ok", "pay"), pay())),
    Scene(name="not before a while", depth=6,
          graph=graph(gate("ok", "pay", not_before_ms=HOUR, due=2 * HOUR, on_timeout=take("reject")), pay())),
    Scene(name="claimed and released", depth=6, handles=True, graph=graph(gate("ok", "pay"), pay())),
    Scene(name="gates alone", depth=6, graph=graph(gate("first", "second", approvals=2), gate("second"))),
    Scene(name="a step between the gate and the one that can't be undone", depth=9, people=("ana",),
          graph=graph(step("draft", "ok"), gate("ok", "pay"), pay(following="tell"), step("tell"))),
)  # fmt: skip


def scene(name: str) -> Scene:
    """The scene of this name."""
    (found,) = [each for each in SCENES if each.name == name]
    return found
