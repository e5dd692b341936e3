"""Expressions in CEL over a payload: checked against its schema when defined, evaluated without ever raising.

The rule for evaluation is that uncertainty never approves: a missing field, a type error, NaN, too much work or a
result of the wrong kind comes back as an error, and the gate then asks a person.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

from signoff.canonical import Json
from signoff.definition.cel_text import (
    CEL_IDENTIFIER,
    MAX_EXPRESSION,
    TYPE_NAMES,
    UNDECLARABLE,
    Use,
    Work,
    tokens,
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
"""Characters and elements that one evaluation may touch at worst: a second or so, as measured."""
_MAX_DEPTH = 64

_CEL_TYPES = {
    "string": cel.Type.STRING,
    "integer": cel.Type.INT,
    "number": cel.Type.DOUBLE,
    "boolean": cel.Type.BOOL,
    "array": cel.Type.List(cel.Type.DYN),
}
_ANY_MAP = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
_FUNCTIONS = (
    *("all", "exists", "exists_one", "filter", "map", "has", "size", "contains", "startsWith", "endsWith"),
    *("matches", "int", "double", "string", "timestamp", "duration"),
)
_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '(.*?)'")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_AT = re.compile(r"<input>:\d+:(\d+):")
_MISSING = re.compile(r'No value with name "([^"]*)"|Key not found in map : "([^"]*)"')


class ExpressionFault(Exception):  # a fault in a definition, not an error in the program
    """An expression that cannot be used: the code, what is wrong with it, and what would be right."""

    def __init__(self, code: str, what: str, fix: str = "", also: Iterable[ExpressionFault] = ()) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.fix = fix
        self._also = tuple(also)

    def each(self) -> Iterator[ExpressionFault]:
        """This fault and those found beside it."""
        yield self
        for other in self._also:
            yield from other.each()

    @classmethod
    def joined(cls, faults: list[ExpressionFault]) -> ExpressionFault:
        """One that stands for all of `faults`, of which there is at least one."""
        first, *others = faults
        return cls(first.code, first.what, first.fix, others)


@dataclass(frozen=True, slots=True, eq=False)
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
            kind = found.type()
            if kind in (cel.Type.ERROR, cel.Type.UNKNOWN):
                return Outcome(error=_runtime_error(str(found.value())))
            return Outcome(value=found.plain_value())
        except _Unusable as error:
            return Outcome(error=str(error))
        except RecursionError:
            return Outcome(error="the payload is nested too deeply")
        except Exception as error:  # noqa: BLE001  # the C++ layer's errors have no common class; a person decides
            return Outcome(error=_runtime_error(str(error)))

    def test(self, payload: Json) -> Outcome:
        """`evaluate` for a condition: the value is True or False, anything else is an error."""
        found = self.evaluate(payload)
        if found.error is None and not isinstance(found.value, bool):
            return Outcome(error=f"it gives {_kind_of(found.value)}, not true or false")
        return found

    def _bindings(self, payload: Json, measure: _Measure) -> dict[str, Any]:
        names = {use.path[0] for use in self.uses}
        data: dict[str, Any] = {}
        fields, _ = declared_fields(self.scope.schema, self.scope.schema)
        owned = payload if isinstance(payload, dict) else {}
        for name in names:
            if name in owned and name not in UNDECLARABLE:
                declared = fields.get(name, {})
                value = measure.convert(owned[name], declared, 0)
                # Only declared types are held to: where names are not known everything is dynamic.
                data[name] = value if self.scope.fields is None else _typed(value, name, declared, measure.root)
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
        if schema and any(is_decimal(branch) for branch in branches(schema, self.root)):
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


def _typed(value: Any, name: str, schema: Any, root: Schema) -> Any:
    """`value` as its declared CEL type; what does not fit it is refused rather than stretched."""
    kind = _cel_type(schema, root)
    if kind == cel.Type.DOUBLE and type(value) is int:
        return float(value)
    if kind == cel.Type.INT and type(value) is float and value.is_integer():
        return int(value)
    fits = {
        cel.Type.DOUBLE.name(): float,
        cel.Type.INT.name(): int,
        cel.Type.BOOL.name(): bool,
        cel.Type.STRING.name(): str,
    }.get(kind.name())
    if fits is not None and type(value) is not fits:
        raise _Unusable(f"field {name!r} is {_kind_of(value)}")
    return value


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
    program = _compile(source, _declarations(used, scope))
    if work.fault is not None:
        raise ExpressionFault("E129", work.fault, "compute it in a step and let the expression use the result")
    kind = program.return_type()
    if condition and kind not in (cel.Type.BOOL, cel.Type.DYN):
        raise ExpressionFault("E106", f"gives {_say_type(kind.name())}, not true or false", "compare it with a value")
    return Expression(
        source=source,
        scope=scope,
        uses=tuple(used),
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


def _declarations(used: list[Use], scope: Scope) -> tuple[tuple[str, str], ...]:
    declared = {PAYLOAD: "DYN"}
    if scope.fields is None:
        names: Iterable[str] = (use.path[0] for use in used)
        declared |= {name: "DYN" for name in names if name not in UNDECLARABLE}
    else:
        for name, schema in scope.fields.items():
            if CEL_IDENTIFIER.fullmatch(name) and name not in UNDECLARABLE:
                declared[name] = _cel_type(schema, scope.schema).name()
    return tuple(sorted(declared.items()))


_TYPES_BY_NAME = {kind.name(): kind for kind in (*_CEL_TYPES.values(), cel.Type.DYN, _ANY_MAP)}


@lru_cache(maxsize=256)
def _environment(declared: tuple[tuple[str, str], ...]) -> Any:
    return cel.NewEnv(variables={name: _TYPES_BY_NAME[kind] for name, kind in declared})


def _compile(source: str, declared: tuple[tuple[str, str], ...]) -> Any:
    try:
        return _environment(declared).compile(source)
    except Exception as error:  # noqa: BLE001  # one RuntimeError for everything, told apart by its text
        raise _compile_fault(str(error), source) from None


def _compile_fault(text: str, source: str) -> ExpressionFault:
    at = _AT.search(text)
    place = f" at character {at.group(1)}" if at else ""
    overload = _OVERLOAD.search(text)
    if overload is not None:
        operator = overload.group(1).strip("_").replace("_?_:", "?:").replace("_", "")
        kinds = [kind.strip() for kind in overload.group(2).strip("()").split(",")]
        return ExpressionFault(
            "E105",
            f"applies {operator!r} to {' and '.join(map(_say_type, kinds))}{place}",
            _mix_fix(kinds, source),
        )
    unknown = _UNDECLARED.search(text)
    if unknown is not None:
        name = unknown.group(1)
        return ExpressionFault(
            "E105",
            f"uses {name!r}, which CEL does not know{place}",
            did_you_mean(name, _FUNCTIONS, "functions"),
        )
    if "has() macro" in text:
        return ExpressionFault("E105", f"asks has() of what is no field of an object{place}", "write has(payload.name)")
    if "recursion" in text:
        return ExpressionFault("E105", "is nested too deeply", "compute it in a step")
    first = text.splitlines()[0] if text else "it cannot be read"
    reason = re.sub(r"^(INVALID_ARGUMENT|INTERNAL|CANCELLED): |ERROR: <input>:-?\d+:-?\d+: ", "", first)
    reason = re.sub(r"^ERROR: <input>:-?\d+:-?\d+: |, expecting \{.*$| expecting \{.*$", "", reason)
    return ExpressionFault("E105", f"is not valid CEL{place}: {reason[:200]}", "see https://cel.dev for the language")


def _mix_fix(kinds: list[str], source: str) -> str:
    if set(kinds) == {"double", "int"}:
        literal = next((t.text for t in tokens(source) if t.kind == "number" and t.text.isdecimal()), None)
        example = f"{literal}.0" if literal else "85.0"
        return f"write whole numbers with a point ({example}), or convert a field with double(field)"
    if "string" in kinds and len(set(kinds)) > 1:
        return "write text in quotes, or convert it with double(field), int(field) or string(field)"
    if "null_type" in kinds:
        return "this field is never null; leave the comparison out"
    return "compare values of the same type"


def _say_type(name: str) -> str:
    words = {
        "double": "a decimal number (double)",
        "int": "a whole number (int)",
        "string": "text (string)",
        "bool": "true or false (bool)",
        "null_type": "null",
    }
    return words.get(name.lower(), name.lower())


def _kind_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "an object"
    return f"a {type(value).__name__}"


def _runtime_error(text: str) -> str:
    missing = _MISSING.search(text)
    if missing is not None:
        return f"missing field {missing.group(1) or missing.group(2)!r}"
    if "budget" in text or "recursion" in text:
        return "it took too much work"
    reason = re.sub(r"^[A-Z_]+: ", "", text.splitlines()[0] if text else "unknown error")
    return re.sub(r"\s*\[[A-Z_]+\]$", "", reason)[:200]
