"""What a process knows of newest versions: as they were last heard of, for seconds, and of so many workflows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from signoff.store import clock as clocks
from signoff.store.versions import KNOWN_SECONDS, MAX_CACHED, VersionCache

HEARD = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Monotonic:
    """A process's own clock, by hand."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    made = Monotonic()
    monkeypatch.setattr(clocks, "time", made)
    return made


def test_a_version_is_known_for_seconds_with_the_clock_carried_on(time: Monotonic) -> None:
    versions = VersionCache()
    assert versions.known("refund") is None
    versions.learn("refund", 3, HEARD)
    time.at += KNOWN_SECONDS
    known = versions.known("refund")
    assert known is not None
    assert (known[0], known[1].now()) == (3, HEARD + timedelta(seconds=KNOWN_SECONDS))
    assert versions.known("loan") is None
    time.at += 0.001
    assert versions.known("refund") is None


def test_what_is_heard_later_counts(time: Monotonic) -> None:
    versions = VersionCache()
    versions.learn("refund", 3, HEARD)
    time.at += 4
    versions.learn("refund", 4, HEARD)
    time.at += 4
    known = versions.known("refund")
    assert known is not None
    assert (known[0], known[1].now()) == (4, HEARD + timedelta(seconds=4))


def test_names_that_never_end_take_no_more_room(time: Monotonic) -> None:
    versions = VersionCache()
    for number in range(3 * MAX_CACHED):
        versions.learn(f"w{number}", 1, HEARD)
        assert len(versions._newest) <= MAX_CACHED
    assert versions.known(f"w{3 * MAX_CACHED - 1}") is not None
