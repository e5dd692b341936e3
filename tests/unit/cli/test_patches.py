"""`--set` means what the payload's schema says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from signoff.cli.patches import described, merge_patch_of
from signoff.definition.schemas import schema_of, validate
from signoff.errors import InvalidInput, SignoffError


class Address(BaseModel):
    city: str
    number: int


class Payload(BaseModel):
    amount: Decimal
    limit: Decimal | None
    count: int
    share: float
    urgent: bool
    reply: str
    tags: list[str]
    address: Address
    kind: Literal["a", "b"]
    either: int | str
    anything: Any


SCHEMA = schema_of(Payload, "serialization")
VALUE = {
    "amount": "640",
    "limit": None,
    "count": 1,
    "share": 0.5,
    "urgent": False,
    "reply": "yes",
    "tags": [],
    "address": {"city": "Bonn", "number": 1},
    "kind": "a",
    "either": 1,
    "anything": 1,
}
TASK: dict[str, Any] = {
    "gate": "approve",
    "payload": VALUE,
    "payload_schema": SCHEMA,
    "editable": ["amount", "reply", "address.city"],
    "form": None,
}


@pytest.mark.parametrize(
    ("setting", "patch"),
    [
        ("amount=40.00", {"amount": "40.00"}),
        ("limit=7", {"limit": "7"}),
        ("count=3", {"count": 3}),
        ("share=3", {"share": 3}),
        ("share=0.25", {"share": 0.25}),
        ("urgent=true", {"urgent": True}),
        ("reply=12", {"reply": "12"}),
        ("reply=true", {"reply": "true"}),
        ("reply=", {"reply": ""}),
        ("reply=a=b", {"reply": "a=b"}),
        ('tags=["x", "y"]', {"tags": ["x", "y"]}),
        ("address.city=Köln", {"address": {"city": "Köln"}}),
        ("address.number=2", {"address": {"number": 2}}),
        ('address={"city": "Ulm", "number": 3}', {"address": {"city": "Ulm", "number": 3}}),
        ("kind=b", {"kind": "b"}),
        ("either=2", {"either": 2}),
        ("either=two", {"either": "two"}),
        ("anything=2", {"anything": 2}),
        ("anything=two", {"anything": "two"}),
    ],
)
def test_a_setting_becomes_a_value_of_the_fields_type(setting: str, patch: dict[str, Any]) -> None:
    made = merge_patch_of([setting], TASK)

    assert made == patch
    assert type(next(iter(made.values()))) is type(next(iter(patch.values())))


def test_what_it_makes_passes_the_payloads_schema() -> None:
    made = merge_patch_of(["amount=40.00", "count=3", "urgent=true", "kind=b", 'tags=["x"]'], TASK)

    assert validate(SCHEMA, VALUE | made) == []


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("amount=forty", "write it like 40.00"),
        ("count=3.5", "write JSON, like 3"),
        ("count=x", "write JSON, like 3"),
        ("urgent=yes", "write JSON, like true"),
        ("tags=x", 'write JSON, like ["a", "b"]'),
        ("amout=1", "did you mean 'amount'?"),
        ("address.town=x", "editable: amount, reply, address.city"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(setting: str, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        merge_patch_of([setting], TASK)

    (error,) = caught.value.errors
    assert told in (error.fix or "")
    assert error.path == f"/{setting.partition('=')[0].replace('.', '/')}"


def test_every_bad_setting_is_named_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        merge_patch_of(["amount=x", "count=y", "reply=fine"], TASK)

    assert [error.path for error in caught.value.errors] == ["/amount", "/count"]


@pytest.mark.parametrize("setting", ["amount", "=4", ""])
def test_what_is_no_setting_is_wrong_usage(setting: str) -> None:
    with pytest.raises(SignoffError) as caught:
        merge_patch_of([setting], TASK)

    assert caught.value.code == "usage"


@pytest.mark.parametrize(
    "settings", [["amount=1", "amount=2"], ["address.city=x", "address=1"], ["tags=1", "tags.a=1"]]
)
def test_a_field_is_set_once(settings: list[str]) -> None:
    with pytest.raises(InvalidInput):
        merge_patch_of(settings, TASK)


def test_several_fields_inside_one_object_are_one_patch() -> None:
    assert merge_patch_of(["address.city=Ulm", "address.number=9"], TASK) == {"address": {"city": "Ulm", "number": 9}}


@pytest.mark.parametrize(
    ("name", "text", "value"), [("amount", "40.00", "40.00"), ("count", "3", 3), ("new", "3", 3), ("new", "x", "x")]
)
def test_without_a_schema_the_value_that_is_there_says_the_type(name: str, text: str, value: Any) -> None:
    assert merge_patch_of([f"{name}={text}"], TASK | {"payload_schema": None}) == {name: value}


def test_a_form_is_typed_by_its_own_schema() -> None:
    form = {"type": "object", "properties": {"rating": {"type": "integer"}, "why": {"type": "string"}}}

    made = merge_patch_of(["approve.rating=4", "approve.why=5"], TASK | {"form": form})

    assert made == {"approve": {"rating": 4, "why": "5"}}


def test_an_edit_is_shown_with_what_was_there_before() -> None:
    assert described({"amount": "40.00", "new": 1, "reply": None}, VALUE) == [
        ("amount", '"640"', '"40.00"'),
        ("new", "(none)", "1"),
        ("reply", '"yes"', "(removed)"),
    ]
