"""Limits of authority: up to what somebody may approve, as data beside the principals. Pure.

A limit says of a person or a group, at some gates or all of them, which payloads they may let go on: a condition in
CEL over the payload as it would be executed. One that holds is enough. Where none holds, or none can be evaluated,
nothing is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from signoff.canonical import Json
from signoff.definition.cel_faults import ExpressionFault
from signoff.definition.cel_scope import Scope
from signoff.definition.conditions import Expression, compile_expression
from signoff.definition.graph import GateNode, Graph, Schema
from signoff.errors import FieldError, Forbidden, InvalidInput
from signoff.model import format_time

ANY = "*"
"""Stands for every workflow, or every gate."""
MAX_LIMIT = 1_000
"""Characters of one limit."""
USER, GROUP = "user:", "group:"
_MAX_COMPILED = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit. `subject` is `user:NAME` or `group:NAME`, `set_by` an actor as the log names them.

    What was superseded or removed has `ended_at`, and counts for nothing any more.
    """

    id: UUID
    subject: str
    workflow: str
    gate: str
    expression: str
    set_by: Mapping[str, Any]
    set_at: datetime
    ended_by: Mapping[str, Any] | None = None
    ended_at: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """As the API and the command line show it."""
        return {
            "id": str(self.id),
            "subject": self.subject,
            "workflow": self.workflow,
            "gate": self.gate,
            "limit": self.expression,
            "set_by": dict(self.set_by),
            "set_at": format_time(self.set_at),
            "ended_by": None if self.ended_by is None else dict(self.ended_by),
            "ended_at": None if self.ended_at is None else format_time(self.ended_at),
        }

    def evidence(self) -> dict[str, Any]:
        """As a decision keeps it: what allowed it, and who had said so."""
        shown = self.to_json()
        return {name: shown[name] for name in ("id", "subject", "workflow", "gate", "limit", "set_by", "set_at")}


class OverLimit(Forbidden):
    """No limit of authority admits this payload. `payload` is what would have gone on."""

    code = "over_limit"

    def __init__(self, detail: str, *, payload: Json, fix: str | None = None) -> None:
        self.payload = payload
        super().__init__(detail, fix=fix)


def subjects_of(name: str, groups: Iterable[str]) -> frozenset[str]:
    """The subjects whose limits apply to a person of this name and these groups."""
    return frozenset({f"{USER}{name}", *(f"{GROUP}{group}" for group in groups)})


def held_by(limits: Iterable[Limit], name: str, groups: Iterable[str]) -> tuple[Limit, ...]:
    """Those of these limits that apply to this person."""
    subjects = subjects_of(name, groups)
    return tuple(limit for limit in limits if limit.subject in subjects)


def admitting(limits: Iterable[Limit], graph: Graph, gate: GateNode, payload: Json) -> tuple[Limit, ...]:
    """Those that apply at this gate and admit the payload. One that can't be evaluated admits nothing."""
    return tuple(
        limit
        for limit in limits
        if limit.ended_at is None
        and limit.workflow in (ANY, graph.workflow)
        and limit.gate in (ANY, gate.name)
        and _holds(limit.expression, graph, gate, payload)
    )


def expect_within(graph: Graph, gate: GateNode, payload: Json, held: Sequence[Limit]) -> Limit:
    """The limit that lets whoever holds these approve the payload. Raises OverLimit where none does."""
    found = admitting(held, graph, gate, payload)
    if found:
        return found[0]
    if not held:
        raise OverLimit(f"you have no limit of authority at gate {gate.name!r}", payload=payload)
    yours = "; ".join(dict.fromkeys(limit.expression for limit in held))
    raise OverLimit(f"this is over your limit of authority: {yours}", payload=payload)


def expect_lent(graph: Graph, gate: GateNode, payload: Json, lent: Mapping[str, Sequence[Limit]]) -> tuple[str, Limit]:
    """By whose limit, and by which, somebody may approve the payload in another's stead. `lent` is theirs, by name.

    It takes nobody's own limits away: nobody lends more than they have. Raises OverLimit where none admits it.
    """
    for name, limits in lent.items():
        found = admitting(limits, graph, gate, payload)
        if found:
            return name, found[0]
    names = " or ".join(lent) or "those who are not there any more"
    raise OverLimit(
        f"this is over the limit of authority of {names}, in whose stead you would approve", payload=payload
    )


def check_limit(source: str, schemas: Sequence[Schema | None]) -> None:
    """Raise InvalidInput unless `source` is a condition over a payload of one of these schemas."""
    if len(source) > MAX_LIMIT:
        _refuse(f"has {len(source)} characters; {MAX_LIMIT} are allowed", "say it in fewer")
    first: ExpressionFault | None = None
    for schema in schemas:
        try:
            compile_expression(source, Scope.of(schema), condition=True)
        except ExpressionFault as fault:
            first = first or fault
        else:
            return
    assert first is not None, "a limit is checked against one schema at least"
    told = first.each()
    _refuse("; ".join(each.what for each in told), next((each.fix for each in told if each.fix), None))


def _refuse(what: str, fix: str | None) -> None:
    raise InvalidInput(errors=[FieldError(path="/limit", message=f"the limit {what}", fix=fix or None)])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    source: str
    sha256: str
    gate: str
    schema: Schema | None = field(compare=False, hash=False)


@lru_cache(maxsize=_MAX_COMPILED)
def _compiled(key: _Key) -> Expression | None:
    try:
        return compile_expression(key.source, Scope.of(key.schema), condition=True)
    except ExpressionFault:
        return None


def _holds(source: str, graph: Graph, gate: GateNode, payload: Json) -> bool:
    key = _Key(source=source, sha256=graph.sha256, gate=gate.name, schema=gate.payload_schema)
    expression = _compiled(key)
    if expression is None:
        return False
    found = expression.test(payload)
    return found.error is None and found.value is True
