"""What a gate says about one payload: whether a person has to decide, why, who, and until when.

`rules_for` compiles a gate's expressions once; `GateRules` then answers, purely and without ever raising, for any
JSON payload. Where something can't be evaluated the answer is the careful one: review it, no candidates, no deadline.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from signoff.canonical import Json
from signoff.definition.cel_faults import ExpressionFault
from signoff.definition.cel_scope import PAYLOAD, Scope
from signoff.definition.cel_text import disjuncts
from signoff.definition.conditions import (
    Expression,
    Outcome,
    compile_expression,
)
from signoff.definition.fields import ROUND_ROBIN, USER_PREFIX, is_reviewer, split_path
from signoff.definition.graph import GateNode, Graph, Rung
from signoff.definition.json_types import json_fault
from signoff.definition.templates import Template, compile_template, is_missing, look_up, show
from signoff.durations import MAX_DURATION_MS, parse_duration

ALWAYS = "always"
"""The rule of a gate without a condition."""

MAX_WHY = 1_000
_MAX_SHOWN = 200
_MAX_NAMES = 20
_MAX_RULES = 1_024
_UNSAFE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a person reviews, and the evidence for it.

    `rule` is the condition's source or `always`; `values` are the names it used with what they held, as JSON, long
    ones cut; `why` is the sentence for people; `sampled` says that only the sample asks for a review; `error` says
    why the condition could not be evaluated, in which case `review` is true.
    """

    review: bool
    rule: str
    values: Mapping[str, Json]
    why: str
    sampled: bool = False
    error: str | None = None

    def to_json(self) -> dict[str, Json]:
        """The verdict as the log keeps it."""
        return {
            "review": self.review,
            "rule": self.rule,
            "values": dict(self.values),
            "why": self.why,
            "sampled": self.sampled,
            "error": self.error,
        }


def rules_for(graph: Graph, gate: str) -> GateRules:
    """The compiled rules of the gate of this name. Raises KeyError when the graph has no such gate."""
    return _cached_rules(_Key(sha256=graph.sha256, gate=gate, graph=graph))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    sha256: str
    gate: str
    graph: Graph = field(compare=False, hash=False)


@lru_cache(maxsize=_MAX_RULES)
def _cached_rules(key: _Key) -> GateRules:
    return GateRules(key.graph.gate(key.gate))


class GateRules:
    """The policy of one gate. Every method is pure and raises nothing, whatever JSON the payload is."""

    def __init__(self, node: GateNode) -> None:
        self.node = node
        self._scope = Scope.of(node.payload_schema)
        self._condition = _expression(node.review_if, self._scope) if node.review_if is not None else None
        self._disjuncts = self._compile_disjuncts()
        self._title = _template(node.title, self._scope)
        self._consequences = {option: _template(text, self._scope) for option, text in node.consequences.items()}
        self._reviewers = [_template(text, self._scope) for text in node.reviewers]
        self._assign = _template(node.assign, self._scope) if node.assign else None
        self._due = _template(node.due, self._scope) if isinstance(node.due, str) else None

    def review(self, payload: Json, run_id: UUID) -> Verdict:
        """Whether a person has to decide on `payload`; `run_id` places the run in or out of the gate's sample."""
        rule = self.node.review_if
        if rule is None:
            return Verdict(review=True, rule=ALWAYS, values={}, why="every run is reviewed here")
        if isinstance(self._condition, str):
            return self._undecided(rule, {}, self._condition)
        assert self._condition is not None  # a rule has a condition
        values = _values(self._condition, payload)
        found = self._condition.test(payload)
        if found.error is not None:
            return self._undecided(rule, values, found.error)
        if found.value:
            return Verdict(review=True, rule=rule, values=values, why=self._reasons(payload))
        if self.samples(run_id):
            share = f"{self.node.sample * 100:g} %"
            why = f"sampled: {share} of what the condition would let pass is reviewed"
            return Verdict(review=True, rule=rule, values=values, why=why, sampled=True)
        why = f"no review needed: {_with_values(rule, values)} does not hold"
        return Verdict(review=False, rule=rule, values=values, why=_safe(why, MAX_WHY))

    def samples(self, run_id: UUID) -> bool:
        """Whether the gate's sample takes this run; always the same answer for the same run and gate."""
        if self.node.sample <= 0:
            return False
        digest = hashlib.sha256(f"{run_id}:{self.node.name}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < self.node.sample

    def title(self, payload: Json) -> str:
        """The human task's title, at most 1,000 characters, in one line."""
        return " ".join(_safe(_render(self._title, payload), MAX_WHY).split())

    def consequences(self, payload: Json) -> dict[str, str]:
        """What each option leads to, in the gate's own words."""
        return {option: _safe(_render(text, payload), MAX_WHY) for option, text in self._consequences.items()}

    def recommendation(self, payload: Json) -> dict[str, Json] | None:
        """`{"value", "score"}` from the fields the gate names; a field that is not there is null."""
        node = self.node
        if node.recommend is None and node.score is None:
            return None
        return {"value": _field(payload, node.recommend), "score": _field(payload, node.score)}

    def reviewers(self, payload: Json) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Who may decide: names of users and names of groups. What cannot be evaluated names nobody."""
        return _people(name for each in self._reviewers for name in _names(each, payload))

    def rung_reviewers(self, rung: Rung, payload: Json = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Whom one rung of the ladder asks: names of users and names of groups."""
        templates = (_template(text, self._scope) for text in rung.to)
        return _people(name for each in templates for name in _names(each, payload))

    def assignee(self, payload: Json) -> str | None:
        """The user the human task goes to at once; None when nobody, or when the gate says `round_robin`."""
        if self._assign is None or self.node.assign == ROUND_ROBIN:
            return None
        found = _names(self._assign, payload)
        users = [name.removeprefix(USER_PREFIX) for name in found]
        return users[0] if len(users) == 1 and is_reviewer(users[0]) else None

    def in_turn(self, users: Iterable[str], run_id: UUID) -> str | None:
        """Whom `round_robin` picks among `users`: as often one as the other, and always the same for the same run."""
        listed = sorted(users)
        if not listed:
            return None
        digest = hashlib.sha256(f"{run_id}:{self.node.name}:assign".encode()).digest()
        return listed[int.from_bytes(digest[:8], "big") % len(listed)]

    def due_ms(self, payload: Json) -> int | None:
        """Milliseconds until the human task is due, of working time with a calendar; None for no deadline.

        A template that gives no duration means no deadline too: a timeout decides something, so it has to be
        certain.
        """
        if self._due is None:
            return self.node.due if isinstance(self.node.due, int) else None
        if isinstance(self._due, str):
            return None
        filled = self._due.fill(payload)
        if not filled.complete:
            return None
        try:
            if isinstance(filled.value, timedelta):
                ms = round(filled.value.total_seconds() * 1000)
            else:
                days = self.node.calendar
                lengths = {} if days is None else {"day_ms": days.day_ms, "week_ms": days.week_ms}
                ms = parse_duration(filled.text, **lengths)
        except ValueError:
            return None
        return ms if 0 < ms <= MAX_DURATION_MS else None

    def _undecided(self, rule: str, values: Mapping[str, Json], error: str) -> Verdict:
        why = _safe(f"the condition could not be evaluated ({error}), so a person decides", MAX_WHY)
        return Verdict(review=True, rule=rule, values=values, why=why, error=_safe(error, _MAX_SHOWN))

    def _compile_disjuncts(self) -> list[Expression]:
        if not isinstance(self._condition, Expression):
            return []
        compiled = (_expression(part, self._scope) for part in disjuncts(self._condition.source))
        return [part for part in compiled if isinstance(part, Expression)]

    def _reasons(self, payload: Json) -> str:
        holding = [part for part in self._disjuncts if part.test(payload) == Outcome(value=True)]
        assert isinstance(self._condition, Expression)  # only a condition has reasons
        parts = holding or [self._condition]
        return _safe("; ".join(_with_values(part.source, _values(part, payload)) for part in parts), MAX_WHY)


def _expression(source: str, scope: Scope) -> Expression | str:
    """The expression, or why it does not compile (a graph from elsewhere): then nothing is certain."""
    try:
        return compile_expression(source, scope)
    except ExpressionFault as fault:
        return fault.what


def _template(source: str, scope: Scope) -> Template | str:
    """The template, or its bare text where it does not compile."""
    try:
        return compile_template(source, scope)
    except ExpressionFault:
        return source


def _render(template: Template | str, payload: Json) -> str:
    return template if isinstance(template, str) else template.render(payload)


def _names(template: Template | str, payload: Json) -> list[str]:
    if isinstance(template, str):
        return []
    filled = template.fill(payload)
    if not filled.complete:
        return []
    if isinstance(filled.value, list):
        return [name.strip() for name in filled.value if isinstance(name, str)]
    if isinstance(filled.value, str):
        return [name.strip() for name in filled.value.split(",")]
    return [name.strip() for name in filled.text.split(",")]


def _people(names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    valid = dict.fromkeys(name for name in names if is_reviewer(name))
    users = tuple(name.removeprefix(USER_PREFIX) for name in valid if name.startswith(USER_PREFIX))
    return users, tuple(name for name in valid if not name.startswith(USER_PREFIX))


def _field(payload: Json, path: str | None) -> Json:
    if path is None:
        return None
    found = look_up(payload, split_path(path))
    return None if is_missing(found) else found


def _values(expression: Expression, payload: Json) -> dict[str, Json]:
    """The names an expression uses with what they hold, cut to what a log entry should carry."""
    out: dict[str, Json] = {}
    for use in expression.uses:
        name = ".".join(use.path[1:] if use.path[0] == PAYLOAD and len(use.path) > 1 else use.path)
        found = look_up(payload, use.path)
        if name not in out and not is_missing(found) and len(out) < _MAX_NAMES:
            out[_safe(name, _MAX_SHOWN)] = _shown(found)
    return out


def _shown(value: Any) -> Json:
    match value:
        case None | bool():
            return value
        case int() if abs(value) < 2**53:
            return value
        case float() if math.isfinite(value):
            return value
        case str():
            return _safe(value, _MAX_SHOWN)
        case list():
            return f"a list of {len(value)}" if _is_long(value) else value
        case dict():
            return f"an object of {len(value)} fields" if _is_long(value) else value
    return _safe(str(value), _MAX_SHOWN)


def _is_long(value: Any) -> bool:
    if len(value) > _MAX_NAMES or json_fault(value) is not None:
        return True
    return len(orjson.dumps(value)) > 2 * _MAX_SHOWN


def _with_values(source: str, values: Mapping[str, Json]) -> str:
    held = ", ".join(f"{name} is {_safe(show(value), 80)}" for name, value in values.items())
    return f"{source.strip()} ({held})" if held else source.strip()


def _safe(text: str, limit: int) -> str:
    """`text` cut to `limit`, without the characters that storage refuses."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return _UNSAFE.sub("\ufffd", cut)
