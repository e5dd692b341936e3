"""What an expression may name: a payload's fields with their types, as CEL is told them, and the names it has not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cel_expr_python import cel

from signoff.definition.cel_faults import ExpressionFault, foreign_fault
from signoff.definition.cel_text import CEL_IDENTIFIER, TYPE_NAMES, UNDECLARABLE, Use
from signoff.definition.faults import did_you_mean
from signoff.definition.graph import Schema
from signoff.definition.json_types import branches, deref, fields_of, is_decimal, title_of, types_of

PAYLOAD = "payload"
"""The variable that holds the whole payload, for fields whose names are no CEL identifiers."""

_CEL_TYPES = {
    "string": cel.Type.STRING,
    "integer": cel.Type.INT,
    "number": cel.Type.DOUBLE,
    "boolean": cel.Type.BOOL,
    "array": cel.Type.List(cel.Type.DYN),
}
PYTHON_TYPES = {
    cel.Type.DOUBLE.name(): float,
    cel.Type.INT.name(): int,
    cel.Type.BOOL.name(): bool,
    cel.Type.STRING.name(): str,
}


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
        """The CEL environment in which an expression that uses these names is evaluated."""
        if self.fields is not None:
            return self._environment
        return cel.NewEnv(variables=_dynamic(use.path[0] for use in used) | {PAYLOAD: cel.Type.DYN})

    def checking(self, used: Iterable[Use]) -> Any:
        """The environment in which it is checked: names that are not there fit everything, so that one fault hides no
        other, and a field inside another one has its type."""
        used = tuple(used)
        deeper = self._deeper(used)
        unknown = {use.path[0] for use in used} - set(self._declared)
        if not deeper and (self.fields is None or not unknown):
            return self.environment(used)
        return cel.NewEnv(variables=_dynamic(unknown) | {PAYLOAD: cel.Type.DYN} | self._declared | deeper)

    def _deeper(self, used: Iterable[Use]) -> dict[str, Any]:
        """The types of `a.b`, as names with a point, which CEL admits. What `has()` asks for has to stay a field."""
        asked = {use.path for use in used if use.asked}
        out = {}
        for path in {use.path for use in used if len(use.path) > 1} - asked:
            kind = self._type_at(path)
            if kind is not None and all(CEL_IDENTIFIER.fullmatch(name) and name not in UNDECLARABLE for name in path):
                out[".".join(path)] = kind
        return out

    def _type_at(self, path: tuple[str, ...]) -> Any:
        """The CEL type of a plain value at a path; None where the schema does not say so surely."""
        schema: Any = self.schema
        for name in path[1:] if path[0] == PAYLOAD and PAYLOAD not in self._declared else path:
            known = fields_of(schema, self.schema) if schema else None
            if known is None or name not in known:
                return None
            schema = known[name]
        kind = cel_type(schema, self.schema)
        return kind if kind.name() in PYTHON_TYPES else None

    @cached_property
    def _environment(self) -> Any:
        return cel.NewEnv(variables={PAYLOAD: cel.Type.DYN} | self._declared)

    @cached_property
    def _declared(self) -> dict[str, Any]:
        return {
            name: cel_type(schema, self.schema)
            for name, schema in (self.fields or {}).items()
            if CEL_IDENTIFIER.fullmatch(name) and name not in UNDECLARABLE
        }

    def unknown_in(self, path: Iterable[str]) -> tuple[str, str, str] | None:
        """The first part of `path` that the schema does not have, with its owner's title and the fix."""
        schema: Any = self.schema
        owner = self.title
        for at, name in enumerate(path):
            known = self.fields if at == 0 else fields_of(schema, self.schema)
            if known is None:
                return None
            if name not in known:
                return name, owner, did_you_mean(name, known) or f"{owner} has no fields; use it as it is"
            schema = known[name]
            is_object = "title" in deref(schema, self.schema) and bool(fields_of(schema, self.schema))
            owner = title_of(schema, self.schema) if is_object else repr(name)
        return None


def cel_type(schema: Any, root: Schema) -> Any:
    """The CEL type of what a schema describes; DYN where it may be of several."""
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


def name_faults(used: Iterable[Use], scope: Scope) -> list[ExpressionFault]:
    """Each name that is used and not there, once; words of other languages among them."""
    found: dict[str, ExpressionFault] = {}
    for use in used:
        fault = foreign_fault(use.path[0]) if use.path[0] not in (scope.fields or {}) else None
        if scope.fields is not None:
            fault = fault or _name_fault(use.path, scope, scope.fields)
        if fault is not None:
            found.setdefault(fault.what, fault)
    return list(found.values())


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


def _dynamic(names: Iterable[str]) -> dict[str, Any]:
    return dict.fromkeys(set(names) - UNDECLARABLE, cel.Type.DYN)
