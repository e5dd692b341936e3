from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from signoff.definition.json_types import (
    compatible,
    fields_of,
    json_fault,
    lookup,
    parse_decimal,
    pointer,
    title_of,
    with_property,
)
from signoff.definition.schemas import check_schema, schema_of, validate


class Small(BaseModel):
    name: str


class Node(BaseModel):
    name: str
    kids: list[Node] = []


class Wide(BaseModel):
    name: str
    amount: Decimal
    inner: Small | None = None


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str


class Renamed(BaseModel):
    title: str


def fit(given: Any, wanted: Any) -> list[str]:
    return compatible(schema_of(given, "serialization"), schema_of(wanted, "validation"))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (Small, Small),
        (Wide, Small),
        (dict[str, Any], Small),
        (Small, dict[str, Any]),
        (Any, Small),
        (Small, Any),
        (int, float),
        (int, Decimal),
        (Small | None, Small),
        (Small, Small | None),
        (Node, Node),
        (list[Wide], list[Small]),
        (str, str | int),
    ],
)
def test_types_that_may_meet_are_compatible(given: Any, wanted: Any) -> None:
    assert fit(given, wanted) == []


@pytest.mark.parametrize(
    ("given", "wanted", "says"),
    [
        (Small, Wide, "/amount is required and not given"),
        (Small, Renamed, "/title is required and not given"),
        (Wide, Closed, "/amount is given and not allowed"),
        (str, int, "it is a string and an integer is wanted"),
        (Decimal, float, "it is a decimal string and a number is wanted"),
        (None, Small, "it is a null and an object is wanted"),
        (list[str], Small, "it is an array and an object is wanted"),
    ],
)
def test_types_that_never_meet_are_told(given: Any, wanted: Any, says: str) -> None:
    assert says in fit(given, wanted)


def test_a_mismatch_inside_is_named_by_its_path() -> None:
    class Given(BaseModel):
        inner: Small

    class Wanted(BaseModel):
        inner: Renamed

    assert fit(Given, Wanted) == ["/inner/title is required and not given"]


def test_an_unknown_type_is_compatible_with_everything() -> None:
    assert compatible(None, {"type": "string"}) == []
    assert compatible({"type": "string"}, None) == []
    assert compatible({"not": {}}, {"type": "string"}) == []


@pytest.mark.parametrize("base", [schema_of(Wide, "serialization"), schema_of(Node, "serialization")])
def test_an_added_property_keeps_its_references(base: Any) -> None:
    added = with_property(base, "ask-them", schema_of(Node, "validation"))
    assert added is not None
    assert check_schema(added) == []
    value = {"name": "x", "amount": "1", "ask-them": {"name": "y", "kids": [{"name": 5}]}}
    assert [error.path for error in validate(added, value)] == ["/ask-them/kids/0/name"]


def test_only_an_object_can_have_a_property_added() -> None:
    assert with_property(None, "a", {}) is None
    assert with_property({"type": "array"}, "a", {}) is None


def test_fields_are_known_only_where_no_others_may_come() -> None:
    wide = schema_of(Wide, "serialization")
    assert list(fields_of(wide, wide) or {}) == ["name", "amount", "inner"]
    assert fields_of({"type": "object"}, {}) is None
    assert fields_of({"type": "object", "properties": {"a": {}}, "additionalProperties": True}, {}) is None
    assert fields_of({"type": "string"}, {}) == {}
    node = schema_of(Node, "serialization")
    assert list(fields_of(node, node) or {}) == ["name", "kids"]
    assert title_of(node) == "Node"
    assert title_of({}) == "the payload"


def test_references_that_lead_nowhere_are_unknown_types() -> None:
    assert lookup({"a": [{"b": 1}]}, "#/a/0/b") == 1
    assert lookup({"a": 1}, "#/b") is None
    assert lookup({}, "https://example.com") is None
    loop = {"$ref": "#"}
    assert fields_of(loop, loop) is None


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": float("inf")}, "/a"),
        ([1, {"b": 2**53}], "/1/b"),
        ({"a": {2: 3}}, "/a"),
        ("a\x00b", ""),
        ({"a\ud800": 1}, ""),
        ((1, 2), ""),
        (Decimal(1), ""),
    ],
)
def test_what_json_cannot_hold_is_found(value: Any, path: str) -> None:
    found = json_fault(value)
    assert found is not None
    assert found[0] == path


def test_depth_is_counted_to_its_limit() -> None:
    value: Any = 1
    for _ in range(64):
        value = [value]
    assert json_fault(value) is None
    assert json_fault([value]) is not None


def test_what_json_holds_has_no_fault() -> None:
    assert json_fault({"a": [1, 1.5, "x", None, True, {"b": -(2**53) + 1}]}) is None


@pytest.mark.parametrize("text", ["0", "-1.50", "+3", ".5", "1e3", "1E-9", "00.10"])
def test_a_decimal_string_is_a_number(text: str) -> None:
    assert parse_decimal(text) == Decimal(text)


@pytest.mark.parametrize(
    "text", ["", "NaN", "Infinity", "1_000", "1,5", " 1", "1e9999", "0x1", "١", 5, None, "9" * 101]
)
def test_what_is_no_decimal_string_is_none(text: Any) -> None:
    assert parse_decimal(text) is None


def test_pointers_follow_rfc_6901() -> None:
    assert pointer(()) == ""
    assert pointer(("a/b", 0, "m~n")) == "/a~1b/0/m~0n"
