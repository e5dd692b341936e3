"""Passwords of people without an OpenID provider: what one may be, and its hash.

Argon2id with the second parameters that RFC 9106 recommends: 64 MiB, three passes, four lanes. A hash made with others
is made anew at the next sign-in. Names that nobody has are verified too, against a hash of nothing, so that the time
of the answer does not tell them apart.
"""

from __future__ import annotations

import secrets
import threading
import unicodedata
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from signoff.errors import FieldError, InvalidInput, Unavailable

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MIN_LENGTH = 12
MAX_LENGTH = 256
"""Characters."""

_MAX_TYPED = 4 * MAX_LENGTH
"""No character that is one when it is normal is more than four before."""

AT_ONCE = 2
WAITING = 2
"""Hashes that one process makes at the same time, 64 MiB each, and how many more wait for their turn."""


class Turns:
    """At most `at_once` go on, at most `waiting` wait for them, and whoever comes then is sent away."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._inside = threading.BoundedSemaphore(at_once + waiting)
        self._turn = threading.BoundedSemaphore(at_once)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn. Raises Unavailable where too many do."""
        if not self._inside.acquire(blocking=False):
            raise Unavailable("too many people are signing in at this moment", fix="try again in a few seconds")
        try:
            with self._turn:
                yield
        finally:
            self._inside.release()


_turns = Turns(at_once=AT_ONCE, waiting=WAITING)


def check_password(name: str, password: str) -> None:
    """Raise InvalidInput for what is no password for a person of this name."""
    fault = None
    normal = _normal(password)
    if not MIN_LENGTH <= len(normal) <= MAX_LENGTH:
        fault = f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters"
    elif any(unicodedata.category(character) in ("Cc", "Cs") for character in normal):
        fault = "a password has no control characters"
    elif name.casefold() in normal.casefold():
        fault = "a password does not contain one's name"
    elif len(set(normal)) == 1:
        fault = "a password is not one character again and again"
    if fault is not None:
        raise InvalidInput(
            errors=[FieldError(path="/password", message=fault, fix="four words that nobody would guess")]
        )


def generate_password() -> str:
    """One that nobody guesses: 120 random bits in groups of five letters and digits."""
    text = "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in range(25))
    return "-".join(text[at : at + 5] for at in range(0, 25, 5))


def hash_password(password: str) -> str:
    """The hash to keep, which says how it was made. Raises Unavailable."""
    with _turns.turn():
        return _hasher().hash(_normal(password))


def verify_password(kept: str | None, password: str) -> bool:
    """Whether this is the password of the hash; for None the same work is done in vain. Raises Unavailable."""
    from argon2.exceptions import Argon2Error, InvalidHashError

    # One character may be typed as several: it counts as one, as it did when the password was set.
    normal = _normal(password) if len(password) <= _MAX_TYPED else ""
    with _turns.turn():
        try:
            _hasher().verify(kept or _nobodys(), normal if len(normal) <= MAX_LENGTH else "")
        except (Argon2Error, InvalidHashError):
            return False
    return kept is not None


def is_outdated(kept: str) -> bool:
    """Whether the hash was made with other parameters than those of today."""
    return _hasher().check_needs_rehash(kept)


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher
    from argon2.profiles import RFC_9106_LOW_MEMORY

    return PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


@cache
def _nobodys() -> str:
    """A hash in today's form that is of no password: its last part is not the hash of anything, it is random."""
    hasher = _hasher()
    salt, tag = (
        b64encode(secrets.token_bytes(length)).rstrip(b"=").decode() for length in (hasher.salt_len, hasher.hash_len)
    )
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${costs}${salt}${tag}"


def _normal(password: str) -> str:
    # The same key on two keyboards may give one character or two.
    return unicodedata.normalize("NFC", password)
