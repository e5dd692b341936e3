"""What a decision may carry: merge patches, editable fields, forms, notes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.transitions.desk import Desk
from tests.unit.transitions.graphs import gate, graph, pay

from signoff.canonical import canonical
from signoff.errors import InvalidInput
from signoff.transitions.edits import merge_patch

RFC_7386 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
"""Appendix A of RFC 7386, whole."""


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7386)
def test_a_patch_merges_as_the_rfc_says(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(target=_JSON, patch=_JSON)
def test_a_patch_applied_twice_is_the_patch_applied_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


def _asked(payload: Any, **options: Any) -> Desk:
    return Desk.opened(graph(gate("ok", "pay", **options), pay()), payload)


def _paths(desk: Desk, patch: Any, decision: str = "approve") -> set[str]:
    with pytest.raises(InvalidInput) as caught:
        desk.decide("ana", decision, patch=patch)
    return {error.path for error in caught.value.errors}


def test_a_field_that_is_not_editable_stays_as_it_is() -> None:
    desk = _asked({"amount": 5, "iban": "DE1"}, editable=("amount",))
    assert _paths(desk, {"amount": 4, "iban": "DE2"}) == {"/patch/iban"}


@pytest.mark.parametrize("payload", [[1, 2], "text", 5, None])
def test_a_payload_that_is_no_object_is_not_replaced_by_what_is_added_to_it(payload: Any) -> None:
    desk = _asked(payload, form={"type": "object"}, editable=("amount",))
    assert _paths(desk, {"ok": {}}) == {"/patch"}
    assert desk.decide("ana", "reject", note="no").state.outcome == "rejected"


def test_an_editable_object_may_be_edited_inside_and_its_neighbours_may_not() -> None:
    desk = _asked({"to": {"name": "a", "iban": "DE1"}}, editable=("to.name",))
    assert desk.decide("ana", "approve", patch={"to": {"name": "b"}}).state.value == {
        "to": {"name": "b", "iban": "DE1"}
    }
    assert _paths(desk, {"to": {"iban": "DE2"}}) == {"/patch/to/iban"}
    assert _paths(desk, {"to": None}) == {"/patch/to"}
    assert _paths(desk, {"to": {}}) == {"/patch/to"}


def test_a_key_with_a_dot_is_not_the_field_inside() -> None:
    desk = _asked({"to": {"name": "a"}}, editable=("to.name",))
    assert _paths(desk, {"to.name": "b"}) == {"/patch/to.name"}


def test_a_path_in_an_error_is_a_json_pointer() -> None:
    assert _paths(_asked({"a/b": {"c~d": 1}}), {"a/b": {"c~d": 2}}) == {"/patch/a~1b/c~0d"}


def test_an_edit_has_to_keep_the_payloads_type() -> None:
    schema = {
        "type": "object",
        "properties": {"amount": {"type": "number", "maximum": 10}},
        "required": ["amount"],
        "additionalProperties": False,
    }
    desk = _asked({"amount": 5}, editable=("amount", "other"), payload_schema=schema)
    assert _paths(desk, {"amount": "five"}) == {"/patch/amount"}
    assert _paths(desk, {"amount": 11}) == {"/patch/amount"}
    assert _paths(desk, {"amount": None}) == {"/patch/amount"}
    assert _paths(desk, {"other": 1}) == {"/patch/other"}
    assert desk.decide("ana", "approve", patch={"amount": 10}).state.value == {"amount": 10}


@pytest.mark.parametrize("patch", [[], "x", 3, [{"amount": 1}]])
def test_a_patch_is_an_object(patch: Any) -> None:
    assert _paths(_asked({"amount": 5}, editable=("amount",)), patch) == {"/patch"}


@pytest.mark.parametrize("decision", ["reject", "request_changes"])
def test_who_says_no_edits_nothing(decision: str) -> None:
    desk = _asked({"amount": 5}, editable=("amount",), options=("approve", "reject", "request_changes"))
    assert _paths(desk, {"amount": 4}, decision) == {"/patch"}


def test_an_edit_that_changes_nothing_is_an_approval_as_shown() -> None:
    desk = _asked({"amount": 5}, editable=("amount",)).decide("ana", "approve", patch={"amount": 5})
    assert "output" not in desk.log[-1].data
    assert desk.state.outputs == {}


@pytest.mark.parametrize(("shown", "edited"), [(1, True), (True, 1), (0, False), ([0], [False])])
def test_an_edit_to_what_python_takes_for_the_same_is_an_edit(shown: Any, edited: Any) -> None:
    desk = _asked({"amount": shown}, editable=("amount",)).decide("ana", "approve", patch={"amount": edited})
    assert canonical(desk.state.value) == canonical({"amount": edited})


def test_an_edit_leaves_by_the_gates_name_and_is_what_the_next_step_receives() -> None:
    desk = _asked({"amount": 5, "to": "x"}, editable=("amount",)).decide("ana", "approve", patch={"amount": 4})
    assert desk.state.value == {"amount": 4, "to": "x"}
    assert list(desk.state.outputs) == ["ok"]
    assert desk.log[-1].data["edited"] == ["amount"]


def test_an_option_the_gate_does_not_have_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        _asked({}).decide("ana", "dance")
    assert caught.value.errors[0].path == "/decision"
    assert "approve" in str(caught.value.errors[0].fix)


@pytest.mark.parametrize("note", [None, "", "  \n"])
def test_a_note_that_is_asked_for_has_to_say_something(note: str | None) -> None:
    desk = _asked({}, require_note=("reject",))
    with pytest.raises(InvalidInput) as caught:
        desk.decide("ana", "reject", note=note)
    assert caught.value.errors[0].path == "/note"
    assert desk.decide("ana", "approve", note=note).state.outcome == "approved"
    assert desk.decide("ana", "reject", note="too much").state.outcome == "rejected"


FORM = {
    "type": "object",
    "properties": {"grade": {"type": "string", "enum": ["A", "B"]}},
    "required": ["grade"],
    "additionalProperties": False,
}


def test_a_form_has_to_be_filled_in_and_is_added_under_the_gates_name() -> None:
    desk = _asked({"amount": 5}, form=FORM)
    assert _paths(desk, None) == {"/patch/ok"}
    assert _paths(desk, {"ok": {}}) == {"/patch/ok/grade"}
    assert _paths(desk, {"ok": {"grade": "C"}}) == {"/patch/ok/grade"}
    assert desk.decide("ana", "approve", patch={"ok": {"grade": "A"}}).state.value == {
        "amount": 5,
        "ok": {"grade": "A"},
    }


def test_a_form_is_nothing_for_who_says_no() -> None:
    assert _asked({"amount": 5}, form=FORM).decide("ana", "reject").state.outcome == "rejected"


def test_a_field_with_the_gates_name_is_no_form() -> None:
    desk = _asked({"ok": 1}, editable=("ok",), approvals=2).decide("ana", "approve", patch={"ok": 2})
    assert desk.task.revision == 2, "the others have to see the edit"
    assert desk.task.payload == {"ok": 2}
