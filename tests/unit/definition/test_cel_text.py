from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.definition.cel_text import disjuncts, field_path, tokens, uses, work_of


def names(source: str) -> list[str]:
    return [".".join(use.path) for use in uses(source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("amount > 100.0 || confidence < 0.85", ["amount", "confidence"]),
        ("customer.address.zip == 'x'", ["customer.address.zip"]),
        ("name.size() > 2 && has(a.b)", ["name", "a.b"]),
        ('payload["a b"].c', ["payload.a b.c"]),
        ("items[0].name", ["items"]),
        ("items.exists(i, i.kind in ['a', kind])", ["items", "kind"]),
        ("items.exists(amount, amount > 1) && amount > 2", ["items", "amount"]),
        ("'amount' == \"no\" // comment with names", []),
        ("true ? null : false", []),
        ("double(total) > r'raw' + x", ["total", "x"]),
        (".leading > 1", ["leading"]),
        ("{'key': value}.key", ["value"]),
        ("1.5e3 + 0xFF > x", ["x"]),
    ],
)
def test_the_free_names_are_found(source: str, expected: list[str]) -> None:
    assert names(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a || b || c", ["a", "b", "c"]),
        ("a && (b || c) || d", ["a && (b || c)", "d"]),
        ("'a || b' == c", ["'a || b' == c"]),
        ("a ? b : c || d", ["a ? b : c || d"]),
        ("xs.exists(x, x || y) || z", ["xs.exists(x, x || y)", "z"]),
        ("only", ["only"]),
    ],
)
def test_a_disjunction_splits_at_its_top_only(source: str, expected: list[str]) -> None:
    assert disjuncts(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("amount", ("amount",)),
        (" a.b.c ", ("a", "b", "c")),
        ("payload['x y'][0].z", ("payload", "x y", 0, "z")),
        ("a + b", None),
        ("a.size()", None),
        ("true", None),
        ("1", None),
        ("a[b]", None),
        ("", None),
    ],
)
def test_a_plain_path_is_told_from_an_expression(source: str, expected: tuple[str | int, ...] | None) -> None:
    assert field_path(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "xs.map(a, a + a).size() > 0",
        "[s].map(a, a).map(b, b).size() > 0",
        "xs.exists(a, [a, a] == xs)",
        "xs.exists(a, {'k': a} == m)",
        "xs.exists(a, a in [a, a])",
        "a.all(b, b.all(c, c.all(d, d.all(e, e.all(f, f)))))",
    ],
)
def test_a_loop_that_could_build_without_bound_is_a_fault(source: str) -> None:
    assert work_of(source).fault is not None


@pytest.mark.parametrize(
    "source",
    [
        "xs.exists(a, a.kind in ['x', 'y'])",
        "xs.exists(a, a.tags.exists(t, t == 'x'))",
        "xs.map(a, a.name).size() > 1",
        "a + b > 3.0",
        "xs.all(a, a[0] > 1) || ys.exists_one(b, b.c == null)",
    ],
)
def test_ordinary_loops_are_allowed(source: str) -> None:
    assert work_of(source).fault is None


def test_a_loop_wanders_when_its_body_names_something_else() -> None:
    assert not work_of("xs.exists(a, a.tags.exists(t, t == 'x'))").wanders
    assert work_of("xs.exists(a, a == y)").wanders
    assert work_of("xs.exists(a, ys.exists(b, b == 1))").wanders


@given(st.text(max_size=200))
def test_any_text_has_tokens_in_order(source: str) -> None:
    found = tokens(source)
    assert all(one.end <= two.start for one, two in pairwise(found))
    assert all(source[token.start : token.end] == token.text for token in found)
    uses(source), disjuncts(source), field_path(source), work_of(source)
