"""What decided human tasks come to, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.insights.people import later, said, task, timed_out

from signoff.canonical import Json
from signoff.insights.cases import Label, edited_fields, number_at
from signoff.insights.intervals import Share
from signoff.insights.summary import BUCKETS, buckets, decided_late, edits, shares, times

SCORE = ("confidence",)


def scored(*pairs: tuple[Json, str]) -> list[Any]:
    return [task(outcome, shown={"confidence": score}) for score, outcome in pairs]


class TestBuckets:
    def test_scores_between_0_and_1_lie_in_tenths(self) -> None:
        found = buckets(scored((0.05, "rejected"), (0.91, "approved"), (0.99, "rejected")), SCORE)
        assert [row.low for row in found.rows] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
        assert found.rows[-1].high == 1
        assert found.rows[0].approved == Share(count=0, total=1)
        assert found.rows[9].approved == Share(count=1, total=2)
        assert found.scored == 3

    @pytest.mark.parametrize(("score", "at"), [(0, 0), (0.1, 1), (0.3, 3), (0.7, 7), (0.9999, 9), (1, 9), (1.0, 9)])
    def test_an_edge_belongs_to_the_bucket_above_and_the_last_edge_to_the_last(self, score: float, at: int) -> None:
        found = buckets(scored((score, "approved")), SCORE)
        assert [row.approved.total for row in found.rows].index(1) == at

    def test_other_scores_lie_in_tenths_of_their_own_range(self) -> None:
        found = buckets(scored((60, "approved"), (65, "approved"), (80, "rejected")), SCORE)
        assert [row.low for row in found.rows] == [60, 62, 64, 66, 68, 70, 72, 74, 76, 78]
        assert [row.approved.total for row in found.rows] == [1, 0, 1, 0, 0, 0, 0, 0, 0, 1]

    def test_one_score_alone_is_one_bucket(self) -> None:
        (only,) = buckets(scored((85, "approved"), (85, "rejected")), SCORE).rows
        assert (only.low, only.high, only.approved) == (85, 85, Share(count=1, total=2))

    def test_the_widest_range_there_is_has_ten_buckets_too(self) -> None:
        found = buckets(scored((-1.7e308, "approved"), (1.7e308, "approved")), SCORE)
        assert len(found.rows) == BUCKETS
        assert [row.approved.total for row in found.rows] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]

    def test_what_has_no_number_is_counted_apart(self) -> None:
        odd: list[tuple[Json, str]] = [(None, "approved"), ("high", "approved"), (True, "approved"), ([1], "approved")]
        found = buckets(scored(*odd, ("0.5", "approved")), SCORE)
        assert (found.unscored, found.scored) == (4, 1)
        assert buckets(scored(*odd), SCORE).rows == ()
        assert buckets([], SCORE).rows == ()

    def test_only_people_approve(self) -> None:
        assert buckets([timed_out(shown={"confidence": 0.5})], SCORE).rows == ()


def test_numbers_are_read_as_they_are_written() -> None:
    assert number_at({"a": {"b": "12.50"}}, ("a", "b")) == 12.5
    assert number_at({"a": 3}, ("a",)) == 3.0
    for odd in (None, True, "NaN", "", {}, 10**400, float("nan"), float("inf")):
        assert number_at({"a": odd}, ("a",)) is None
    assert number_at(None, ("a",)) is None


class TestTimes:
    def test_waiting_ends_when_reading_begins(self) -> None:
        found = times([task("approved", said(minutes=10, reading_ms=60_000))])
        assert (found.total.p50, found.waiting.p50, found.reading.p50) == (600_000, 540_000, 60_000)

    def test_a_decision_by_the_api_counts_in_the_whole_only(self) -> None:
        found = times([task("approved", said(minutes=10)), task("approved", said(minutes=20, reading_ms=0))])
        assert (found.total.count, found.waiting.count, found.reading.count) == (2, 1, 1)
        assert found.total.p50 == 900_000

    def test_nobody_reads_for_longer_than_there_was_something_to_read(self) -> None:
        found = times([task("approved", said(minutes=1, reading_ms=10**9))])
        assert (found.waiting.p50, found.reading.p50) == (0, 60_000)

    def test_the_last_word_on_the_newest_draft_is_the_decision(self) -> None:
        words = (
            said("request_changes", minutes=1, reading_ms=1),
            said(minutes=40, revision=2, reading_ms=5_000),
            said(minutes=30, revision=2, reading_ms=9_000),
        )
        found = times([task("approved", *words, revision=2, since=later(20))])
        assert (found.total.p50, found.reading.p50) == (20 * 60_000, 5_000)

    def test_a_timeout_is_no_decision(self) -> None:
        assert times([timed_out()]).total.count == 0


def test_late_is_a_decision_by_people_after_its_due_time() -> None:
    found = decided_late(
        [
            task("approved", said(minutes=10), due_at=later(5)),
            task("approved", said(minutes=10), due_at=later(10)),
            task("approved", said(minutes=10)),
            timed_out(due_at=later(5)),
        ]
    )
    assert found == Share(count=1, total=2)


def test_shares_are_of_all_that_was_decided() -> None:
    found = shares([task(), task("rejected"), timed_out()], passed=7)
    assert (found.people, found.policy, found.timeout) == (
        Share(count=2, total=10),
        Share(count=7, total=10),
        Share(count=1, total=10),
    )
    assert shares([], 0).people.value is None


def test_edits_are_counted_by_field_over_all_decisions() -> None:
    found = edits(
        [
            task("approved", said(edited=("amount", "reply"))),
            task("approved", said(edited=("reply",))),
            task("approved", said("request_changes"), said(revision=2)),
            timed_out(),
        ]
    )
    assert [(row.field, row.decisions) for row in found] == [
        ("reply", Share(count=2, total=4)),
        ("amount", Share(count=1, total=4)),
    ]
    assert edits([]) == ()


@pytest.mark.parametrize(
    ("patch", "shown", "form", "expected"),
    [
        (None, {}, None, ()),
        ({}, {}, None, ()),
        ({"amount": "1"}, {"amount": "2"}, None, ("amount",)),
        ({"amount": "2"}, {"amount": "2"}, None, ()),
        ({"note": None}, {}, None, ()),
        ({"note": None}, {"note": "x"}, None, ("note",)),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, None, ("a.c",)),
        ({"ok": {"checked": True}}, {}, "ok", ()),
        ({"ok": {"checked": True}}, {}, None, ("ok.checked",)),
    ],
)
def test_an_edit_is_what_a_patch_changes(patch: Json, shown: Json, form: str | None, expected: tuple[str, ...]) -> None:
    assert edited_fields(patch, shown, form) == expected


@pytest.mark.parametrize(
    ("found", "label"),
    [
        (task(), Label.AS_SHOWN),
        (task("approved", said(edited=("amount",))), Label.EDITED),
        (task("rejected"), Label.REJECTED),
        (task("changes_requested", said("request_changes")), Label.SENT_BACK),
        (task("approved", said("request_changes"), said(revision=2), revision=2), Label.SENT_BACK),
        (task("rejected", said("request_changes"), said("reject", revision=2), revision=2), Label.REJECTED),
        (task("escalate", said("escalate")), Label.OTHER),
        (timed_out(), None),
    ],
)
def test_what_people_made_of_it(found: Any, label: Label | None) -> None:
    assert found.label is label
