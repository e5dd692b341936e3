"""What is different between two payloads: field by field, and inside long texts word by word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from signoff.canonical import Json

MAX_DEPTH = 8
MAX_FIELDS = 200
MAX_WORDS = 2_000
"""Beyond this many words two texts are shown as a whole: comparing them word by word grows with their product."""

_WORDS = re.compile(r"\s+|[^\s]+")


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()
"""Stands for a field that one of the two does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of a text: in both, only in the one before, or only in the one after."""

    kind: Literal["same", "gone", "new"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field that is different. `pieces` has the words of two texts that are worth comparing so."""

    path: str
    before: Any
    after: Any
    pieces: tuple[Piece, ...] = ()


def differences(before: Json, after: Json) -> list[Difference]:
    """The fields that differ, in the order in which they are shown; at most MAX_FIELDS."""
    found: list[Difference] = []
    for path, old, new in _walk(before, after, (), 0):
        if len(found) == MAX_FIELDS:
            break
        pieces = words(old, new) if isinstance(old, str) and isinstance(new, str) else ()
        found.append(Difference(path=".".join(path) or "payload", before=old, after=new, pieces=pieces))
    return found


def words(before: str, after: str) -> tuple[Piece, ...]:
    """Two texts as the pieces they share and do not; none when they are short, or too long to compare."""
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    if max(len(old), len(new)) < 5 or max(len(old), len(new)) > MAX_WORDS:
        return ()
    pieces: list[Piece] = []
    for kind, start, end, new_start, new_end in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if kind == "equal":
            pieces.append(Piece(kind="same", text="".join(old[start:end])))
            continue
        if end > start:
            pieces.append(Piece(kind="gone", text="".join(old[start:end])))
        if new_end > new_start:
            pieces.append(Piece(kind="new", text="".join(new[new_start:new_end])))
    return tuple(pieces)


def _walk(before: Any, after: Any, path: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict) and depth < MAX_DEPTH:
        for key in dict.fromkeys([*before, *after]):
            yield from _walk(before.get(key, MISSING), after.get(key, MISSING), (*path, key), depth + 1)
    elif not _equal(before, after):
        yield path, before, after


def _equal(one: Any, other: Any) -> bool:
    # True is not 1 here, as it is not in JSON.
    return type(one) is type(other) and bool(one == other)
