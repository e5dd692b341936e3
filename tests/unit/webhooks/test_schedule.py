"""When attempts follow each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from signoff.webhooks.schedule import next_attempt, pause_seconds

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
THREE_DAYS = timedelta(days=3)


def _attempts(random: float) -> list[datetime]:
    made = [SINCE]
    while True:
        again = next_attempt(attempts=len(made), since=SINCE, now=made[-1], give_up_after=THREE_DAYS, random=random)
        if again is None:
            return made
        made.append(again)


@pytest.mark.parametrize("random", [0.0, 0.5, 0.999])
def test_attempts_are_quick_at_first_and_end_within_three_days(random: float) -> None:
    made = _attempts(random)
    gaps = [later - earlier for earlier, later in pairwise(made)]
    assert gaps == sorted(gaps)
    assert timedelta(seconds=8) <= gaps[0] <= timedelta(seconds=12)
    assert gaps[-1] <= timedelta(hours=9.6)
    assert timedelta(days=2, hours=12) < made[-1] - SINCE <= THREE_DAYS
    assert 12 <= len(made) <= 20


def test_attempts_of_many_are_spread() -> None:
    assert len({_attempts(number / 10)[1] for number in range(10)}) == 10


def test_a_number_of_attempts_without_end_is_still_a_time() -> None:
    again = next_attempt(attempts=10**6, since=SINCE, now=SINCE, give_up_after=THREE_DAYS, random=0.5)
    assert again == SINCE + timedelta(hours=8)


def test_an_endpoint_that_fails_is_left_alone_for_longer_and_never_for_long() -> None:
    assert [pause_seconds(failures) for failures in (0, 1, 2, 3, 100)] == [0, 1, 2, 4, 30]
