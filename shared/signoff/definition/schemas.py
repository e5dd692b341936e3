"""Types as JSON Schemas, and JSON values checked against them.

A `Decimal` travels as a JSON string, so its schema is a string of format `decimal`; its bounds are the keywords
`x-minimum`, `x-exclusive-minimum`, `x-maximum` and `x-exclusive-maximum`, themselves decimal strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal

import orjson
from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from signoff.canonical import Json, canonical
from signoff.definition.faults import did_you_mean
from signoff.definition.graph import Schema
from signoff.definition.json_types import (
    DECIMAL,
    compatible,
    is_decimal,
    json_fault,
    parse_decimal,
    pointer,
)
from signoff.definition.patterns import matches
from signoff.definition.schema_checks import MAX_SCHEMA_BYTES, check_schema
from signoff.errors import FieldError

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

__all__ = ["check_schema", "compatible", "schema_of", "validate"]

MAX_REFS_FOLLOWED = 50_000
"""References followed in one validation; only a schema that multiplies itself comes near."""
_MAX_MESSAGE = 300
_NO_SCHEMA = re.compile(r"^Unable to generate pydantic-core schema for (.+?)\. Set .*$")
_DECIMAL_FIX = 'a decimal travels as a JSON string, e.g. "640"'
_BOUNDS = {"ge": "x-minimum", "gt": "x-exclusive-minimum", "le": "x-maximum", "lt": "x-exclusive-maximum"}
_refs_left: ContextVar[int] = ContextVar("refs_left", default=MAX_REFS_FOLLOWED)


class _SchemaGenerator(GenerateJsonSchema):
    """pydantic's schemas with decimals as strings that keep their bounds."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        found: JsonSchemaValue = {"type": "string", "format": DECIMAL}
        bounds: Mapping[str, Any] = schema
        for name, keyword in _BOUNDS.items():
            if bounds.get(name) is not None:
                found[keyword] = str(bounds[name])
        for name in ("max_digits", "decimal_places"):
            if bounds.get(name) is not None:
                found[f"x-{name.replace('_', '-')}"] = bounds[name]
        return found


def schema_of(annotation: Any, mode: Literal["validation", "serialization"]) -> Schema:
    """The JSON Schema of a type: `validation` for what a step takes, `serialization` for what it gives.

    Raises ValueError when the type has no JSON form.
    """
    try:
        found = TypeAdapter(annotation).json_schema(schema_generator=_SchemaGenerator, mode=mode)
        if len(canonical(found)) > MAX_SCHEMA_BYTES:
            raise ValueError(f"its schema is larger than {MAX_SCHEMA_BYTES // 1024} KiB")
    except (PydanticUserError, NameError, TypeError, RecursionError) as error:
        reason = _NO_SCHEMA.sub(r"pydantic has no schema for \1", str(error).splitlines()[0])
        raise ValueError(reason[:_MAX_MESSAGE]) from error
    return found


def validate(schema: Schema | None, value: Json, *, limit: int = 20) -> list[FieldError]:
    """What is wrong with `value`, at most `limit` entries, each with the JSON pointer of its field.

    No schema admits anything that is JSON. The schema has to be one that `schema_of` made or `check_schema` passed.
    """
    broken = json_fault(value)
    if broken is not None:
        return [FieldError(path=broken[0], message=broken[1])]
    if not schema:
        return []
    validator = _validator(_text(schema))
    reset = _refs_left.set(MAX_REFS_FOLLOWED)
    found: dict[tuple[str, str], FieldError] = {}
    try:
        for error in validator.iter_errors(value):
            for field in _field_errors(error):
                found.setdefault((field.path, field.message), field)
            if len(found) >= limit:
                break
    except (_TooMuchWork, RecursionError):
        return [FieldError(path="", message="the schema multiplies itself over this value; it was not checked")]
    finally:
        _refs_left.reset(reset)
    return list(found.values())[:limit]


# The validator --------------------------------------------------------------------------------------------------


class _TooMuchWork(Exception):  # never leaves this module
    pass


def _text(schema: Schema) -> bytes:
    """The key of the cache. The order of fields is kept for the messages; canonical bytes would sort them."""
    try:
        return orjson.dumps(schema)
    except TypeError:  # an integer beyond 64 bits
        return canonical(schema)


@lru_cache(maxsize=256)
def _validator(text: bytes) -> Any:
    import jsonschema
    from jsonschema import Draft202012Validator

    checker = jsonschema.FormatChecker(formats=())
    extend: Any = jsonschema.validators.extend
    made = extend(
        Draft202012Validator,
        {
            "$ref": _check_ref,
            "format": _check_format,
            "pattern": _check_pattern,
            "additionalProperties": _check_additional,
        }
        | {keyword: partial(_check_bound, keyword) for keyword in _BOUNDS.values()}
        | {keyword: partial(_check_digits, keyword) for keyword in ("x-max-digits", "x-decimal-places")},
    )
    return made(orjson.loads(text), format_checker=checker)


def _error(message: str) -> ValidationError:
    from jsonschema.exceptions import ValidationError

    return ValidationError(message)


def _check_ref(validator: Any, ref: str, instance: Any, _: Any) -> Iterator[Any]:
    left = _refs_left.get()
    if left <= 0:
        raise _TooMuchWork
    _refs_left.set(left - 1)
    yield from validator._validate_reference(ref=ref, instance=instance)  # as jsonschema's own $ref does


def _check_format(_: Any, name: str, instance: Any, __: Any) -> Iterator[Any]:
    if name == DECIMAL and isinstance(instance, str) and parse_decimal(instance) is None:
        yield _error(f"{_short(instance)} is not a decimal number")


def _check_bound(keyword: str, _: Any, bound: Any, instance: Any, __: Any) -> Iterator[Any]:
    number, limit = parse_decimal(instance), parse_decimal(bound)
    if number is None or limit is None:
        return
    holds, word = {
        "x-minimum": (number >= limit, "at least"),
        "x-exclusive-minimum": (number > limit, "more than"),
        "x-maximum": (number <= limit, "at most"),
        "x-exclusive-maximum": (number < limit, "less than"),
    }[keyword]
    if not holds:
        yield _error(f"{_short(instance)} is out of range; it must be {word} {bound}")


def _check_digits(keyword: str, _: Any, bound: Any, instance: Any, __: Any) -> Iterator[Any]:
    number = parse_decimal(instance)
    if number is None or not isinstance(bound, int):
        return
    _sign, digits, exponent = number.as_tuple()
    places = max(0, -exponent) if isinstance(exponent, int) else 0
    whole = len(digits) + max(0, exponent) if isinstance(exponent, int) else 0
    if keyword == "x-decimal-places" and places > bound:
        yield _error(f"{_short(instance)} has {places} decimal places; {bound} are allowed")
    elif keyword == "x-max-digits" and max(whole, places) > bound:
        yield _error(f"{_short(instance)} has more than {bound} digits")


def _check_pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[Any]:
    # A pattern that RE2 cannot read comes from a model with Python's own engine; the worker checks that one.
    if isinstance(instance, str) and matches(pattern, instance) is False:
        yield _error(f"{_short(instance)} does not match the pattern {pattern[:80]!r}")


def _check_additional(validator: Any, wanted: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    known = schema.get("properties", {})
    patterns = list(schema.get("patternProperties", {}))
    for name in instance:
        if name in known or any(matches(pattern, name) for pattern in patterns):
            continue
        if wanted is False:
            error = _error("is not a known field")
            error.path.appendleft(name)
            yield error
        elif isinstance(wanted, Mapping):
            yield from validator.descend(instance[name], wanted, path=name)


# Messages ---------------------------------------------------------------------------------------------------------


def _field_errors(error: ValidationError) -> Iterator[FieldError]:
    if error.validator in ("anyOf", "oneOf") and error.context:
        best = _best_branch(error)
        if best:
            for inner in best:
                yield from _field_errors(inner)
            return
    path = list(error.absolute_path)
    fix: str | None = None
    message = error.message[:_MAX_MESSAGE]
    if error.validator == "required" and isinstance(error.instance, dict):
        for name in _listed(error.validator_value):
            if name not in error.instance:
                yield FieldError(path=pointer([*path, name]), message="is missing", fix=_missing_fix(name, error))
        return
    if error.validator == "type":
        message = f"{_short(error.instance)} is not {_kinds(error.validator_value)}"
        wants_decimal = isinstance(error.schema, Mapping) and is_decimal(error.schema)
        if wants_decimal and isinstance(error.instance, (int, float)):
            fix = _DECIMAL_FIX
    elif error.validator == "format":
        fix = _DECIMAL_FIX
    elif error.validator == "additionalProperties" and path and isinstance(error.schema, Mapping):
        fix = did_you_mean(str(path[-1]), error.schema.get("properties", {})) or None
    elif error.validator in ("enum", "const"):
        listed = error.validator_value if error.validator == "enum" else [error.validator_value]
        message = f"{_short(error.instance)} is not one of {_short(listed, 200)}"
    yield FieldError(path=pointer(path), message=message, fix=fix)


def _best_branch(error: ValidationError) -> list[Any]:
    """The errors of the alternative that the value came closest to, `null` being nobody's intention."""
    by_branch: dict[Any, list[Any]] = {}
    for inner in error.context or []:
        by_branch.setdefault(inner.schema_path[0] if inner.schema_path else 0, []).append(inner)

    def distance(errors: list[Any]) -> tuple[bool, bool, int]:
        is_null = any(e.validator == "type" and e.validator_value == "null" for e in errors)
        wrong_type = any(e.validator == "type" and len(e.path) == 0 for e in errors)
        return (is_null, wrong_type, len(errors))

    return min(by_branch.values(), key=distance, default=[])


def _missing_fix(name: str, error: ValidationError) -> str | None:
    known = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
    instance = error.instance if isinstance(error.instance, dict) else {}
    guess = did_you_mean(name, [key for key in instance if key not in known])
    return f"{guess.split('?')[0].replace('did you mean', 'rename')}?" if guess.startswith("did") else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _kinds(wanted: Any) -> str:
    kinds = wanted if isinstance(wanted, list) else [wanted]
    return " or ".join(("an " if str(kind)[0] in "aio" else "a ") + str(kind) for kind in kinds)


def _short(value: Any, limit: int = 60) -> str:
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
