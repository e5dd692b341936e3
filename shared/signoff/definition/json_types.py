"""Reading a JSON Schema as a type: its fields, its values as CEL sees them, and what fits what.

Only the part of JSON Schema that types compile to is understood. Whatever else a schema says is "unknown", and
unknown always means that nothing is refused here and everything is checked when it runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from signoff.canonical import MAX_SAFE_INTEGER, Json, canonical
from signoff.definition.graph import Schema

MAX_DEPTH = 64
"""How deep JSON values may nest, here as at the API."""

DECIMAL = "decimal"
"""The `format` of a JSON string that holds a decimal number."""

DECIMAL_PATTERN = re.compile(r"[+-]?(?:[0-9]{1,100}(?:\.[0-9]{0,100})?|\.[0-9]{1,100})(?:[eE][+-]?[0-9]{1,3})?")
_OPENING = ("allOf", "if", "patternProperties", "dependentSchemas", "not")
_MAX_REFS = 32
_MAX_COMPARED_DEPTH = 8
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


def parse_decimal(text: object) -> Decimal | None:
    """The number in a decimal string, or None where it is none (NaN and Infinity are none)."""
    if not isinstance(text, str) or DECIMAL_PATTERN.fullmatch(text) is None:
        return None
    return Decimal(text)


def pointer(path: Sequence[str | int]) -> str:
    """The JSON pointer (RFC 6901) for a path of keys and indexes; empty for the whole value."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def deref(schema: Any, root: Schema) -> Mapping[str, Any]:
    """`schema` with its local `$ref`s followed; an empty schema where one leads nowhere."""
    for _ in range(_MAX_REFS):
        if not isinstance(schema, Mapping):
            return {}
        ref = schema.get("$ref")
        if not isinstance(ref, str):
            return schema
        schema = lookup(root, ref)
    return {}


def lookup(root: Any, ref: str) -> Any:
    """What the local reference `#/a/b` points to in `root`, None where that is nothing."""
    if not ref.startswith("#"):
        return None
    found = root
    for part in ref[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found


def branches(schema: Any, root: Schema) -> list[Mapping[str, Any]]:
    """The alternatives of `anyOf` and `oneOf`, or the schema alone, with references followed."""
    found = deref(schema, root)
    for key in ("anyOf", "oneOf"):
        options = found.get(key)
        if isinstance(options, list) and options:
            return [branch for option in options for branch in branches_of_one(option, root)]
    return [found]


def branches_of_one(option: Any, root: Schema, depth: int = 0) -> list[Mapping[str, Any]]:
    found = deref(option, root)
    inner = found.get("anyOf") or found.get("oneOf")
    if isinstance(inner, list) and depth < _MAX_COMPARED_DEPTH:
        return [branch for each in inner for branch in branches_of_one(each, root, depth + 1)]
    return [found]


def types_of(schema: Mapping[str, Any]) -> frozenset[str]:
    """The JSON types a schema without alternatives admits; empty when it does not say."""
    kind = schema.get("type")
    if isinstance(kind, str):
        return frozenset({kind})
    if isinstance(kind, list):
        return frozenset(str(each) for each in kind)
    listed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(listed, list):
        return frozenset(_type_name(each) for each in listed)
    return frozenset()


def _type_name(value: Json) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def is_decimal(schema: Mapping[str, Any]) -> bool:
    return schema.get("format") == DECIMAL and "string" in types_of(schema)


def fields_of(schema: Any, root: Schema) -> dict[str, Any] | None:
    """The properties of an object schema by name; None when it may have others, so that no name is wrong."""
    found, closed = declared_fields(schema, root)
    return found if closed else None


def declared_fields(schema: Any, root: Schema) -> tuple[dict[str, Any], bool]:
    """The declared properties of an object schema by name, and whether they are all there can be."""
    out: dict[str, Any] = {}
    closed = bool(schema)
    for branch in branches(schema, root) if schema else ():
        kinds = types_of(branch)
        if kinds and "object" not in kinds:
            continue
        declared = branch.get("properties")
        fields = declared if isinstance(declared, Mapping) else {}
        is_open = branch.get("additionalProperties") not in (None, False) or any(key in branch for key in _OPENING)
        closed = closed and isinstance(declared, Mapping) and not is_open
        for name, field in fields.items():
            out[name] = field if name not in out else {}
    return out, closed


def title_of(schema: Any, root: Schema | None = None) -> str:
    """The name of a type for messages."""
    found = deref(schema, root if root is not None else schema)
    title = found.get("title")
    return title if isinstance(title, str) and title else "the payload"


def say_kind(schema: Schema) -> str:
    """A type in a sentence: its name, or what it is where it has none."""
    found = deref(schema, schema)
    kinds = sorted({kind for branch in branches(schema, schema) for kind in types_of(branch)})
    if found.get("title") or not kinds:
        return title_of(schema)
    if all(is_decimal(branch) for branch in branches(schema, schema)):
        return "a decimal string"
    return " or ".join(kind if kind == "null" else ("an " if kind[0] in "aio" else "a ") + kind for kind in kinds)


def json_fault(value: Any, limit: int = MAX_DEPTH) -> tuple[str, str] | None:
    """Where and why `value` is not JSON that survives storage: `("/a/0", "is NaN")`; None when it is."""
    if _holds(value, limit):
        return None
    stack: list[tuple[Any, tuple[str | int, ...]]] = [(value, ())]
    while stack:
        item, path = stack.pop()
        fault = _scalar_fault(item)
        if fault is not None:
            return pointer(path), fault
        if isinstance(item, (dict, list)) and len(path) >= limit:
            return pointer(path[:8]) + "/…", f"is nested deeper than {limit} levels"
        if isinstance(item, dict):
            for key in item:
                if not isinstance(key, str):
                    return pointer(path), f"has the key {key!r}, which is not a string"
                if _UNWRITABLE.search(key):
                    return pointer(path), "has a key with a lone surrogate or a NUL character"
            stack.extend((inner, (*path, key)) for key, inner in item.items())
        elif isinstance(item, list):
            stack.extend((inner, (*path, at)) for at, inner in enumerate(item))
    return None


def _holds(value: Any, depth: int) -> bool:
    """The quick yes that nearly every value gets; False only means that it takes a closer look."""
    kind = type(value)
    if kind is str:
        return _UNWRITABLE.search(value) is None
    if value is None or kind is bool:
        return True
    if kind is int:
        return bool(-MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER)
    if kind is float:
        return math.isfinite(value)
    if depth <= 0:
        return False
    if kind is dict:
        return all(
            type(key) is str and _UNWRITABLE.search(key) is None and _holds(inner, depth - 1)
            for key, inner in value.items()
        )
    return kind is list and all(_holds(inner, depth - 1) for inner in value)


def _scalar_fault(item: Any) -> str | None:
    match item:
        case None | bool() | dict() | list():
            return None
        case int():
            if abs(item) > MAX_SAFE_INTEGER:
                return "is an integer beyond 2^53 - 1; write it as a string"
        case float():
            if not math.isfinite(item):
                return f"is {item}, which JSON cannot hold"
        case str():
            if _UNWRITABLE.search(item):
                return "has a lone surrogate or a NUL character"
        case _:
            return f"is a {type(item).__name__}, which has no JSON form"
    return None


def with_property(schema: Schema | None, name: str, added: Schema) -> Schema | None:
    """`schema` with one more, optional property; None when it is unknown or no plain object."""
    if schema is None:
        return None
    base = deref(schema, schema)
    if types_of(base) != {"object"}:
        return None
    place = "#" + pointer(("properties", name))
    merged = dict(base) | {"properties": dict(base.get("properties", {})) | {name: _rebased(added, place)}}
    for key in ("$defs", "definitions"):
        if key in schema:
            merged[key] = schema[key]
    return merged


def _rebased(schema: Any, place: str) -> Any:
    if isinstance(schema, Mapping):
        return {
            key: place + inner[1:]
            if key == "$ref" and isinstance(inner, str)
            else (inner if key in ("const", "enum", "default", "examples") else _rebased(inner, place))
            for key, inner in schema.items()
        }
    if isinstance(schema, list):
        return [_rebased(inner, place) for inner in schema]
    return schema


class _Type(NamedTuple):
    """A schema and the document that its references point into."""

    schema: Any
    root: Schema


def compatible(output_schema: Schema | None, input_schema: Schema | None) -> list[str]:
    """Why a value of the one type could never enter the other; empty when it may.

    Lenient on purpose: types have to overlap and required fields to exist, anything finer is checked on the value.
    """
    if not output_schema or not input_schema or canonical(output_schema) == canonical(input_schema):
        return []
    return _mismatches(_Type(output_schema, output_schema), _Type(input_schema, input_schema), "", 0)


def _mismatches(given: _Type, wanted: _Type, at: str, depth: int) -> list[str]:
    if depth > _MAX_COMPARED_DEPTH:
        return []
    first: list[str] | None = None
    for gives in branches(given.schema, given.root):
        for takes in branches(wanted.schema, wanted.root):
            found = _branch_mismatches(_Type(gives, given.root), _Type(takes, wanted.root), at, depth)
            if not found:
                return []
            is_null = types_of(gives) == {"null"} or types_of(takes) == {"null"}
            if first is None or not is_null:
                first = found
    return first or []


def _branch_mismatches(given: _Type, wanted: _Type, at: str, depth: int) -> list[str]:
    gives, takes = types_of(given.schema), types_of(wanted.schema)
    if not gives or not takes:
        return []
    if not _overlap(gives, takes, is_decimal(wanted.schema)):
        return [f"{at or 'it'} is {_say(gives, given.schema)} and {_say(takes, wanted.schema)} is wanted"]
    offered, asked = given.schema.get("properties"), wanted.schema.get("properties")
    if "object" not in gives & takes or not isinstance(offered, Mapping) or not isinstance(asked, Mapping):
        return []
    found = []
    if given.schema.get("additionalProperties") in (None, False):
        required = wanted.schema.get("required", [])
        found += [f"{at}/{name} is required and not given" for name in required if name not in offered]
    if wanted.schema.get("additionalProperties") is False:
        found += [f"{at}/{name} is given and not allowed" for name in offered if name not in asked]
    for name in offered:
        if name in asked:
            inner = _Type(offered[name], given.root), _Type(asked[name], wanted.root)
            found += _mismatches(*inner, f"{at}/{name}", depth + 1)
    return found


def _overlap(gives: frozenset[str], takes: frozenset[str], takes_decimal: bool) -> bool:
    if gives & takes or ("integer" in gives and "number" in takes) or ("number" in gives and "integer" in takes):
        return True
    return takes_decimal and bool(gives & {"integer", "number"})


def _say(kinds: frozenset[str], schema: Mapping[str, Any]) -> str:
    if is_decimal(schema):
        return "a decimal string"
    return " or ".join(("an " if kind[0] in "aio" else "a ") + kind for kind in sorted(kinds))
