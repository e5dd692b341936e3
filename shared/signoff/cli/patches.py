"""`--set amount=40.00`: a reviewer's edit as a JSON merge patch, typed by the schema of what is edited.

A decimal travels as a string, so `40.00` stays `"40.00"` where the schema says decimal, and becomes a number where it
says number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from signoff.cli.text import json_text
from signoff.definition.faults import did_you_mean
from signoff.definition.json_types import branches, fields_of, is_decimal, parse_decimal, types_of
from signoff.errors import FieldError, InvalidInput, MalformedInput, SignoffError
from signoff.strict_json import loads

_MAX_BYTES = 1024 * 1024
_MISSING = object()


def merge_patch_of(settings: Sequence[str], human_task: Mapping[str, Any]) -> dict[str, Any]:
    """The patch that `name=value` settings (`a.b=value` for a field inside) stand for.

    Raises InvalidInput naming each bad field, and a usage error for what is no setting.
    """
    patch: dict[str, Any] = {}
    errors: list[FieldError] = []
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise SignoffError(f"--set {text!r} is not NAME=VALUE", code="usage", fix="write it like amount=40.00")
        try:
            _put(patch, name.split("."), _typed(name.split("."), value, human_task))
        except _Wrong as error:
            errors.append(FieldError(path=f"/{name.replace('.', '/')}", message=error.message, fix=error.fix))
    if errors:
        raise InvalidInput(errors=errors)
    return patch


class _Wrong(Exception):
    """A setting that does not fit."""

    def __init__(self, message: str, fix: str) -> None:
        self.message = message
        self.fix = fix


def _typed(path: Sequence[str], text: str, human_task: Mapping[str, Any]) -> Any:
    root = _schema_for(path, human_task)
    inside = path[1:] if root is human_task.get("form") and root is not None else path
    schemas, current = _find(root, inside, path, human_task)
    if schemas is None:
        return _by_example(text, current)
    if any(is_decimal(schema) for schema in schemas):
        if parse_decimal(text) is None:
            raise _Wrong(f"{text!r} is no decimal number", "write it like 40.00")
        return text
    kinds = frozenset().union(*(types_of(schema) for schema in schemas)) - {"null"}
    if not kinds:
        return _by_example(text, current)
    if kinds == {"string"}:
        return text
    parsed = _json(text)
    if parsed is not _MISSING and _kind(parsed) & kinds and not ("string" in kinds and isinstance(current, str)):
        return parsed
    if "string" in kinds:
        return text
    wanted = " or ".join(sorted(kinds))
    examples = {"integer": "3", "number": "0.5", "boolean": "true", "array": '["a", "b"]', "object": '{"a": 1}'}
    raise _Wrong(f"{text!r} is not of type {wanted}", f"write JSON, like {examples.get(sorted(kinds)[0], 'null')}")


def _schema_for(path: Sequence[str], human_task: Mapping[str, Any]) -> Any:
    """The form's schema below the gate's name, the payload's everywhere else."""
    form = human_task.get("form")
    return form if form is not None and path[0] == human_task["gate"] else human_task.get("payload_schema")


def _find(
    root: Any, inside: Sequence[str], path: Sequence[str], human_task: Mapping[str, Any]
) -> tuple[list[Mapping[str, Any]] | None, Any]:
    """The schemas a field may have (None where they are unknown), and the value it has now."""
    current: Any = human_task["payload"]
    for part in path:
        current = current.get(part, _MISSING) if isinstance(current, dict) else _MISSING
    if root is None:
        return None, current
    schema: Any = root
    for part in inside:
        fields = fields_of(schema, root)
        if fields is None:
            return None, current
        if part not in fields:
            known = human_task["editable"] or list(fields)
            raise _Wrong("the payload has no such field", did_you_mean(part, known, "editable"))
        schema = fields[part]
        if schema is None:
            return None, current
    return branches(schema, root), current


def _by_example(text: str, current: Any) -> Any:
    """Where no schema says more, the value that is there now does."""
    if isinstance(current, str):
        return text
    parsed = _json(text)
    return text if parsed is _MISSING else parsed


def _json(text: str) -> Any:
    try:
        return loads(text.encode("utf-8", "surrogateescape"), max_bytes=_MAX_BYTES)
    except MalformedInput:
        return _MISSING


def _kind(value: Any) -> frozenset[str]:
    if isinstance(value, bool):
        return frozenset({"boolean"})
    if isinstance(value, int):
        return frozenset({"integer", "number"})
    names = {float: "number", str: "string", list: "array", dict: "object"}
    return frozenset({names.get(type(value), "null")})


def _put(patch: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        inner = patch.setdefault(part, {})
        if not isinstance(inner, dict):
            raise _Wrong("is set twice", "set the whole, or its fields")
        patch = inner
    if path[-1] in patch:
        raise _Wrong("is set twice", "set it once")
    patch[path[-1]] = value


def described(patch: Mapping[str, Any], payload: Any) -> list[tuple[str, str, str]]:
    """Each edited field with what it was and what it becomes, for the reviewer to see."""
    found = []
    for name, value in patch.items():
        before = payload.get(name, _MISSING) if isinstance(payload, dict) else _MISSING
        shown = "(removed)" if value is None else json_text(value, indent=None)
        found.append((name, "(none)" if before is _MISSING else json_text(before, indent=None), shown))
    return found
