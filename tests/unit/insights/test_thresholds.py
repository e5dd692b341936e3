"""Finding the number that a condition compares the score with, and writing another one in its place."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.definition.cel_scope import Scope
from signoff.definition.conditions import compile_expression
from signoff.insights.thresholds import NoThreshold, find_threshold, read_threshold, show_threshold

DYNAMIC = Scope.of(None)


def scope(kind: str) -> Scope:
    return Scope.of({"type": "object", "properties": {"score": {"type": kind}, "amount": {"type": "number"}}})


@pytest.mark.parametrize(
    ("source", "operator", "value", "rewritten"),
    [
        ("score < 85", "<", "85", "score < 70"),
        ("score < 0.85", "<", "0.85", "score < 70.0"),
        ("score<=.85", "<=", "0.85", "score<=70.0"),
        ("score < 8.5e-1", "<", "0.85", "score < 70.0"),
        ("score < 85u", "<", "85", "score < 70u"),
        ("score < 0x55", "<", "85", "score < 70"),
        ("85 > score", "<", "85", "70 > score"),
        ("0.2 <= score", ">=", "0.2", "70.0 <= score"),
        ("score > -1", ">", "-1", "score > 70"),
        ("score > - 1.5 || x", ">", "-1.5", "score > 70.0 || x"),
        ("amount > 100.0 || score < 0.85", "<", "0.85", "amount > 100.0 || score < 70.0"),
        ("score < 0.85 && amount > 100.0", "<", "0.85", "score < 70.0 && amount > 100.0"),
        ("(amount > 1.0 && (score < 85)) || vip", "<", "85", "(amount > 1.0 && (score < 70)) || vip"),
        ("!(score >= 85)", ">=", "85", "!(score >= 70)"),
        ("vip ? score < 85 : amount > 2.0", "<", "85", "vip ? score < 70 : amount > 2.0"),
        ("payload.score < 85", "<", "85", "payload.score < 70"),
        ('payload["score"] < 85', "<", "85", 'payload["score"] < 70'),
        ("double(score) < 85.0", "<", "85", "double(score) < 70.0"),
        ("has(payload.score) && score < 85", "<", "85", "has(payload.score) && score < 70"),
        ("score < 85 // low\n || amount > 1.0", "<", "85", "score < 70 // low\n || amount > 1.0"),
        ('note != "score < 1" && score < 85', "<", "85", 'note != "score < 1" && score < 70'),
        ("items.exists(i, i > 3) || score < 85", "<", "85", "items.exists(i, i > 3) || score < 70"),
    ],
)
def test_the_number_is_found_and_nothing_else_is_changed(
    source: str, operator: str, value: str, rewritten: str
) -> None:
    found = find_threshold(source, "score")
    assert (found.operator, found.value) == (operator, Decimal(value))
    assert found.rewritten(Decimal(70)) == rewritten


def test_a_score_may_lie_deeper() -> None:
    assert find_threshold("model.score < 1", "model.score").rewritten(Decimal("0.5")) == "model.score < 0.5"
    with pytest.raises(NoThreshold):
        find_threshold("other.score < 1", "model.score")
    with pytest.raises(NoThreshold):
        find_threshold("model.score.raw < 1", "model.score")


@pytest.mark.parametrize(
    "source",
    [
        "amount > 100.0",
        "score == 85",
        "score != 85",
        "score < limit",
        "score < 85 + margin",
        "score * 100 < 85",
        "score + 1 < 85",
        "-score < 85",
        "1 - score < 85",
        "size(score) < 85",
        "score.size() < 85",
        "scores[0] < 85",
        "my.score < 85",
        '"score" < "85"',
        "score < 85 == true",
        "true == score < 85",
        "limit < score < 85",
        "< 85",
        "score <",
        "",
        "items.exists(score, score < 85)",
        "[score < 85].exists(i, i)",
        'score in [1, 2] && note == "score < 85"',
        "f(score < 85, 1)",
        "// score < 85\n vip",
        "{true: score < 85}[true]",
    ],
)
def test_what_is_not_certain_is_refused(source: str) -> None:
    with pytest.raises(NoThreshold):
        find_threshold(source, "score")


def test_two_thresholds_are_not_one() -> None:
    with pytest.raises(NoThreshold, match="in 2 places"):
        find_threshold("score < 0.5 || (vip && score < 0.8)", "score")


def test_without_a_score_or_a_condition_there_is_nothing_to_move() -> None:
    with pytest.raises(NoThreshold, match="no score"):
        find_threshold("score < 1", None)
    with pytest.raises(NoThreshold, match="every run"):
        find_threshold(None, "score")


@pytest.mark.parametrize(
    ("kind", "source", "value", "expected"),
    [
        ("integer", "score < 85", "70", True),
        ("number", "score < 85.0", "70", True),
        ("number", "score < 85.0", "70.25", True),
        ("integer", "score < 85", "70.5", False),
        ("integer", "score > -3", "-70", True),
    ],
)
def test_another_number_makes_a_condition_of_the_same_types(kind: str, source: str, value: str, expected: bool) -> None:
    found = find_threshold(source, "score")
    if expected:
        assert found.compiled(Decimal(value), scope(kind)).is_bool
    else:
        with pytest.raises(NoThreshold, match="whole number"):
            found.compiled(Decimal(value), scope(kind))


@pytest.mark.parametrize("typed", ["", "a", "NaN", "Infinity", "-inf", "1e13", "1e-13", "1,5", "0x10", "sNaN"])
def test_what_is_no_number_is_no_threshold(typed: str) -> None:
    assert read_threshold(typed) is None


def test_a_threshold_is_read_and_shown_as_people_write_it() -> None:
    for typed, shown in ((" 0.70 ", "0.7"), ("70", "70"), ("1e2", "100"), ("-0.5", "-0.5"), ("100", "100")):
        found = read_threshold(typed)
        assert found is not None
        assert show_threshold(found) == shown


numbers = st.decimals(min_value=-1000, max_value=1000, places=3)
shapes = st.sampled_from(["score < {}", "{} > score", "a || score <= {}", "(a && score > {}) || b", "!(score >= {})"])


@given(shapes, numbers, numbers, st.floats(-1000, 1000), st.booleans(), st.booleans())
def test_the_rewritten_condition_says_what_one_written_by_hand_says(
    shape: str, old: Decimal, new: Decimal, score: float, a: bool, b: bool
) -> None:
    found = find_threshold(shape.format(old), "score")
    payload: dict[str, Any] = {"score": score, "a": a, "b": b}
    by_hand = compile_expression(shape.format(new), DYNAMIC, condition=True)
    assert found.compiled(new, DYNAMIC).test(payload) == by_hand.test(payload)
