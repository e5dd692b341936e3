"""A sweep that takes long is followed by as much time for steps."""

from __future__ import annotations

import threading
import time

import pytest

from signoff_workers.rest import Rest


def test_after_long_work_comes_as_long_a_rest() -> None:
    rest = Rest()
    with rest.working() as may:
        assert may
        time.sleep(0.2)
    over = time.monotonic()
    while time.monotonic() < over + 10:
        with rest.working() as may:
            if may:
                break
    assert 0.2 <= time.monotonic() - over + 0.01 < 10


def test_a_rest_is_not_lengthened_by_who_asks_in_vain() -> None:
    rest = Rest()
    with rest.working():
        time.sleep(0.1)
    until = time.monotonic() + 5
    while time.monotonic() < until:
        with rest.working() as may:
            if may:
                return
    pytest.fail("it never was time again")


def test_one_thread_at_a_time() -> None:
    rest = Rest()
    told: list[bool] = []

    def ask() -> None:
        with rest.working() as may:
            told.append(may)

    with rest.working():
        other = threading.Thread(target=ask)
        other.start()
        other.join()
    assert told == [False]


def test_work_that_fails_ends_too() -> None:
    rest = Rest()
    with pytest.raises(ValueError, match="no"), rest.working():
        raise ValueError("no")
    time.sleep(0.01)
    with rest.working() as may:
        assert may
