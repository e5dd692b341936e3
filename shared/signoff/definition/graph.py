"""The graph a workflow compiles to: what is stored, hashed and executed.

Python and YAML both end here. A graph holds no code: steps are named by reference, types are JSON Schemas, so that
the API can validate and decide without importing anything of the user's. Its canonical JSON is the version.

Times are whole milliseconds (`_ms`). A text that may hold CEL between braces is a template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

from signoff.canonical import sha256_hex
from signoff.definition.calendars import Calendar

FORMAT = 1
"""Version of the graph's own JSON form; a reader refuses one it does not know."""

DEFAULT_QUEUE = "default"

Schema: TypeAlias = dict[str, Any]
Ending: TypeAlias = Literal["completed", "failed", "canceled"]
Mode: TypeAlias = Literal["before", "after"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goto:
    """Go on at the node of this name."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """End the run with this status."""

    status: Ending


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOption:
    """Do what the gate does for this option; only `on_timeout` may say so."""

    option: str


Target: TypeAlias = Goto | End | TakeOption


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a step is tried and how long to wait between: `backoff_ms * factor^(n-1)`, capped, with jitter.

    `jitter` is the share of the wait that is drawn at random, so that many failed runs do not return at once.
    """

    attempts: int
    backoff_ms: int
    factor: float
    max_backoff_ms: int
    jitter: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNode:
    """One step. `ref` is `module:function`; `takes` names its keyword-only parameters, None when it is unknown."""

    name: str
    ref: str
    next: str | None
    queue: str
    retry: RetryPolicy
    timeout_ms: int | None
    irreversible: bool
    inline: bool
    takes: tuple[str, ...] | None
    input_schema: Schema | None
    output_schema: Schema | None
    kind: Literal["step"] = "step"

    def may_take(self, parameter: str) -> bool:
        """Whether the step has this keyword-only parameter, as far as the graph knows."""
        return self.takes is None or parameter in self.takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One rung of a gate's ladder: `after_ms` from opening, do `action`, towards `to` (`group` or `user:name`)."""

    after_ms: int
    action: Literal["remind", "escalate", "reroute"]
    to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GateNode:
    """One gate: when a person has to decide, who, on what, until when, and where each outcome leads.

    `routes` has one entry per option except `request_changes`, whose way back is `changes_to`. `on_timeout` is what
    happens at `due`; None leaves the human task open and overdue, because silence decides nothing by itself.
    `payload_schema` is the type of what is shown, None when unknown. `due` is milliseconds, or a template that gives
    a duration. Where `authority` is on, approving takes a limit that admits the payload, and `above` is asked where
    nobody who is asked has one. With a `calendar`, `due` and the ladder are counted in its working hours.
    """

    name: str
    next: str | None
    mode: Mode
    reviewers: tuple[str, ...]
    title: str
    review_if: str | None
    sample: float
    recommend: str | None
    score: str | None
    editable: tuple[str, ...]
    options: tuple[str, ...]
    consequences: Mapping[str, str]
    routes: Mapping[str, Target]
    changes_to: str | None
    due: int | str | None
    on_timeout: Target | None
    ladder: tuple[Rung, ...]
    approvals: int
    reject_after: int
    priority: int
    form: Schema | None
    require_note: tuple[str, ...]
    four_eyes: bool
    grace_ms: int
    bulk: bool
    blind: bool
    assign: str | None
    not_before_ms: int
    payload_schema: Schema | None
    authority: bool = False
    above: tuple[str, ...] = ()
    calendar: Calendar | None = None
    kind: Literal["gate"] = "gate"


Node: TypeAlias = StepNode | GateNode


def after_gate(gate: GateNode) -> Target:
    """Where the main line goes after this gate."""
    return End(status="completed") if gate.next is None else Goto(node=gate.next)


def goes_on(gate: GateNode, option: str) -> bool:
    """Whether this option lets the run go on as an approval does; refusing and asking for changes never do."""
    if option in ("reject", "request_changes"):
        return False
    return option == "approve" or gate.routes.get(option, after_gate(gate)) == after_gate(gate)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One workflow version. `start` is the first node; `nodes` holds branches as well as the main line."""

    workflow: str
    start: str
    nodes: Mapping[str, Node]
    input_schema: Schema | None = None
    description: str = ""
    format: int = field(default=FORMAT)

    @cached_property
    def sha256(self) -> str:
        """The id of this version: SHA-256 over the canonical JSON of the graph."""
        return sha256_hex(self.to_json())

    def step(self, name: str) -> StepNode:
        """The step of this name. Raises KeyError when there is none or it is a gate."""
        node = self.nodes[name]
        if not isinstance(node, StepNode):
            raise KeyError(name)
        return node

    def gate(self, name: str) -> GateNode:
        """The gate of this name. Raises KeyError when there is none or it is a step."""
        node = self.nodes[name]
        if not isinstance(node, GateNode):
            raise KeyError(name)
        return node

    def to_json(self) -> dict[str, Any]:
        """The stored form; `Graph.from_json` reads it back to an equal graph."""
        return {
            "format": self.format,
            "workflow": self.workflow,
            "description": self.description,
            "start": self.start,
            "input_schema": self.input_schema,
            "nodes": {name: _node_to_json(node) for name, node in self.nodes.items()},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Graph:
        """The graph that `to_json` stored. Raises ValueError for a form this release does not know."""
        if stored.get("format") != FORMAT:
            raise ValueError(f"graph format {stored.get('format')!r} is not known; this release reads {FORMAT}")
        return cls(
            workflow=stored["workflow"],
            description=stored["description"],
            start=stored["start"],
            input_schema=stored["input_schema"],
            nodes={name: _node_from_json(name, node) for name, node in stored["nodes"].items()},
        )


def _target_to_json(target: Target | None) -> dict[str, str] | None:
    match target:
        case None:
            return None
        case Goto(node=node):
            return {"goto": node}
        case End(status=status):
            return {"end": status}
        case TakeOption(option=option):
            return {"option": option}


def _target_from_json(stored: Mapping[str, str] | None) -> Target | None:
    if stored is None:
        return None
    ((kind, name),) = stored.items()
    if kind == "goto":
        return Goto(node=name)
    if kind == "option":
        return TakeOption(option=name)
    if kind == "end" and name in ("completed", "failed", "canceled"):
        return End(status=name)  # type: ignore[arg-type]  # the line above narrowed it
    raise ValueError(f"unknown target {stored!r}")


def _node_to_json(node: Node) -> dict[str, Any]:
    stored = asdict(node)
    del stored["name"]
    if isinstance(node, GateNode):
        stored["routes"] = {option: _target_to_json(target) for option, target in node.routes.items()}
        stored["on_timeout"] = _target_to_json(node.on_timeout)
        # Left out where there is none: versions from before there were calendars keep their hash.
        del stored["calendar"]
        if not node.authority:
            del stored["authority"], stored["above"]
        if node.calendar is not None:
            stored["calendar"] = node.calendar.to_json()
    return {key: list(value) if isinstance(value, tuple) else value for key, value in stored.items()} | (
        {"ladder": [asdict(rung) | {"to": list(rung.to)} for rung in node.ladder]} if isinstance(node, GateNode) else {}
    )


def _node_from_json(name: str, stored: Mapping[str, Any]) -> Node:
    values = dict(stored) | {"name": name}
    if values["kind"] == "step":
        values["retry"] = RetryPolicy(**values["retry"])
        values["takes"] = None if values["takes"] is None else tuple(values["takes"])
        return StepNode(**values)
    if values["kind"] == "gate":
        for key in ("reviewers", "editable", "options", "require_note"):
            values[key] = tuple(values[key])
        values["ladder"] = tuple(Rung(**(rung | {"to": tuple(rung["to"])})) for rung in values["ladder"])
        values["routes"] = {option: _target_from_json(target) for option, target in values["routes"].items()}
        values["on_timeout"] = _target_from_json(values["on_timeout"])
        values["above"] = tuple(values.get("above", ()))
        if values.get("calendar") is not None:
            values["calendar"] = Calendar.from_json(values["calendar"])
        return GateNode(**values)
    raise ValueError(f"unknown node kind {values['kind']!r}")
