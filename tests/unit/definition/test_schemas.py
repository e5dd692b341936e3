from __future__ import annotations

import time
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from signoff.definition import schemas
from signoff.definition.schemas import check_schema, schema_of, validate


class Kind(StrEnum):
    PLAIN = "plain"
    BULKY = "bulky"


class Item(BaseModel):
    price: Decimal = Field(gt=0, lt=100, max_digits=4, decimal_places=2)
    kind: Kind = Kind.PLAIN


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")
    order_id: str = Field(pattern="^A-[0-9]+$")
    amount: Decimal = Field(ge=Decimal("0.01"), le=5000)
    placed: date
    items: list[Item] = []
    note: str | None = None
    gift: Item | None = None


ORDER = schema_of(Order, "validation")
GOOD = {"order_id": "A-1", "amount": "640.00", "placed": "2024-02-29", "items": [{"price": "9.99"}]}


def errors(value: Any, schema: Any = ORDER) -> list[tuple[str, str, str | None]]:
    return [(error.path, error.message, error.fix) for error in validate(schema, value)]


def test_a_decimal_is_a_string_that_keeps_its_bounds() -> None:
    assert ORDER["properties"]["amount"] == {
        "type": "string",
        "format": "decimal",
        "title": "Amount",
        "x-minimum": "0.01",
        "x-maximum": "5000",
    }
    assert ORDER["$defs"]["Item"]["properties"]["price"] == {
        "type": "string",
        "format": "decimal",
        "title": "Price",
        "x-exclusive-minimum": "0",
        "x-exclusive-maximum": "100",
        "x-max-digits": 4,
        "x-decimal-places": 2,
    }


def test_a_type_without_a_json_form_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="schema"):
        schema_of(object(), "validation")


def test_a_good_value_has_no_errors() -> None:
    assert errors(GOOD) == []
    assert errors(GOOD | {"note": None, "gift": {"price": "1", "kind": "bulky"}}) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"amount": 640}, ("/amount", "640 is not a string", 'a decimal travels as a JSON string, e.g. "640"')),
        (
            {"amount": "much"},
            ("/amount", '"much" is not a decimal number', 'a decimal travels as a JSON string, e.g. "640"'),
        ),
        (
            {"amount": "NaN"},
            ("/amount", '"NaN" is not a decimal number', 'a decimal travels as a JSON string, e.g. "640"'),
        ),
        ({"amount": "0.001"}, ("/amount", '"0.001" is out of range; it must be at least 0.01', None)),
        ({"amount": "5000.01"}, ("/amount", '"5000.01" is out of range; it must be at most 5000', None)),
        ({"items": [{"price": "0"}]}, ("/items/0/price", '"0" is out of range; it must be more than 0', None)),
        ({"items": [{"price": "100"}]}, ("/items/0/price", '"100" is out of range; it must be less than 100', None)),
        ({"items": [{"price": "1.234"}]}, ("/items/0/price", '"1.234" has 3 decimal places; 2 are allowed', None)),
        ({"items": [{}]}, ("/items/0/price", "is missing", None)),
        ({"items": [{"price": "1", "kind": "odd"}]}, ("/items/0/kind", '"odd" is not one of ["plain","bulky"]', None)),
        (
            {"gift": {"price": "x"}},
            ("/gift/price", '"x" is not a decimal number', 'a decimal travels as a JSON string, e.g. "640"'),
        ),
        ({"note": 5}, ("/note", "5 is not a string", None)),
        ({"order_id": "B-1"}, ("/order_id", "\"B-1\" does not match the pattern '^A-[0-9]+$'", None)),
        (
            {"nite": "x"},
            (
                "/nite",
                "is not a known field",
                "did you mean 'note'? fields: order_id, amount, placed, items, note, gift",
            ),
        ),
        ({"items": {"a": 1}}, ("/items", '{"a":1} is not an array', None)),
    ],
)
def test_a_bad_field_is_named_by_its_pointer(change: dict[str, Any], expected: tuple[str, str, str | None]) -> None:
    assert errors(GOOD | change) == [expected]


def test_every_missing_field_is_named() -> None:
    assert [path for path, _, _ in errors({})] == ["/order_id", "/amount", "/placed"]


def test_a_misspelt_field_is_offered_for_the_missing_one() -> None:
    value = {key: GOOD[key] for key in GOOD if key != "amount"} | {"amuont": "5"}
    found = {path: fix for path, _, fix in errors(value)}
    assert found["/amount"] == "rename 'amuont'?"


def test_a_pointer_escapes_its_keys() -> None:
    assert errors({"a/b~c": 1}, {"additionalProperties": {"type": "string"}})[0][0] == "/a~1b~0c"


def test_the_number_of_errors_is_bounded() -> None:
    assert len(validate({"items": {"type": "string"}}, list(range(1_000)))) == 20
    assert len(validate({"items": {"type": "string"}}, list(range(1_000)), limit=3)) == 3


def test_messages_are_bounded() -> None:
    (found,) = errors("x" * 100_000, {"type": "integer"})
    assert len(found[1]) < 400


@pytest.mark.parametrize("value", [float("nan"), 2**53, "\ud800", {1: 2}, object()])
def test_what_is_not_json_is_refused_even_without_a_schema(value: Any) -> None:
    assert len(errors({"a": [value]}, None)) == 1
    assert errors({"a": [value]}, None)[0][0].startswith("/a/0")


def test_no_schema_admits_any_json() -> None:
    assert errors({"a": [1, None, {"b": 0.5}]}, None) == []
    assert errors("x", {}) == []


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ([], "not a mapping"),
        ({"type": "objct"}, "/type"),
        ({"properties": []}, "/properties"),
        ({"$ref": "https://example.com/x"}, "refers to"),
        ({"$ref": "other.json"}, "refers to"),
        ({"$ref": "#/$defs/nope"}, "which is not there"),
        ({"$ref": "#"}, "leads back to itself"),
        (
            {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
            "itself",
        ),
        ({"properties": {"x": {"$ref": "#/properties/x"}}}, "leads back to itself"),
        ({"$defs": {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(99)} | {"d99": {}}}, "too many others"),
        ({"pattern": "("}, "RE2 cannot read"),
        ({"pattern": "(?!x)"}, "RE2 cannot read"),
        ({"pattern": "x" * 501}, "500 are allowed"),
        ({"patternProperties": {"a": {}}}, "not supported"),
        ({"$dynamicRef": "#x"}, "not supported"),
        ({"$id": "https://example.com"}, "not supported"),
        ({"description": "x" * 70_000}, "are read"),
        ({"minimum": float("inf")}, "/minimum"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: Any, says: str) -> None:
    assert says in "; ".join(check_schema(schema))


def test_a_property_may_have_the_name_of_a_keyword() -> None:
    schema = {"properties": {"pattern": {"type": "string"}, "$ref": {"type": "string"}, "enum": {}}}
    assert check_schema(schema) == []


def test_a_recursive_type_can_be_used() -> None:
    tree = {"$defs": {"t": {"properties": {"kids": {"items": {"$ref": "#/$defs/t"}}}}}, "$ref": "#/$defs/t"}
    assert check_schema(tree) == []
    assert [path for path, _, _ in errors({"kids": [{"kids": 5}]}, tree | {"type": "object"})] == []
    typed = {
        "$defs": {"t": {"type": "object", "properties": {"kids": {"items": {"$ref": "#/$defs/t"}}}}},
        "$ref": "#/$defs/t",
    }
    assert [path for path, _, _ in errors({"kids": [{"kids": [5]}]}, typed)] == ["/kids/0/kids/0"]


def test_a_schema_that_multiplies_is_refused_or_ends_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "MAX_REFS_FOLLOWED", 5_000)
    doubling = {"$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)}}
    doubling["$defs"]["d30"] = {}
    started = time.perf_counter()
    assert "alternatives" in check_schema(doubling | {"$ref": "#/$defs/d0"})[0]
    spreading = {"items": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}
    assert check_schema(spreading) == []
    nested: Any = []
    for _ in range(50):
        nested = [nested]
    assert "multiplies itself" in errors(nested, spreading)[0][1]
    assert time.perf_counter() - started < 5


def test_a_pattern_has_no_worst_case() -> None:
    started = time.perf_counter()
    assert errors("a" * 50_000 + "!", {"pattern": "^(a+)+$"}) != []
    assert time.perf_counter() - started < 1


@given(st.decimals(min_value=Decimal("0.01"), max_value=5000, places=2))
def test_any_decimal_within_its_bounds_passes(amount: Decimal) -> None:
    assert errors(GOOD | {"amount": str(amount)}) == []
