"""Replaying decided runs at another threshold, against a count that is plain enough to be seen to be right."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.canonical import Json
from signoff.definition.cel_scope import Scope
from signoff.definition.conditions import compile_expression
from signoff.insights.cases import Label
from signoff.insights.thresholds import find_threshold
from signoff.insights.whatif import MAX_SHOWN, MIN_LABELS, Case, Estimate, Labels, WhatIf, names_of, replay, shown_by

SCOPE = Scope.of({"type": "object", "properties": {"score": {"type": "number"}, "vip": {"type": "boolean"}}})
NOW = find_threshold("score < 0.8 || vip", "score")


def at(threshold: str, cases: list[Case]) -> WhatIf:
    then = Decimal(threshold)
    return replay(cases, NOW.moved(then), NOW.compiled(NOW.value, SCOPE), NOW.compiled(then, SCOPE))


def by_people(score: Json, label: Label | None = Label.AS_SHOWN, **more: Any) -> Case:
    return Case(reviewed=True, shown={"score": score, "vip": False}, label=label, **more)


def by_policy(score: float, **more: Any) -> Case:
    return Case(reviewed=False, shown={"score": score, "vip": False}, **more)


def sampled(score: float, label: Label | None = Label.AS_SHOWN) -> Case:
    return by_people(score, label, drawn=True, sampled=True)


def test_a_lower_threshold_spares_what_lies_between() -> None:
    found = at("0.6", [by_people(0.5), by_people(0.7), by_people(0.79, Label.REJECTED), by_policy(0.9)])
    assert (found.runs, found.did, found.would, found.spared, found.added) == (4, 3, 1, 2, 0)
    assert (found.spared_labels.total, found.spared_labels.objections) == (2, 1)


def test_a_higher_threshold_adds_what_lies_between() -> None:
    found = at("0.95", [by_people(0.5), by_policy(0.9), by_policy(0.97)])
    assert (found.did, found.would, found.spared, found.added) == (1, 2, 0, 1)


def test_the_same_threshold_changes_nothing() -> None:
    cases = [by_people(0.5), by_policy(0.9), sampled(0.99)]
    found = at("0.8", cases)
    assert (found.runs, found.unknown, found.did, found.would) == (3, 0, 2, 2)


def test_the_sample_is_reviewed_at_any_threshold() -> None:
    found = at("0.6", [by_people(0.7, drawn=True), by_people(0.7), sampled(0.9)])
    assert (found.did, found.would, found.spared) == (3, 2, 1)


def test_the_rest_of_the_condition_still_holds() -> None:
    vip = Case(reviewed=True, shown={"score": 0.7, "vip": True}, label=Label.AS_SHOWN)
    assert at("0.6", [vip]).spared == 0


def test_what_cannot_be_evaluated_goes_to_a_person_before_and_after() -> None:
    broken = Case(reviewed=True, shown={"vip": False}, label=Label.AS_SHOWN)
    found = at("0.6", [broken])
    assert (found.runs, found.did, found.would) == (1, 1, 1)


@pytest.mark.parametrize(
    ("case", "threshold"),
    [
        (Case(reviewed=True, shown=None, label=Label.AS_SHOWN), "0.6"),
        (by_people(0.9), "0.95"),  # the condition would have passed it, and it was not sampled
        (by_policy(0.7), "0.6"),  # the condition would have asked
        (sampled(0.7), "0.6"),  # asked by the condition, so not because of the sample
    ],
)
def test_a_run_that_the_condition_would_send_elsewhere_is_not_replayed(case: Case, threshold: str) -> None:
    found = at(threshold, [case, by_people(0.1)])
    assert (found.runs, found.unknown, found.spared, found.added) == (1, 1, 0, 0)


def test_what_lies_beside_both_thresholds_goes_where_it_went_without_a_look() -> None:
    move = NOW.moved(Decimal("0.6"))
    assert [move.matters_to({"score": score}) for score in (0.59, 0.6, 0.8, 0.81)] == [False, True, True, False]
    assert move.matters_to({})
    assert move.matters_to({"score": "high"})


def test_a_timeout_is_no_label() -> None:
    found = at("0.6", [by_people(0.7, None), by_people(0.7, Label.EDITED)])
    assert (found.spared, found.spared_labels.total, found.spared_labels.objections) == (2, 1, 1)


def test_below_thirty_labels_there_is_no_share() -> None:
    few = at("0.6", [by_people(0.7)] * (MIN_LABELS - 1)).spared_labels
    assert (few.total, few.enough, few.share) == (29, False, None)
    enough = at("0.6", [by_people(0.7)] * MIN_LABELS).spared_labels
    assert enough.share is not None
    assert enough.share.value == 0
    # By hand: z² / (30 + z²).
    assert enough.share.high == pytest.approx(0.113515, abs=5e-6)


def test_runs_that_policy_passed_are_judged_by_the_sample_alone() -> None:
    below = [by_people(0.3, Label.REJECTED)] * 200
    above = [sampled(0.9, Label.REJECTED)] * 3 + [sampled(0.9)] * 27
    found = at("0.8", [*below, *above, *[by_policy(0.9)] * 970])
    assert (found.passed.runs, found.passed.labels.total, found.passed.labels.objections) == (970, 30, 3)
    low, middle, high = found.passed.expected or (0, 0, 0)
    # 3 of 30: Wilson gives 3.46 % to 25.62 %, of 970 runs.
    assert middle == pytest.approx(97)
    assert low == pytest.approx(970 * 0.034595, abs=0.1)
    assert high == pytest.approx(970 * 0.256207, abs=0.1)


def test_what_would_be_added_is_judged_by_the_sample_of_its_kind() -> None:
    cases = [
        *[sampled(0.85, Label.EDITED)] * 30,
        *[sampled(0.99)] * 100,
        *[by_policy(0.85)] * 50,
        *[by_policy(0.99)] * 500,
    ]
    caught = at("0.9", cases).caught
    assert (caught.runs, caught.labels.total, caught.labels.objections) == (50, 30, 30)


def test_of_no_runs_nothing_is_estimated_and_nothing_breaks() -> None:
    found = at("0.6", [])
    assert (found.runs, found.did, found.would) == (0, 0, 0)
    assert found.passed.expected is None
    assert Estimate(runs=10, labels=Labels.of([])).expected is None


labels = st.none() | st.sampled_from(list(Label))
scores = st.integers(0, 100).map(lambda n: n / 100)


@st.composite
def decided(draw: st.DrawFn) -> Case:
    """A run as a gate that reviews below 0.8, and samples, would have left it."""
    score, vip, drawn = draw(scores), draw(st.booleans()), draw(st.booleans())
    asks = score < 0.8 or vip
    reviewed = asks or drawn
    return Case(
        reviewed=reviewed,
        shown={"score": score, "vip": vip},
        drawn=drawn,
        sampled=drawn and not asks,
        label=draw(labels) if reviewed else None,
    )


@given(st.lists(decided(), max_size=120), scores)
def test_the_replay_counts_what_a_plain_loop_counts(cases: list[Case], threshold: float) -> None:
    did = would = spared = added = spared_labels = spared_bad = 0
    all_labels = all_bad = caught_labels = caught_bad = 0
    for case in cases:
        assert isinstance(case.shown, dict)
        asks = case.shown["score"] < threshold or case.shown["vip"]
        goes = bool(asks or case.drawn)
        bad = case.label not in (None, Label.AS_SHOWN)
        did += case.reviewed
        would += goes
        added += goes and not case.reviewed
        if case.reviewed and not goes:
            spared += 1
            spared_labels += case.label is not None
            spared_bad += bad
        if case.sampled and case.label is not None:
            all_labels, all_bad = all_labels + 1, all_bad + bad
            if asks:
                caught_labels, caught_bad = caught_labels + 1, caught_bad + bad
    found = at(f"{threshold:.2f}", cases)
    assert (found.runs, found.unknown) == (len(cases), 0)
    assert (found.did, found.would, found.spared, found.added) == (did, would, spared, added)
    assert (found.spared_labels.total, found.spared_labels.objections) == (spared_labels, spared_bad)
    assert (found.passed.labels.total, found.passed.labels.objections) == (all_labels, all_bad)
    assert (found.caught.labels.total, found.caught.labels.objections) == (caught_labels, caught_bad)
    for estimate in (found.passed, found.caught):
        assert (estimate.expected is None) == (estimate.labels.total < MIN_LABELS)
        if estimate.expected is not None:
            low, middle, high = estimate.expected
            assert 0 <= low <= middle <= high <= estimate.runs or math.isclose(low, high)


class TestWhatTheConditionSaw:
    def names(self, source: str) -> tuple[tuple[str, ...], ...] | None:
        return names_of(compile_expression(source, Scope.of(None), condition=True))

    def test_a_payload_is_put_together_from_the_log(self) -> None:
        paths = self.names('score < 1 || model.name == "x" || payload.model.size > 3')
        assert paths is not None
        values = {"score": 0.5, "model.name": "y", "model.size": 2}
        assert shown_by(values, paths) == {"score": 0.5, "model": {"name": "y", "size": 2}}

    def test_what_was_missing_stays_missing(self) -> None:
        assert shown_by({}, self.names("score < 1") or ()) == {}

    @pytest.mark.parametrize("cut", ["a list of 30", "an object of 40 fields", "x" * (MAX_SHOWN - 1) + "…"])
    def test_a_value_that_was_cut_is_not_taken_for_the_value(self, cut: str) -> None:
        assert shown_by({"score": 0.5, "items": cut}, (("score",), ("items",))) is None

    def test_a_condition_on_the_whole_payload_cannot_be_replayed(self) -> None:
        assert self.names("size(payload) > 3") is None
        assert self.names(" || ".join(f"a{n} > 1" for n in range(21))) is None
