"""Canonical JSON (RFC 8785) and its SHA-256: the bytes that versions, payloads and log entries are known by."""

from __future__ import annotations

import hashlib
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
    if _is_plain(value):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:
            pass
    return rfc8785.dumps(value)


def sha256_hex(value: Json) -> str:
    """SHA-256 over the canonical bytes of `value`, in lower-case hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _is_plain(value: Json) -> bool:
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return bool(-MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER)
    if kind is float:
        # Both write the shortest digits here, without an exponent and without a trailing ".0".
        return bool(0.001 <= abs(value) < 1e15 and not value.is_integer())
    if kind is dict:
        return all(type(key) is str and key.isascii() and _is_plain(item) for key, item in value.items())
    if kind is list:
        return all(_is_plain(item) for item in value)
    return False
