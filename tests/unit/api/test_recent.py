"""Callers are remembered for seconds, by the digest of their key, and only so many."""

from __future__ import annotations

from uuid import uuid4

from signoff.identity import Principal
from signoff_api.recent import MAX_RECENT, RECENT_SECONDS, RecentCallers

ANA = Principal(id=uuid4(), name="ana", kind="user")
BEN = Principal(id=uuid4(), name="ben", kind="user")


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_a_key_is_remembered_for_seconds_and_no_longer() -> None:
    clock = Clock()
    recent = RecentCallers(clock)
    assert recent.find("so_key") is None
    recent.keep("so_key", ANA)
    clock.at += RECENT_SECONDS - 0.001
    assert recent.find("so_key") is ANA
    assert recent.find("so_kez") is None
    clock.at += 0.001
    assert recent.find("so_key") is None


def test_what_was_found_does_not_last_longer_for_it() -> None:
    clock = Clock()
    recent = RecentCallers(clock)
    recent.keep("so_key", ANA)
    for _ in range(10):
        recent.find("so_key")
        clock.at += RECENT_SECONDS / 10
    assert recent.find("so_key") is None


def test_the_newest_word_counts_and_a_key_can_be_forgotten() -> None:
    recent = RecentCallers(Clock())
    recent.keep("so_key", ANA)
    recent.keep("so_key", BEN)
    assert recent.find("so_key") is BEN
    recent.forget("so_key")
    recent.forget("so_key")
    assert recent.find("so_key") is None


def test_only_so_many_are_kept_and_the_oldest_go() -> None:
    recent = RecentCallers(Clock())
    for number in range(MAX_RECENT):
        recent.keep(f"so_{number}", ANA)
    recent.keep("so_0", ANA)
    recent.keep("so_more", BEN)
    assert [recent.find(f"so_{number}") is not None for number in (0, 1, 2)] == [True, False, True]
    assert recent.find("so_more") is BEN
    assert sum(recent.find(f"so_{number}") is not None for number in range(MAX_RECENT)) == MAX_RECENT - 1


def test_keys_themselves_are_not_kept() -> None:
    recent = RecentCallers(Clock())
    recent.keep("so_secret", ANA)
    assert "so_secret" not in repr(vars(recent))
