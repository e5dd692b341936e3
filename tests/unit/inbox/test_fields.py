"""Editing by typed fields: what was not touched is not sent, and what was typed is what is kept."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from signoff.transitions.edits import merge_patch
from signoff_api.inbox.fields import ABSENT, FormField, editable_fields, form_fields, patch_of

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "amount": {"type": "string", "format": "decimal", "x-minimum": "0", "x-maximum": "5000"},
        "rate": {"type": "number", "minimum": 0},
        "count": {"type": "integer", "maximum": 9},
        "urgent": {"type": "boolean"},
        "color": {"enum": ["red", "green"]},
        "level": {"enum": [1, 2, None]},
        "reply": {"type": "string", "maxLength": 900, "title": "Answer", "description": "To the customer"},
        "name": {"type": "string"},
        "nick": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "due": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "ship": {"$ref": "#/$defs/Ship"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "extra": {"type": "object"},
        "more": {"anyOf": [{"$ref": "#/$defs/Ship"}, {"type": "null"}]},
        "kind": {"type": "string", "default": "gift"},
        "bonus": {"type": "integer"},
    },
    "required": ["amount", "count", "name"],
    "$defs": {
        "Ship": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "zip": {"type": "integer"}},
            "required": ["zip"],
        }
    },
}
PAYLOAD: dict[str, Any] = {
    "amount": "640.00",
    "rate": 0.5,
    "count": 3,
    "urgent": False,
    "color": "red",
    "level": 1,
    "reply": "We are sorry.\r\nReally.",
    "name": "Ana\rB",
    "nick": None,
    "due": 4,
    "ship": {"city": "Rome", "zip": 100},
    "tags": ["a", "b"],
    "extra": {"keep": 1, "gone": 2, "deep": {"x": 1}},
}
ALL = tuple(SCHEMA["properties"])


def _fields(*names: str) -> list[FormField]:
    return editable_fields(SCHEMA, PAYLOAD, names or ALL)


def _typed(**changed: str) -> dict[str, str]:
    """A form as a browser sends it: all fields, line ends as CR LF."""
    held = {each.name: each.value.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n") for each in _fields()}
    return held | {f"edit.{name.replace('__', '.')}": text for name, text in changed.items()}


def _edit(**changed: str) -> Any:
    patch, errors = patch_of(_fields(), _typed(**changed))
    assert errors == []
    return patch


def test_each_kind_of_schema_has_its_kind_of_field() -> None:
    assert {each.name: each.kind for each in _fields()} == {
        "edit.amount": "decimal",
        "edit.rate": "number",
        "edit.count": "integer",
        "edit.urgent": "boolean",
        "edit.color": "choice",
        "edit.level": "choice",
        "edit.reply": "long",
        "edit.name": "long",
        "edit.nick": "text",
        "edit.due": "integer",
        "edit.ship.city": "text",
        "edit.ship.zip": "integer",
        "edit.tags": "json",
        "edit.extra": "json",
        "edit.more.city": "text",
        "edit.more.zip": "integer",
        "edit.kind": "text",
        "edit.bonus": "integer",
    }


def test_a_form_that_nobody_touched_is_no_edit() -> None:
    assert _edit() == {}


def test_a_field_that_the_form_does_not_have_is_no_edit() -> None:
    assert patch_of(_fields(), {}) == ({}, [])


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("amount", " 40.00 ", "40.00"),
        ("amount", "640.0", "640.0"),
        ("amount", "0.10000000000000000000000001", "0.10000000000000000000000001"),
        ("rate", "0.25", 0.25),
        ("rate", "1", 1),
        ("count", "7", 7),
        ("urgent", "true", True),
        ("color", "green", "green"),
        ("level", "2", 2),
        ("reply", "One\r\nTwo ", "One\nTwo "),
        ("reply", "", ""),
        ("nick", "A", "A"),
        ("due", "", None),
        ("rate", "", None),
        ("tags", '["a"]', ["a"]),
        ("tags", "", None),
        ("kind", "loan", "loan"),
        ("bonus", "5", 5),
    ],
)
def test_what_was_typed_becomes_json_of_the_schemas_type(name: str, text: str, value: Any) -> None:
    patch = _edit(**{name: text})
    assert patch == {name: value}
    assert type(patch[name]) is type(value)


def test_a_nested_field_is_patched_alone() -> None:
    assert _edit(ship__city="Oslo") == {"ship": {"city": "Oslo"}}
    assert _edit(more__zip="5") == {"more": {"zip": 5}}


@pytest.mark.parametrize(
    "text",
    [
        '{"keep": 1, "deep": {"x": 1}}',
        "{}",
        '{"keep": 1, "gone": 2, "deep": {}}',
        '{"keep": {"a": 1}, "gone": 2, "deep": 3}',
        '{"keep": true, "gone": 2, "deep": {"x": 1}}',
        '{"keep": [1, null], "gone": 2, "deep": {"x": 1}}',
        '{"new": {"a": {"b": 1}}}',
    ],
)
def test_an_object_typed_as_json_is_what_comes_out_of_the_merge(text: str) -> None:

    patch = _edit(extra=text)
    merged = merge_patch(PAYLOAD, patch)
    assert isinstance(merged, dict)
    assert orjson.dumps(merged["extra"], option=orjson.OPT_SORT_KEYS) == orjson.dumps(
        orjson.loads(text), option=orjson.OPT_SORT_KEYS
    )


def test_the_same_json_written_otherwise_is_no_edit() -> None:
    assert _edit(extra='{"gone":2,"deep":{"x":1},"keep":1}', tags='[ "a" , "b" ]') == {}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("amount", "40,00", "decimal number"),
        ("amount", "NaN", "decimal number"),
        ("amount", "", "a value is needed"),
        ("rate", "NaN", "a number is needed"),
        ("rate", "1e999", "a number is needed"),
        ("rate", "true", "a number is needed"),
        ("count", "1.5", "whole number"),
        ("count", "9007199254740993", "a number is needed"),
        ("count", "", "a value is needed"),
        ("urgent", "perhaps", "yes or no"),
        ("color", "blue", "red, green"),
        ("level", "3", "1, 2"),
        ("tags", "[", "not JSON"),
        ("tags", '{"a": 1, "a": 2}', "not JSON"),
        ("extra", '{"keep": null}', "null"),
        ("extra", '{"deep": {"y": null}}', "null"),
    ],
)
def test_what_can_not_be_read_is_an_error_at_its_field(name: str, text: str, says: str) -> None:
    patch, errors = patch_of(_fields(), _typed(**{name: text}))
    assert patch == {}
    (error,) = errors
    assert error.path == f"/patch/{name}"
    assert says in error.message


def test_the_parts_of_an_object_that_is_not_there_are_not_demanded() -> None:
    more = {each.name: each for each in _fields("more")}
    assert not more["edit.more.zip"].required
    assert more["edit.more.zip"].original is ABSENT
    assert {each.name: each.required for each in _fields("ship")}["edit.ship.zip"]


def test_the_default_of_a_missing_field_is_not_put_into_the_payload() -> None:
    (kind,) = _fields("kind")
    assert kind.value == ""


def test_a_form_proposes_its_defaults_and_demands_what_is_required() -> None:
    schema = {
        "type": "object",
        "properties": {
            "level": {"type": "string", "enum": ["low", "high"], "default": "low"},
            "sure": {"type": "boolean"},
            "why": {"type": "string"},
        },
        "required": ["level", "sure"],
    }
    fields = form_fields(schema, "check")
    typed = {each.name: each.value for each in fields}
    assert typed == {"edit.check.level": "low", "edit.check.sure": "", "edit.check.why": ""}
    patch, errors = patch_of(fields, typed)
    assert patch == {"check": {"level": "low"}}
    assert [error.path for error in errors] == ["/patch/check/sure"]
    patch, errors = patch_of(fields, typed | {"edit.check.sure": "false"})
    assert (patch, errors) == ({"check": {"level": "low", "sure": False}}, [])
    assert form_fields(None, "check") == []


def test_labels_hints_and_descriptions_come_from_the_schema() -> None:
    found = {each.name: each for each in _fields()}
    assert found["edit.reply"].label == "Answer"
    assert found["edit.reply"].description == "To the customer"
    assert found["edit.reply"].hint == "at most 900 characters"
    assert found["edit.amount"].hint == "0 to 5000"
    assert found["edit.rate"].hint == "at least 0"
    assert found["edit.count"].hint == "at most 9"
    assert found["edit.ship.city"].label == "City"


def test_a_payload_without_a_schema_is_edited_by_what_it_holds() -> None:
    payload = {"a": "x", "b": 1, "c": True, "d": [1], "e": {"f": 1}, "g": None}
    found = editable_fields(None, payload, tuple(payload))
    assert [each.kind for each in found] == ["text", "number", "boolean", "json", "json", "json"]
    assert patch_of(found, {each.name: each.value for each in found}) == ({}, [])


def test_a_field_inside_an_object_may_be_editable_alone() -> None:
    (found,) = _fields("ship.zip")
    assert (found.name, found.pointer, found.required) == ("edit.ship.zip", "/patch/ship/zip", True)
