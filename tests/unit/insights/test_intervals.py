"""Shares, their intervals and percentiles, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.insights.intervals import Share, Spread, percentile


def test_of_nothing_no_share_is_known_and_the_interval_is_everything() -> None:
    nothing = Share(count=0, total=0)
    assert nothing.value is None
    assert (nothing.low, nothing.high) == (0.0, 1.0)


# By hand, z² = 3.841459: for none of n the upper end is z² / (n + z²), for all of n the lower one n / (n + z²).
@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        (0, 1, 0.0, 0.793450),
        (1, 1, 0.206550, 1.0),
        (5, 10, 0.236593, 0.763407),
        (1, 10, 0.017876, 0.404150),
        (81, 263, 0.255289, 0.366209),
    ],
)
def test_wilsons_interval_has_the_ends_that_the_formula_gives(count: int, total: int, low: float, high: float) -> None:
    share = Share(count=count, total=total)
    assert share.low == pytest.approx(low, abs=5e-6)
    assert share.high == pytest.approx(high, abs=5e-6)


def test_none_and_all_reach_their_end_exactly() -> None:
    for total in range(1, 200):
        assert Share(count=0, total=total).low == 0.0
        assert Share(count=total, total=total).high == 1.0


@given(st.integers(1, 10**6).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_an_interval_holds_its_share_and_stays_between_none_and_all(counted: tuple[int, int]) -> None:
    share = Share(count=counted[0], total=counted[1])
    assert share.value is not None
    assert 0 <= share.low <= share.value <= share.high <= 1
    # What makes it Wilson's: each end is as far from the share as 1.96 standard errors of the end itself.
    for end in (share.low, share.high):
        error = math.sqrt(end * (1 - end) / share.total)
        assert math.isclose(abs(share.value - end), 1.959963984540054 * error, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([], 0.5, None),
        ([7], 0.95, 7),
        ([1, 2], 0.5, 1.5),
        ([1, 2, 3, 4, 5], 0.5, 3),
        ([10, 20, 30, 40], 0.95, 38.5),
        ([0, 100], 0.95, 95),
        ([5, 5, 5], 0.95, 5),
    ],
)
def test_percentiles_lie_between_neighbours(values: list[float], q: float, expected: float | None) -> None:
    assert percentile(values, q) == (None if expected is None else pytest.approx(expected))


def test_a_spread_orders_what_it_is_given() -> None:
    assert Spread.of([30, 10, 20]) == Spread(count=3, p50=20, p95=pytest.approx(29))  # type: ignore[arg-type]
    assert Spread.of([]) == Spread(count=0, p50=None, p95=None)
