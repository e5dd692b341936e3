from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.canonical import Json
from signoff.definition.cel_faults import ExpressionFault
from signoff.definition.cel_scope import Scope
from signoff.definition.templates import MAX_RENDERED, MAX_VALUE, compile_template, is_template, split

ANYTHING = Scope.of(None)
AMOUNT = Scope.of(
    {"type": "object", "properties": {"amount": {"type": "string", "format": "decimal"}, "who": {"type": "object"}}}
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["amount", "who", "a", "b"]), inner),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("source", "payload", "expected"),
    [
        ("Refund {amount} for {who.name}", {"amount": "640.00", "who": {"name": "Ana"}}, "Refund 640.00 for Ana"),
        ("{{{amount}}}", {"amount": "1"}, "{1}"),
        ("no parts }} {{", {}, "no parts } {"),
        ("{amount > 5.0 ? 'big}' : '{small'}", {"amount": "6"}, "big}"),
        ("{amount > 5.0 ? 'big}' : '{small'}", {"amount": "4"}, "{small"),
        ("{ {'a': 'x'}['a'] }", {}, "x"),
        ("{amount} and {who.name}", {"amount": None}, "none and ⟨who.name?⟩"),
        ("{double(who.x) > 1.0}", {}, "⟨double(who.x) > 1.0?⟩"),
        ("{payload.amount}", {"amount": "007.50"}, "007.50"),
    ],
)
def test_a_template_is_filled_in(source: str, payload: Json, expected: str) -> None:
    assert compile_template(source, AMOUNT).render(payload) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "true"),
        (None, "none"),
        (3, "3"),
        (0.5, "0.5"),
        (["a", 1, True], "a, 1, true"),
        ({"a": [1]}, '{"a":[1]}'),
        ([[1]], "[[1]]"),
    ],
)
def test_values_are_shown_as_people_read_them(value: Json, expected: str) -> None:
    assert compile_template("{v}", ANYTHING).render({"v": value}) == expected


def test_long_values_and_texts_are_cut() -> None:
    rendered = compile_template("{v}|" * 20, ANYTHING).render({"v": "x" * 10_000})
    assert rendered.index("|") == MAX_VALUE
    assert len(rendered) == MAX_RENDERED
    assert rendered.endswith("…")


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("{", "E107"),
        ("}", "E107"),
        ("{a", "E107"),
        ("{'}", "E105"),
        ("{}", "E105"),
        ("{nope}", "E104"),
        ("{1 +}", "E105"),
    ],
)
def test_a_broken_template_is_refused(source: str, code: str) -> None:
    with pytest.raises(ExpressionFault) as caught:
        compile_template(source, AMOUNT)
    assert caught.value.code == code


def test_every_broken_part_is_reported() -> None:
    with pytest.raises(ExpressionFault) as caught:
        compile_template("{amuont} {wo}", AMOUNT)
    assert [each.what.split(",")[0] for each in caught.value.each()] == ["uses 'amuont'", "uses 'wo'"]


def test_a_lone_part_keeps_its_value() -> None:
    assert compile_template("{v}", ANYTHING).fill({"v": ["a", "b"]}).value == ["a", "b"]
    assert compile_template("x{v}", ANYTHING).fill({"v": ["a", "b"]}).value is None


def test_a_template_is_what_has_braces() -> None:
    assert is_template("{a}")
    assert is_template("{{")
    assert not is_template("plain")


@given(st.text(alphabet="{}'\"ab ", max_size=30))
def test_splitting_ends_in_parts_or_a_fault(source: str) -> None:
    try:
        parts = split(source)
    except ExpressionFault:
        return
    assert [is_code for is_code, _ in parts] == [n % 2 == 1 for n in range(len(parts))]


@given(JSON)
def test_rendering_never_raises(payload: Json) -> None:
    for source in ("{amount} {who.name}", "{amount > 1.0 ? 'a' : 'b'}", "{payload}"):
        filled = compile_template(source, AMOUNT).fill(payload)
        assert len(filled.text) <= MAX_RENDERED
