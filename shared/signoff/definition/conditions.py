"""Expressions in CEL over a payload: checked against its schema when defined, evaluated without ever raising.

The rule for evaluation is that uncertainty never approves: a missing field, a type error, NaN, too much work or a
result of the wrong kind comes back as an error, and the gate then asks a person.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cel_expr_python import cel

from signoff.canonical import Json
from signoff.definition.cel_faults import ExpressionFault, compile_fault, kind_of, runtime_error, say_type
from signoff.definition.cel_text import (
    CEL_IDENTIFIER,
    MAX_EXPRESSION,
    TYPE_NAMES,
    UNDECLARABLE,
    Use,
    Work,
    uses,
    work_of,
)
from signoff.definition.faults import did_you_mean
from signoff.definition.graph import Schema
from signoff.definition.json_types import (
    branches,
    declared_fields,
    deref,
    fields_of,
    is_decimal,
    parse_decimal,
    title_of,
    types_of,
)

PAYLOAD = "payload"
"""The variable that holds the whole payload, for fields whose names are no CEL identifiers."""

MAX_ITERATIONS = 10_000
"""CEL's own limit on the iterations of one evaluation."""
MAX_WORK = 50_000_000
"""Characters and elements that one evaluation may touch at worst: 0.3 s, as measured."""
_MAX_DEPTH = 64

_CEL_TYPES = {
    "string": cel.Type.STRING,
    "integer": cel.Type.INT,
    "number": cel.Type.DOUBLE,
    "boolean": cel.Type.BOOL,
    "array": cel.Type.List(cel.Type.DYN),
}
_NO_VALUE = (cel.Type.ERROR, cel.Type.UNKNOWN)


@dataclass(frozen=True, eq=False)
class Scope:
    """What an expression may name: the fields of a payload's schema. `fields` is None where they are not known."""

    schema: Schema
    fields: Mapping[str, Any] | None
    title: str

    @classmethod
    def of(cls, schema: Schema | None) -> Scope:
        """The scope of a payload with this schema, None when there is no schema."""
        if not schema:
            return cls({}, None, "the payload")
        return cls(schema, fields_of(schema, schema), title_of(schema))

    def environment(self, used: Iterable[Use]) -> Any:
        """The CEL environment for an expression that uses these names."""
        if self.fields is not None:
            return self._declared
        names = {use.path[0] for use in used} - UNDECLARABLE
        return cel.NewEnv(variables=dict.fromkeys({*names, PAYLOAD}, cel.Type.DYN))

    @cached_property
    def _declared(self) -> Any:
        declared = {
            name: _cel_type(schema, self.schema)
            for name, schema in (self.fields or {}).items()
            if CEL_IDENTIFIER.fullmatch(name) and name not in UNDECLARABLE
        }
        return cel.NewEnv(variables={PAYLOAD: cel.Type.DYN} | declared)

    def unknown_in(self, path: Iterable[str]) -> tuple[str, str, str] | None:
        """The first part of `path` that the schema does not have, with its owner's title and the fix."""
        schema: Any = self.schema
        owner = self.title
        for at, name in enumerate(path):
            known = self.fields if at == 0 else fields_of(schema, self.schema)
            if known is None:
                return None
            if name not in known:
                return name, owner, did_you_mean(name, known)
            schema = known[name]
            owner = title_of(schema, self.schema) if "title" in deref(schema, self.schema) else repr(name)
        return None


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
    is_bool: bool

    def evaluate(self, payload: Json) -> Outcome:
        """The value of the expression over `payload`; never raises, an error says why there is no value."""
        measure = _Measure(self.scope.schema)
        try:
            data = self._bindings(payload, measure)
            if self._too_much(measure):
                return Outcome(error="the payload is too large for a condition with loops")
            found = self.program.eval(data=data)
            if found.type() in _NO_VALUE:
                return Outcome(error=runtime_error(str(found.value())))
            return Outcome(value=found.plain_value())
        except _Unusable as error:
            return Outcome(error=str(error))
        except RecursionError:
            return Outcome(error="the payload is nested too deeply")
        except Exception as error:  # noqa: BLE001  # the C++ layer's errors have no common class; a person decides
            return Outcome(error=runtime_error(str(error)))

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
            item = self._inner(schema, "items")
            return [self.convert(each, item, depth + 1) for each in value]
        if isinstance(value, dict):
            self._count(len(value))
            fields = fields_of(schema, self.root) if schema else None
            other = {} if fields else self._inner(schema, "additionalProperties")
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

    def _inner(self, schema: Any, key: str) -> Any:
        for branch in branches(schema, self.root) if schema else ():
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


_PYTHON_TYPES = {
    cel.Type.DOUBLE.name(): float,
    cel.Type.INT.name(): int,
    cel.Type.BOOL.name(): bool,
    cel.Type.STRING.name(): str,
}


def _plans(used: Iterable[Use], scope: Scope) -> dict[str, _Plan]:
    fields, _ = declared_fields(scope.schema, scope.schema)
    plans = {}
    for name in {use.path[0] for use in used}:
        schema = fields.get(name, {})
        # Only declared types are held to: where names are not known everything is dynamic.
        known = scope.fields is not None and name in fields
        kind = _PYTHON_TYPES.get(_cel_type(schema, scope.schema).name()) if known else None
        plans[name] = _Plan(name=name, schema=schema, kind=kind)
    return plans


def _may_be_decimal(schema: Any, root: Schema) -> bool:
    if "anyOf" in schema or "oneOf" in schema or "$ref" in schema:
        return any(is_decimal(branch) for branch in branches(schema, root))
    return is_decimal(schema)


def _cel_type(schema: Any, root: Schema) -> Any:
    options = branches(schema, root)
    if len(options) != 1:
        return cel.Type.DYN
    (only,) = options
    kinds = types_of(only)
    if len(kinds) != 1 or any(key in only for key in ("allOf", "not", "if")):
        return cel.Type.DYN
    (kind,) = kinds
    if is_decimal(only):
        return cel.Type.DOUBLE
    return _CEL_TYPES.get(kind, cel.Type.DYN)


def compile_expression(source: str, scope: Scope, *, condition: bool = False) -> Expression:
    """`source` compiled and checked against `scope`; with `condition` its result has to be true or false.

    Raises ExpressionFault with the code, the reason and the fix.
    """
    if len(source) > MAX_EXPRESSION:
        raise ExpressionFault(
            "E116", f"has {len(source)} characters; {MAX_EXPRESSION} are allowed", "compute it in a step"
        )
    if not source.strip():
        raise ExpressionFault("E105", "is empty", "leave the key out, or write a condition")
    used = uses(source)
    _check_names(used, scope)
    work = work_of(source)
    program = _compile(source, scope.environment(used))
    if work.fault is not None:
        raise ExpressionFault("E129", work.fault, "compute it in a step and let the expression use the result")
    kind = program.return_type()
    if condition and kind not in (cel.Type.BOOL, cel.Type.DYN):
        raise ExpressionFault("E106", f"gives {say_type(kind.name())}, not true or false", "compare it with a value")
    return Expression(
        source=source,
        scope=scope,
        uses=tuple(used),
        plans=_plans(used, scope),
        work=work,
        program=program,
        is_bool=kind == cel.Type.BOOL,
    )


def _check_names(used: list[Use], scope: Scope) -> None:
    found: dict[str, ExpressionFault] = {}
    for use in used if scope.fields is not None else ():
        fault = _name_fault(use.path, scope, scope.fields or {})
        if fault is not None:
            found.setdefault(fault.what, fault)
    if found:
        raise ExpressionFault.joined(list(found.values()))


def _name_fault(path: tuple[str, ...], scope: Scope, fields: Mapping[str, Any]) -> ExpressionFault | None:
    name = path[0]
    if name in fields and name in UNDECLARABLE:
        return ExpressionFault("E105", f"uses {name!r}, a word of CEL's own, as a field", f'write payload["{name}"]')
    if name not in fields:
        if name in TYPE_NAMES:
            return None
        if name == PAYLOAD:
            path = path[1:]
    unknown = scope.unknown_in(path)
    if unknown is None:
        return None
    wrong, owner, fix = unknown
    return ExpressionFault("E104", f"uses {wrong!r}, which {owner} does not have", fix)


def _compile(source: str, environment: Any) -> Any:
    try:
        return environment.compile(source)
    except Exception as error:  # noqa: BLE001  # one RuntimeError for everything, told apart by its text
        raise compile_fault(str(error), source) from None
