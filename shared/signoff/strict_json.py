"""JSON as it comes from outside: read strictly, so that what was hashed, stored and shown is one and the
same.

Two readers must never see two different documents in the same bytes. So duplicate keys, NaN, numbers that a
reader of doubles would change, lone surrogates and NUL (which PostgreSQL can't keep in text) are refused,
each with a sentence that says where.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Never

from signoff.canonical import MAX_SAFE_INTEGER, Json
from signoff.errors import MalformedInput, TooLarge

MAX_DEPTH = 64
"""How many arrays and objects may be open at once (api.md of the contract)."""

_SHOWN = 60
"""Characters of a key or a number that an error repeats."""

# A string of JSON, or what looks like one: an opening quote without its end takes the rest, so that a
# bracket inside is never counted. Possessive, so that a long string costs one pass and no memory.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NOT_A_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")
# Only an escape can spell a surrogate or a NUL: raw ones are refused by UTF-8 and by JSON itself.
_SUSPECT = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)")
_SURROGATE = re.compile("[\ud800-\udfff]")


def loads(raw: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> Json:
    """The JSON value in `raw`, UTF-8 of at most `max_bytes` bytes.

    Raises TooLarge for more bytes, and MalformedInput for anything that is not JSON, nests deeper than
    `max_depth`, names a key twice, or holds a number, a character or an encoding that does not survive
    storage unchanged.
    """
    if len(raw) > max_bytes:
        raise TooLarge(f"the JSON has {len(raw)} bytes; at most {max_bytes} are read")
    _check_depth(raw, max_depth)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedInput(
            f"byte {error.start} is not UTF-8 ({error.reason})", fix="encode the JSON as UTF-8"
        ) from error
    if text.startswith("\ufeff"):
        raise MalformedInput("the JSON starts with a byte order mark", fix="send UTF-8 without one")
    try:
        found: Json = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedInput(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    if _SUSPECT.search(raw):
        _check_characters(found)
    return found


def _check_depth(raw: bytes, max_depth: int) -> None:
    """Refuse deep nesting before anything recursive sees the bytes."""
    if raw.count(b"[") + raw.count(b"{") <= max_depth:
        return
    # What is left are the brackets alone. Each round takes away every innermost pair, and so one level:
    # what still has a pair after `max_depth` rounds was deeper. Sixty-four passes in C are faster than one
    # in Python.
    left = _STRING.sub(b"", raw).translate(_ONE_KIND, _NOT_A_BRACKET)
    for _ in range(max_depth):
        shorter = left.replace(b"[]", b"")
        if len(shorter) == len(left):
            break
        left = shorter
    # Without a pair, what is left is `]]]…[[[`: brackets that nobody closed, which the parser refuses if
    # they are few.
    if b"[]" in left or left.count(b"[") > max_depth:
        raise MalformedInput(f"the JSON nests deeper than {max_depth} levels", fix="flatten the value")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise MalformedInput(f"the key {_shown(key)} is there twice in one object", fix="name it once")
            seen.add(key)
    return found


def _integer(text: str) -> int:
    # The length comes first: turning a million digits into a number is quadratic.
    if len(text) <= 17 and -MAX_SAFE_INTEGER <= (found := int(text)) <= MAX_SAFE_INTEGER:
        return found
    raise MalformedInput(
        f"the integer {_shown(text)} is beyond ±(2^53 - 1) and would lose digits", fix="send it as a string"
    )


def _float(text: str) -> float:
    found = float(text)
    if math.isfinite(found):
        return found
    raise MalformedInput(f"the number {_shown(text)} is too large for a double", fix="send it as a string")


def _constant(name: str) -> Never:
    raise MalformedInput(f"{name} is not JSON", fix="send null, or leave the field out")


def _check_characters(value: Json) -> None:
    for path, text in _strings(value, ""):
        if "\x00" in text:
            raise MalformedInput(f"the text at {path or '/'} has a NUL character (\\u0000)", fix="remove it")
        if _SURROGATE.search(text):
            raise MalformedInput(
                f"the text at {path or '/'} has half of a surrogate pair, which is no character",
                fix="remove it",
            )


def _strings(value: Json, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            where = f"{path}/{_shown(key)[1:-1]}"
            yield where, key
            yield from _strings(item, where)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, f"{path}/{index}")


def _shown(text: str) -> str:
    """The text in quotes, plain ASCII and cut short, so that an error message is itself harmless."""
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return json.dumps(cut).replace("\\u2026", "…")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
