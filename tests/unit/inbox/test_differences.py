"""Differences between payloads: nothing that differs is left out of sight."""

from __future__ import annotations

from typing import Any

import pytest

from signoff_api.inbox.differences import MAX_FIELDS, MAX_WORDS, MISSING, Difference, differences, words

TEXT = "the order arrived broken and the customer asks for the money back"


def _sides(found: Difference) -> tuple[str, str]:
    before = "".join(piece.text for piece in found.pieces if piece.kind != "new")
    after = "".join(piece.text for piece in found.pieces if piece.kind != "gone")
    return before, after


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ({"a": 1}, {"a": 2}, "a"),
        ({"a": 1}, {"a": True}, "a"),
        ({"a": 1}, {"a": 1.0}, "a"),
        ({"a": [1]}, {"a": [True]}, "a"),
        ({"a": [{"b": 0}]}, {"a": [{"b": False}]}, "a"),
        ({"a": "40"}, {"a": "40.00"}, "a"),
        ({"a": None}, {"a": ""}, "a"),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, "a.b.c"),
        ({"a": [1, 2]}, {"a": [2, 1]}, "a"),
        ({"a": {"b": 1}}, {"a": [1]}, "a"),
        (1, 2, "payload"),
    ],
)
def test_what_is_not_the_same_json_is_a_difference(before: Any, after: Any, path: str) -> None:
    assert [each.path for each in differences(before, after)] == [path]


def test_what_is_the_same_is_none() -> None:
    assert differences({"a": [1, {"b": None}], "c": "x"}, {"c": "x", "a": [1, {"b": None}]}) == []


def test_a_field_that_came_or_went_is_told_from_one_that_is_none() -> None:
    came, went = differences({"old": None}, {"new": None})[::-1]
    assert (came.path, came.before, came.after) == ("new", MISSING, None)
    assert (went.path, went.before, went.after) == ("old", None, MISSING)


def test_long_texts_are_compared_word_by_word() -> None:
    (found,) = differences({"t": TEXT}, {"t": TEXT.replace("broken", "in pieces")})
    assert [(piece.kind, piece.text) for piece in found.pieces if piece.kind != "same"] == [
        ("gone", "broken"),
        ("new", "in pieces"),
    ]
    assert _sides(found) == (TEXT, TEXT.replace("broken", "in pieces"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Beyond what is compared word by word: a word near the end, and all of it.
        ("word " * (MAX_WORDS * 3) + "100.00 end", "word " * (MAX_WORDS * 3) + "900.00 end"),
        ("a b " * MAX_WORDS, "c d " * MAX_WORDS),
        # One long word.
        ("x" * 5_000 + "1", "x" * 5_000 + "2"),
        (TEXT, ""),
        ("", TEXT),
        ("a a a a a a", "a a a a"),
    ],
)
def test_what_differs_is_seen_however_long_the_texts_are(before: str, after: str) -> None:
    (found,) = differences({"t": before}, {"t": after})
    assert _sides(found) == (before, after)
    assert any(piece.kind != "same" for piece in found.pieces)


def test_a_word_late_in_a_very_long_text_is_all_that_is_marked() -> None:
    before = "word " * (MAX_WORDS * 3) + "100.00 end"
    marked = [piece.text for piece in words(before, before.replace("100.00", "900.00")) if piece.kind != "same"]
    assert marked == ["100.00", "900.00"]


def test_a_change_deep_in_a_long_list_is_seen() -> None:
    before = [{"line": n, "price": f"{n}.00", "text": "some thing"} for n in range(40)]
    after = [*before[:37], {**before[37], "price": "9999.00"}, *before[38:]]
    (found,) = differences({"lines": before}, {"lines": after})
    assert any(piece.kind == "new" and "9999.00" in piece.text for piece in found.pieces)


def test_short_texts_stand_side_by_side() -> None:
    (found,) = differences({"t": "one two"}, {"t": "one three"})
    assert found.pieces == ()


def test_a_difference_knows_the_field_it_is_in_whatever_the_name() -> None:
    found = differences({"a.b": 1, "c": {"d": 1}}, {"a.b": 2, "c": {"d": 2}})
    assert [(each.name, each.path) for each in found] == [("a.b", "a.b"), ("c", "c.d")]


def test_many_differences_are_bounded_and_the_last_line_says_so() -> None:
    found = differences({str(n): 0 for n in range(MAX_FIELDS + 7)}, {str(n): 1 for n in range(MAX_FIELDS + 7)})
    assert len(found) == MAX_FIELDS + 1
    assert "7 more" in found[-1].path


def test_values_nested_without_end_are_compared_as_a_whole() -> None:
    deep: Any = 1
    other: Any = 2
    for _ in range(30):
        deep, other = {"a": deep}, {"a": other}
    (found,) = differences(deep, other)
    assert found.path == ".".join("a" * 8)
