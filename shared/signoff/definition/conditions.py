"""Expressions in CEL over a payload: checked against its schema when defined, evaluated without ever raising.

The rule for evaluation is that uncertainty never approves: a missing field, a type error, NaN, too much work or a
result of the wrong kind comes back as an error, and the gate then asks a person.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cel_expr_python import cel

from signoff.canonical import Json
from signoff.definition.cel_faults import (
    ExpressionFault,
    compile_faults,
    is_syntax,
    kind_of,
    runtime_error,
    say_type,
)
from signoff.definition.cel_guard import found_no_number, guarded
from signoff.definition.cel_scope import PAYLOAD, PYTHON_TYPES, Scope, cel_type, name_faults
from signoff.definition.cel_text import MAX_EXPRESSION, UNDECLARABLE, Use, Work, patterns_in, uses, work_of
from signoff.definition.graph import Schema
from signoff.definition.json_types import branches, declared_fields, fields_of, is_decimal, parse_decimal
from signoff.definition.patterns import matches

MAX_ITERATIONS = 10_000
"""CEL's own limit on the iterations of one evaluation."""
MAX_WORK = 50_000_000
"""Characters and elements that one evaluation may touch at worst: 0.3 s, as measured."""
_MAX_DEPTH = 64

_NO_VALUE = (cel.Type.ERROR, cel.Type.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an evaluation came to: a value, or why there is none."""

    value: Any = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expression:
    """One compiled expression. `uses` are the names it takes from the payload."""

    source: str
    scope: Scope
    uses: tuple[Use, ...]
    plans: Mapping[str, _Plan] = field(repr=False)
    work: Work
    program: Any = field(repr=False)
    kind: str
    guarded: bool = False

    @property
    def is_bool(self) -> bool:
        """Whether it always gives true or false."""
        return self.kind == "BOOL"

    def evaluate(self, payload: Json) -> Outcome:
        """The value of the expression over `payload`; never raises, an error says why there is no value."""
        measure = _Measure(self.scope.schema)
        try:
            data = self._bindings(payload, measure)
            if self._too_much(measure):
                return Outcome(error="the payload is too large for a condition with loops")
            found = self.program.eval(data=data)
            if found.type() in _NO_VALUE:
                return Outcome(error=self._why(str(found.value())))
            return Outcome(value=found.plain_value())
        except _Unusable as error:
            return Outcome(error=str(error))
        except RecursionError:
            return Outcome(error="the payload is nested too deeply")
        except Exception as error:  # noqa: BLE001  # the C++ layer's errors have no common class; a person decides
            return Outcome(error=self._why(str(error)))

    def _why(self, message: str) -> str:
        if self.guarded and found_no_number(message):
            return "a calculation in it comes to no number, as a division by zero does"
        return runtime_error(message)

    def test(self, payload: Json) -> Outcome:
        """`evaluate` for a condition: the value is True or False, anything else is an error."""
        found = self.evaluate(payload)
        if found.error is None and not isinstance(found.value, bool):
            return Outcome(error=f"it gives {kind_of(found.value)}, not true or false")
        return found

    def _bindings(self, payload: Json, measure: _Measure) -> dict[str, Any]:
        data: dict[str, Any] = {}
        owned = payload if isinstance(payload, dict) else {}
        for name, plan in self.plans.items():
            if name in owned and name not in UNDECLARABLE:
                data[name] = plan.read(owned[name], measure)
            elif name == PAYLOAD:
                data[name] = measure.convert(payload, self.scope.schema, 0)
        return data

    def _too_much(self, measure: _Measure) -> bool:
        work = self.work
        weight = measure.weight + len(self.source)
        if not work.loops:
            return (work.joins + 1) * weight > MAX_WORK
        width = max(measure.width, len(self.source) // 2)
        iterations = min(MAX_ITERATIONS, width**work.loops)
        touched = weight * (min(width, MAX_ITERATIONS) if work.maps else 1)
        if work.wanders or work.maps or work.joins > 4:
            touched *= iterations
        return touched * (work.scans + 1) > MAX_WORK


class _Unusable(Exception):  # never leaves this module
    pass


class _Measure:
    """Turns JSON into what CEL is given, counting what is handed over: characters and elements, and the widest."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.weight = 0
        self.width = 1

    def convert(self, value: Json, schema: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise _Unusable("the payload is nested too deeply")
        if isinstance(value, str):
            self.weight += len(value)
            return self._text(value, schema)
        if isinstance(value, float) and not math.isfinite(value):
            raise _Unusable("a number in it is not finite")
        if isinstance(value, list):
            self._count(len(value))
            item = inner_schema(schema, "items", self.root)
            return [self.convert(each, item, depth + 1) for each in value]
        if isinstance(value, dict):
            self._count(len(value))
            fields = fields_of(schema, self.root) if schema else None
            other = {} if fields else inner_schema(schema, "additionalProperties", self.root)
            return {
                str(key): self.convert(each, (fields or {}).get(key, other), depth + 1) for key, each in value.items()
            }
        self.weight += 1
        return value

    def _text(self, value: str, schema: Any) -> Any:
        if schema and _may_be_decimal(schema, self.root):
            number = parse_decimal(value)
            if number is not None:
                double = float(number)
                if not math.isfinite(double):
                    raise _Unusable("a number in it is too large")
                return double
        return value

    def _count(self, width: int) -> None:
        self.weight += width
        self.width = max(self.width, width)


def inner_schema(schema: Any, key: str, root: Schema) -> Any:
    """The schema of a list's items or of an object's other fields; empty where there is none."""
    for branch in branches(schema, root) if schema else ():
        if isinstance(branch.get(key), Mapping):
            return branch[key]
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """How one field of the payload becomes a CEL value; `kind` is the Python type it must come to, None for any."""

    name: str
    schema: Any
    kind: type | None

    def read(self, value: Json, measure: _Measure) -> Any:
        """`value` as its declared type; what does not fit it is refused rather than stretched."""
        found = measure.convert(value, self.schema, 0)
        kind = self.kind
        if kind is None or type(found) is kind:
            return found
        if kind is float and type(found) is int:
            return float(found)
        if kind is int and type(found) is float and found.is_integer():
            return int(found)
        raise _Unusable(f"field {self.name!r} is {kind_of(found)}")


def _plans(used: Iterable[Use], scope: Scope) -> dict[str, _Plan]:
    fields, _ = declared_fields(scope.schema, scope.schema)
    other = inner_schema(scope.schema, "additionalProperties", scope.schema)
    plans = {}
    for name in {use.path[0] for use in used}:
        schema = fields.get(name, other)
        # Only declared types are held to: where names are not known everything is dynamic.
        known = scope.fields is not None and name in fields
        kind = PYTHON_TYPES.get(cel_type(schema, scope.schema).name()) if known else None
        plans[name] = _Plan(name=name, schema=schema, kind=kind)
    return plans


def _may_be_decimal(schema: Any, root: Schema) -> bool:
    if "anyOf" in schema or "oneOf" in schema or "$ref" in schema:
        return any(is_decimal(branch) for branch in branches(schema, root))
    return is_decimal(schema)


def compile_expression(source: str, scope: Scope, *, condition: bool = False) -> Expression:
    """`source` compiled and checked against `scope`; with `condition` its result has to be true or false.

    Raises ExpressionFault with the code, the reason and the fix.
    """
    if len(source) > MAX_EXPRESSION:
        raise ExpressionFault(
            "E116", f"has {len(source)} characters; {MAX_EXPRESSION} are allowed", "compute it in a step"
        )
    if not source.strip():
        raise ExpressionFault("E105", "is empty", "leave it out, or write what it is about")
    used = uses(source)
    work = work_of(source)
    kind = _check(source, scope, used)
    if work.fault is not None:
        raise ExpressionFault("E129", work.fault, "compute it in a step and let the expression use the result")
    if condition and kind not in (cel.Type.BOOL, cel.Type.DYN):
        raise ExpressionFault("E106", f"gives {say_type(kind.name())}, not true or false", "compare it with a value")
    safe = guarded(source)
    program, faults = _compile(safe, scope.environment(used))
    if faults:  # the guards add a little depth; the expression itself has just been compiled
        raise ExpressionFault("E105", "is nested too deeply", "compute it in a step")
    return Expression(
        source=source,
        scope=scope,
        uses=tuple(used),
        plans=_plans(used, scope),
        work=work,
        program=program,
        kind=kind.name(),
        guarded=safe is not source,
    )


def _check(source: str, scope: Scope, used: list[Use]) -> Any:
    """The type of an expression. Raises ExpressionFault with all that is wrong with it, names first."""
    names = name_faults(used, scope)
    program, faults = _compile(source, scope.checking(used))
    if any(map(is_syntax, faults)):
        # What cannot be read has no sure names: only what another language would say, and likely slips, are told.
        foreign = [fault for fault in names if fault.code != "E104"]
        raise ExpressionFault.joined(
            foreign or [*faults, *(fault for fault in names if fault.fix.startswith("did you mean"))]
        )
    if scope.fields is None:
        names = [fault for fault in names if fault.what.startswith(_NEVER_FIELDS)]
    faults += [
        ExpressionFault("E105", f"has the pattern {pattern[:80]!r}, which RE2 cannot read", _PATTERN_FIX)
        for pattern in patterns_in(source)
        if matches(pattern, "") is None
    ]
    if names:
        faults = [fault for fault in faults if not fault.what.startswith("reads a field")]
    if names or faults:
        raise ExpressionFault.joined([*names, *faults])
    return program.return_type()


_PATTERN_FIX = "close every bracket; RE2 has no lookaround and no back-references"
_NEVER_FIELDS = ("uses 'True'", "uses 'False'", "uses 'None'")
"""A payload of any form may have a field `is` or `and`; one of these is a slip."""


def _compile(source: str, environment: Any) -> tuple[Any, list[ExpressionFault]]:
    try:
        return environment.compile(source), []
    except Exception as error:  # noqa: BLE001  # one RuntimeError for everything, told apart by its text
        return None, compile_faults(str(error), source)
