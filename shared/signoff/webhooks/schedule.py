"""When a delivery that failed is tried again: quickly at first, then every eight hours, until it is given up."""

from __future__ import annotations

from datetime import datetime, timedelta

_FIRST_SECONDS = 10.0
_FACTOR = 2.5
_LONGEST_SECONDS = 8 * 3600.0
_JITTER = 0.2
_LONGEST_PAUSE_SECONDS = 30.0


def next_attempt(
    *, attempts: int, since: datetime, now: datetime, give_up_after: timedelta, random: float
) -> datetime | None:
    """When to try again after `attempts` have failed, None when it is given up. `random` is in [0, 1)."""
    # The exponent is bounded because the number of attempts is not.
    seconds = min(_FIRST_SECONDS * _FACTOR ** min(attempts - 1, 20), _LONGEST_SECONDS)
    at = now + timedelta(seconds=seconds * (1 + _JITTER * (2 * random - 1)))
    return at if at <= since + give_up_after else None


def pause_seconds(failures: int) -> float:
    """How long an endpoint is left alone after this many failures one after the other.

    A receiver that is down then costs a worker one wait in a while, not all of its time.
    """
    return float(min(2 ** min(failures - 1, 10), _LONGEST_PAUSE_SECONDS)) if failures else 0.0
