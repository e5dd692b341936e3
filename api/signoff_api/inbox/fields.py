"""Editing by typed fields: a JSON Schema as the fields of a form, and what was typed back as JSON.

Numbers never pass through a binary float on their way: a decimal stays the text it is, and a JSON number is written as
it was typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType
from typing import Any, Literal, TypeAlias

import orjson

from signoff import strict_json
from signoff.canonical import Json
from signoff.definition.fields import split_path
from signoff.definition.json_types import branches, deref, is_decimal, parse_decimal, types_of
from signoff.errors import FieldError, MalformedInput
from signoff.transitions.edits import merge_patch

Kind: TypeAlias = Literal["text", "long", "decimal", "number", "integer", "boolean", "choice", "json"]
MAX_DEPTH = 4
MAX_JSON = 262_144
LONG = 80
"""Characters from which a text is edited on several lines."""

ABSENT = object()
"""Stands for a field that the payload does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One field of a form. `name` is its name in the form, `path` its place in the patch, `value` its text."""

    name: str
    path: tuple[str, ...]
    label: str
    kind: Kind
    value: str
    original: Any
    default: Any = ABSENT
    required: bool = False
    nullable: bool = False
    choices: tuple[str, ...] = ()
    hint: str = ""
    description: str = ""

    @property
    def pointer(self) -> str:
        """Where errors name it."""
        return "/patch/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in self.path)


def editable_fields(schema: Mapping[str, Any] | None, payload: Json, editable: Sequence[str]) -> list[FormField]:
    """The fields of the payload that the gate lets people edit, in the gate's order."""
    found: list[FormField] = []
    for name in editable:
        path = split_path(name)
        found += _fields(
            schema_at(schema, path), schema or {}, _value_at(payload, path), path, _is_required(schema, path)
        )
    return found


def form_fields(schema: Mapping[str, Any] | None, gate: str, given: Json = None) -> list[FormField]:
    """The fields of a gate's own form; they go into the patch under the gate's name."""
    if schema is None:
        return []
    fields = _fields(schema, schema, given if given is not None else ABSENT, (gate,), required=True)
    # A form may propose what its schema gives as default; a payload is not edited by what nobody has typed.
    return [replace(each, value=_text(each.kind, each.default)) if each.original is ABSENT else each for each in fields]


def schema_at(schema: Mapping[str, Any] | None, path: Sequence[str]) -> Mapping[str, Any]:
    """The schema of one field; empty where nothing is known of it."""
    found: Any = schema or {}
    for part in path:
        for branch in branches(found, dict(schema or {})):
            if part in branch.get("properties", {}):
                found = branch["properties"][part]
                break
        else:
            return {}
    return found if isinstance(found, Mapping) else {}


def patch_of(fields: Sequence[FormField], typed: Mapping[str, str]) -> tuple[dict[str, Any], list[FieldError]]:
    """The merge patch that what was typed comes to, and what can't be read; untouched fields are left out."""
    patch: dict[str, Any] = {}
    errors: list[FieldError] = []
    for each in fields:
        if each.name not in typed:
            continue
        text = line_ends(typed[each.name])
        if text == line_ends(each.value) and each.original is not ABSENT:
            continue
        try:
            value = parse(each, text)
            if isinstance(value, dict):
                value = _changes(each.original, value)
        except ValueError as error:
            errors.append(FieldError(path=each.pointer, message=f"{each.label}: {error}"))
            continue
        if value is ABSENT or (each.original is not ABSENT and value is not None and same(value, each.original)):
            continue
        if value == {} and isinstance(each.original, dict):
            continue
        _put(patch, each.path, value)
    return patch, errors


def line_ends(text: str) -> str:
    """`text` with the line ends of JSON: a browser sends those of a form as CR LF, whatever they were."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: `true` is not 1, and 1 is not 1.0."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)


def parse(field: FormField, text: str) -> Any:
    """What was typed, as JSON; None takes the field away, ABSENT leaves it away. Raises ValueError in words."""
    stripped = text.strip()
    if not stripped and field.kind not in ("text", "long"):
        return _emptied(field)
    match field.kind:
        case "text" | "long":
            if not text and (field.original is ABSENT or (field.nullable and field.original is None)):
                return ABSENT
            return text
        case "decimal":
            if parse_decimal(stripped) is None:
                raise ValueError("a decimal number is needed, such as 40.00")
            return stripped
        case "number" | "integer":
            return _number(field, stripped)
        case "boolean":
            if stripped not in ("true", "false"):
                raise ValueError("yes or no")
            return stripped == "true"
        case "choice":
            found = {_text_of(choice): choice for choice in _decoded(field.choices)}
            chosen = text if text in found else stripped
            if chosen not in found:
                raise ValueError(f"one of {', '.join(found)}")
            return found[chosen]
        case "json":
            return _json(stripped)


def _fields(
    schema: Mapping[str, Any], root: Mapping[str, Any], value: Any, path: tuple[str, ...], required: bool
) -> Iterator[FormField]:
    options = branches(schema, dict(root))
    nullable = any("null" in types_of(option) for option in options)
    real = [option for option in options if types_of(option) != {"null"}]
    one: Mapping[str, Any] = real[0] if len(real) == 1 else {}
    if "object" in types_of(one) and one.get("properties") and len(path) <= MAX_DEPTH:
        for name, inner in one["properties"].items():
            held = value.get(name, ABSENT) if isinstance(value, dict) else ABSENT
            # What an object must have is needed once there is one.
            needed = name in one.get("required", ()) and (required or isinstance(value, dict))
            yield from _fields(inner, root, held, (*path, name), needed)
        return
    kind, choices = _kind(one, value)
    yield FormField(
        name="edit." + ".".join(path),
        path=path,
        label=str(one.get("title") or schema.get("title") or path[-1].replace("_", " ").capitalize()),
        kind=kind,
        value=_text(kind, value),
        original=value,
        default=one.get("default", schema.get("default", ABSENT)),
        required=required and not nullable,
        nullable=nullable,
        choices=choices,
        hint=_hint(one, kind),
        description=str(one.get("description") or ""),
    )


def _kind(schema: Mapping[str, Any], value: Any) -> tuple[Kind, tuple[str, ...]]:
    choices = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
    if isinstance(choices, list) and all(isinstance(choice, (str, int, float, NoneType)) for choice in choices):
        return "choice", tuple(_encoded(choice) for choice in choices if choice is not None)
    if is_decimal(schema):
        return "decimal", ()
    kinds = types_of(schema) - {"null"}
    if kinds == {"string"} or (not kinds and isinstance(value, str)):
        return ("long" if _is_long(schema, value) else "text"), ()
    if kinds == {"boolean"} or (not kinds and isinstance(value, bool)):
        return "boolean", ()
    if kinds == {"integer"}:
        return "integer", ()
    if kinds in ({"number"}, {"number", "integer"}) or (not kinds and isinstance(value, (int, float))):
        return "number", ()
    return "json", ()


def _is_long(schema: Mapping[str, Any], value: Any) -> bool:
    # A field of one line loses the line ends of what it is given.
    if isinstance(value, str) and (len(value) > LONG or "\n" in value or "\r" in value):
        return True
    limit = schema.get("maxLength")
    return isinstance(limit, int) and limit > 200


def _hint(schema: Mapping[str, Any], kind: Kind) -> str:
    low = schema.get("x-minimum", schema.get("minimum"))
    high = schema.get("x-maximum", schema.get("maximum"))
    if low is not None and high is not None:
        return f"{low} to {high}"
    if low is not None or high is not None:
        return f"at least {low}" if low is not None else f"at most {high}"
    if kind == "json":
        return "JSON"
    limit = schema.get("maxLength")
    return f"at most {limit} characters" if isinstance(limit, int) and kind in ("text", "long") else ""


def _changes(original: Any, value: dict[str, Any]) -> dict[str, Any]:
    """The merge patch that makes `original` into `value`. Raises ValueError for a null, which no such patch can set."""
    before = original if isinstance(original, dict) else {}
    patch = _merge_diff(before, value)
    if not same(merge_patch(before, patch), value):
        raise ValueError("null inside an object can't be sent: leave the name out")
    return patch


def _merge_diff(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        if name in before and same(before[name], value):
            continue
        old = before.get(name)
        patch[name] = _merge_diff(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return patch


def _emptied(field: FormField) -> Any:
    if field.required:
        raise ValueError("a value is needed")
    return ABSENT if field.original is ABSENT else None


def _number(field: FormField, text: str) -> Json:
    try:
        value = _json(text)
    except ValueError as error:
        raise ValueError("a number is needed, such as 40 or 0.5") from error
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("a number is needed, such as 40 or 0.5")  # noqa: TRY004  # it is typed text that is wrong
    if field.kind == "integer" and not isinstance(value, int):
        raise ValueError("a whole number is needed")
    return value


def _json(text: str) -> Json:
    try:
        return strict_json.loads(text.encode(), max_bytes=MAX_JSON)
    except (MalformedInput, UnicodeEncodeError) as error:
        raise ValueError("this is not JSON that can be kept") from error


def _text(kind: Kind, value: Any) -> str:
    if value is ABSENT or value is None:
        return ""
    if kind in ("text", "long", "decimal") and isinstance(value, str):
        return value
    return _text_of(value)


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else _encoded(value)


def _encoded(value: Any) -> str:
    return orjson.dumps(value).decode()


def _decoded(choices: Sequence[str]) -> list[Json]:
    return [_json(choice) for choice in choices]


def _value_at(payload: Json, path: Sequence[str]) -> Any:
    found: Any = payload
    for part in path:
        if not isinstance(found, dict) or part not in found:
            return ABSENT
        found = found[part]
    return found


def _is_required(schema: Mapping[str, Any] | None, path: Sequence[str]) -> bool:
    parent = schema_at(schema, path[:-1]) if len(path) > 1 else (schema or {})
    return path[-1] in deref(parent, dict(schema or {})).get("required", ())


def _put(patch: dict[str, Any], path: Sequence[str], value: Json) -> None:
    at = patch
    for part in path[:-1]:
        at = at.setdefault(part, {})
    at[path[-1]] = value
