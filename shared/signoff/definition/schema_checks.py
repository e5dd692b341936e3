"""JSON Schemas that people wrote, checked before anything relies on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from signoff.canonical import canonical
from signoff.definition.json_types import MAX_DEPTH, json_fault, lookup, pointer
from signoff.definition.patterns import matches

MAX_SCHEMA_BYTES = 64 * 1024
MAX_PATTERN = 500
MAX_ALTERNATIVES = 2_000
"""Sub-schemas that one value may have to be checked against at one place, references followed."""
_MAX_MESSAGE = 300


def check_schema(schema: Any) -> list[str]:
    """Why a schema that a person wrote can't be used; empty when it can.

    Refused are what is not JSON Schema (Draft 2020-12), what is too large, references that leave the document or
    run in circles, and patterns that are not RE2 (which has no lookaround and no worst case).
    """
    if not isinstance(schema, Mapping):
        return ["it is not a mapping"]
    broken = json_fault(schema)
    if broken is not None:
        return [f"{broken[0]} {broken[1]}"]
    size = len(canonical(schema))
    if size > MAX_SCHEMA_BYTES:
        return [f"it has {size} bytes; at most {MAX_SCHEMA_BYTES} are read"]
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema))
    if error is not None:
        return [f"{pointer(list(error.absolute_path))} {error.message[:_MAX_MESSAGE]}".strip()]
    found = list(_unusable(schema, schema, ()))
    if not found:
        try:
            work = _alternatives(schema, schema, {}, frozenset())
        except RecursionError:
            work = None
        if work is None:
            found.append("a $ref leads back to itself, or through too many others")
        elif work > MAX_ALTERNATIVES:
            found.append(f"one value would be checked against more than {MAX_ALTERNATIVES} alternatives")
    return found


def _unusable(schema: Any, root: Any, path: tuple[str | int, ...]) -> Iterator[str]:
    if isinstance(schema, list):
        for at, item in enumerate(schema):
            yield from _unusable(item, root, (*path, at))
        return
    if not isinstance(schema, Mapping):
        return
    place = pointer(path) or "/"
    for key, inner in schema.items():
        match key, inner:
            case "$ref", str() if not (inner == "#" or inner.startswith("#/")):
                yield f"{place} refers to {inner!r}; only references like '#/$defs/Name' are followed"
            case "$ref", str() if not isinstance(lookup(root, inner), (Mapping, bool)):
                yield f"{place} refers to {inner!r}, which is not there"
            case "pattern", str():
                yield from (f"{place} {fault}" for fault in _pattern_faults(inner))
            case (
                ("$dynamicRef" | "$dynamicAnchor" | "$anchor" | "$id" | "$vocabulary" | "patternProperties"),
                _,
            ):
                yield f"{place} uses {key}, which is not supported"
            case (("const" | "enum" | "default" | "examples"), _):
                pass
            case (("properties" | "$defs" | "definitions" | "dependentSchemas"), Mapping()):
                for name, sub in inner.items():
                    yield from _unusable(sub, root, (*path, key, name))
            case _:
                yield from _unusable(inner, root, (*path, key))


def _pattern_faults(pattern: str) -> Iterator[str]:
    if len(pattern) > MAX_PATTERN:
        yield f"has a pattern of {len(pattern)} characters; {MAX_PATTERN} are allowed"
    elif matches(pattern, "") is None:
        yield f"has the pattern {pattern[:80]!r}, which RE2 cannot read (it has no lookaround, no back-references)"


def _alternatives(schema: Any, root: Any, known: dict[int, int], open_: frozenset[int]) -> int | None:
    """How many sub-schemas one value meets at one place; None when that never ends."""
    if not isinstance(schema, Mapping):
        return 1
    if id(schema) in known:
        return known[id(schema)]
    if id(schema) in open_ or len(open_) > MAX_DEPTH:
        return None
    inside = [schema[key] for key in ("not", "if", "then", "else") if key in schema]
    for key in ("allOf", "anyOf", "oneOf"):
        inside += schema.get(key, [])
    inside += list(schema.get("dependentSchemas", {}).values())
    if "$ref" in schema:
        inside.append(lookup(root, schema["$ref"]))
    total = 1
    for each in inside:
        count = _alternatives(each, root, known, open_ | {id(schema)})
        if count is None:
            return None
        total += count
    known[id(schema)] = total
    # Sub-schemas for deeper values each start their own count; every one has to be finite.
    deeper = [each for key in ("properties", "$defs", "definitions") for each in schema.get(key, {}).values()]
    deeper += schema.get("prefixItems", [])
    deeper += [
        schema[key]
        for key in ("items", "additionalProperties", "contains", "propertyNames", "unevaluatedProperties")
        if key in schema
    ]
    for each in deeper:
        count = _alternatives(each, root, known, frozenset())
        if count is None:
            return None
        if count > MAX_ALTERNATIVES:
            total = count
    return total
