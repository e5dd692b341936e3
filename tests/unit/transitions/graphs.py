"""Small graphs, built node by node: no code behind them, and every field within reach."""

from __future__ import annotations

from typing import Any

from signoff.definition.graph import End, GateNode, Goto, Graph, Node, RetryPolicy, Rung, StepNode, TakeOption

NO_RETRY = RetryPolicy(attempts=1, backoff_ms=0, factor=1.0, max_backoff_ms=0, jitter=0.0)
TWICE = RetryPolicy(attempts=2, backoff_ms=1_000, factor=2.0, max_backoff_ms=60_000, jitter=0.0)

COMPLETED = End(status="completed")
FAILED = End(status="failed")
CANCELED = End(status="canceled")

STANDARD = ("approve", "reject", "request_changes")


def step(name: str, following: str | None = None, **options: Any) -> StepNode:
    """A step of the default queue that is tried once, unless `options` say otherwise."""
    values: dict[str, Any] = {
        "name": name,
        "ref": f"steps:{name}",
        "next": following,
        "queue": "default",
        "retry": NO_RETRY,
        "timeout_ms": None,
        "irreversible": False,
        "inline": True,
        "takes": (),
        "input_schema": None,
        "output_schema": None,
    }
    return StepNode(**(values | options))


def gate(name: str, following: str | None = None, **options: Any) -> GateNode:
    """A gate that everybody in `leads` may decide by approving or rejecting."""
    names = options.get("options", ("approve", "reject"))
    onward = COMPLETED if following is None else Goto(node=following)
    routes = {
        option: COMPLETED if option == "reject" else onward for option in names if option != "request_changes"
    } | options.pop("routes", {})
    values: dict[str, Any] = {
        "name": name,
        "next": following,
        "mode": "before",
        "reviewers": ("leads",),
        "title": f"Decide {name}",
        "review_if": None,
        "sample": 0.0,
        "recommend": None,
        "score": None,
        "editable": (),
        "options": names,
        "consequences": {},
        "routes": routes,
        "changes_to": None,
        "due": None,
        "on_timeout": None,
        "ladder": (),
        "approvals": 1,
        "reject_after": 1,
        "priority": 50,
        "form": None,
        "require_note": (),
        "four_eyes": True,
        "grace_ms": 0,
        "bulk": False,
        "blind": False,
        "assign": None,
        "not_before_ms": 0,
        "payload_schema": None,
    }
    return GateNode(**(values | options))


def graph(*nodes: Node, name: str = "small") -> Graph:
    """A graph of these nodes that starts at the first."""
    return Graph(workflow=name, start=nodes[0].name, nodes={node.name: node for node in nodes})


def remind(after_ms: int) -> Rung:
    return Rung(after_ms=after_ms, action="remind")


def escalate(after_ms: int, *to: str) -> Rung:
    return Rung(after_ms=after_ms, action="escalate", to=to)


def reroute(after_ms: int, *to: str) -> Rung:
    return Rung(after_ms=after_ms, action="reroute", to=to)


def take(option: str) -> TakeOption:
    return TakeOption(option=option)


def pay(**options: Any) -> StepNode:
    """An irreversible last step that takes an idempotency key."""
    following = options.pop("following", None)
    return step("pay", following, **({"irreversible": True, "takes": ("idempotency_key",)} | options))
