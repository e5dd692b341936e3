"""What a password may be, how it is kept, and how many are computed at the same time."""

from __future__ import annotations

import threading

import pytest
from argon2 import PasswordHasher

from signoff.errors import InvalidInput, Unavailable
from signoff.passwords import Turns, check_password, generate_password, hash_password, is_outdated, verify_password

GOOD = "correct horse battery staple"


@pytest.fixture(scope="module")
def kept() -> str:
    return hash_password(GOOD)


@pytest.mark.parametrize(
    "password",
    ["", "short", "x" * 11, "x" * 257, "aaaaaaaaaaaaaa", "ana is my name!", "my name is ANA", "with\x00a nul in it"],
)
def test_what_is_no_password(password: str) -> None:
    with pytest.raises(InvalidInput):
        check_password("ana", password)


@pytest.mark.parametrize("password", [GOOD, "x" * 11 + "y", "ü" * 11 + "x", "xy" * 128])
def test_what_is_one(password: str) -> None:
    check_password("ana", password)


def test_a_generated_one_is_one_and_never_the_same() -> None:
    made = {generate_password() for _ in range(50)}
    assert len(made) == 50
    for each in made:
        check_password("a" * 64, each)
        assert len(each) == 29


def test_it_is_kept_as_argon2id_with_64_mib_three_passes_and_four_lanes(kept: str) -> None:
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert GOOD not in kept


def test_only_the_same_one_is_right_on_whatever_keyboard(kept: str) -> None:
    assert verify_password(kept, GOOD)
    assert not verify_password(kept, GOOD + " ")
    assert verify_password(hash_password("caf\u00e9 caf\u00e9 caf\u00e9"), "cafe\u0301 cafe\u0301 cafe\u0301")


def test_a_long_one_may_be_typed_as_twice_as_many_characters() -> None:
    long = "caf\u00e9" * 64
    check_password("ana", long)
    assert verify_password(hash_password(long), long.replace("\u00e9", "e\u0301"))
    assert not verify_password(hash_password(long), long + "x")


def test_a_hash_that_is_none_and_one_that_is_broken_are_never_right() -> None:
    assert not verify_password(None, GOOD)
    assert not verify_password("$argon2id$broken", GOOD)
    assert not verify_password(None, "x" * 1_000_000)


def test_a_hash_made_with_other_parameters_is_outdated(kept: str) -> None:
    assert not is_outdated(kept)
    assert is_outdated(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(GOOD))


def test_at_most_so_many_go_on_so_many_wait_and_the_next_is_sent_away() -> None:
    turns, inside, leave = Turns(at_once=2, waiting=1), threading.Semaphore(0), threading.Event()
    most, now, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal most, now
        with turns.turn():
            with lock:
                now += 1
                most = max(most, now)
            inside.release()
            leave.wait(10)
            with lock:
                now -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for each in threads[:2]:
        each.start()
    for _ in range(2):
        assert inside.acquire(timeout=10)
    threads[2].start()
    while turns._inside._value:
        pass
    with pytest.raises(Unavailable), turns.turn():
        pass
    leave.set()
    for each in threads:
        each.join(10)
    assert most == 2
    with turns.turn():
        pass
