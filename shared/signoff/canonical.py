"""Canonical JSON (RFC 8785) and its SHA-256: the bytes that versions, payloads and log entries are known by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, TypeAlias

import orjson
import rfc8785

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, a list of them or a dict from str to them."""

MAX_SAFE_INTEGER = 2**53 - 1
"""Integers beyond this lose digits in readers that hold numbers as doubles (RFC 8785, section 3.2.2.3)."""


def canonical(value: Json) -> bytes:
    """The one byte string that stands for `value`.

    Raises ValueError where RFC 8785 has no form for it: NaN, infinities, integers beyond 2^53 - 1, lone surrogates.
    """
    # orjson is fifty times faster and writes the same bytes for numbers of everyday size and where names are ASCII,
    # which every order of letters sorts alike; the library that follows the RFC to the letter takes the rest, and says
    # what is wrong with half a character. A property test holds the two equal.
    try:
        return orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS)
    except (_NotPlainError, orjson.JSONEncodeError):
        return rfc8785.dumps(value)


def sha256_hex(value: Json) -> str:
    """SHA-256 over the canonical bytes of `value`, in lower-case hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


class _NotPlainError(Exception):
    """A value that orjson might write otherwise than the RFC."""


def _plain(value: Json) -> Json:
    """The value as orjson writes it like the RFC: the same, but for whole numbers that are floats.

    Raises _NotPlainError.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if kind is int and -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return value
    if kind is float and abs(value) < 1e15:
        if value.is_integer():
            return int(value)
        # Both write the shortest digits here, without an exponent.
        if abs(value) >= 0.001:
            return value
    if kind is dict:
        return _with(value, value.items(), named=True)
    if kind is list:
        return _with(value, enumerate(value), named=False)
    raise _NotPlainError


def _with(value: Json, items: Iterable[tuple[Any, Json]], *, named: bool) -> Json:
    """The list or dict itself, or a copy where something in it is written otherwise."""
    made = None
    for place, item in items:
        if named and not (type(place) is str and place.isascii()):
            raise _NotPlainError
        # Most of all that is hashed is text.
        if type(item) is not str and (plain := _plain(item)) is not item:
            made = value.copy() if made is None else made
            made[place] = plain
    return value if made is None else made
