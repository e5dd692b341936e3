"""What is different between two payloads: field by field, and inside long texts word by word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from signoff.canonical import Json
from signoff_api.inbox.fields import same
from signoff_api.inbox.text import json_plain

MAX_DEPTH = 8
MAX_FIELDS = 200
MAX_WORDS = 2_000
"""Beyond this many words what is between the common beginning and end of two texts is shown as a whole: comparing
word by word grows with their product."""

SHORT = 400
"""Characters up to which two values are simply shown one beside the other."""

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
    name: str = ""
    """The field of the payload that it is in."""


def differences(before: Json, after: Json) -> list[Difference]:
    """The fields that differ, in the order in which they are shown; beyond MAX_FIELDS only how many."""
    found: list[Difference] = []
    more = 0
    for path, old, new in _walk(before, after, (), 0):
        if len(found) >= MAX_FIELDS:
            more += 1
            continue
        name = path[0] if path else ""
        found.append(
            Difference(path=".".join(path) or "payload", before=old, after=new, pieces=_pieces(old, new), name=name)
        )
    if more:
        found.append(Difference(path=f"and {more} more fields", before="…", after="…"))
    return found


def words(before: str, after: str) -> tuple[Piece, ...]:
    """Two texts as the pieces they share and do not; none when they are short enough to be shown side by side."""
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    if max(len(old), len(new)) < 5 and max(len(before), len(after)) <= SHORT:
        return ()
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    middle = _compared(old[start : len(old) - end], new[start : len(new) - end])
    pieces = [
        Piece(kind="same", text="".join(old[:start])),
        *middle,
        Piece(kind="same", text="".join(new[len(new) - end :])),
    ]
    return tuple(piece for piece in pieces if piece.text)


def _compared(old: list[str], new: list[str]) -> Iterator[Piece]:
    if max(len(old), len(new)) > MAX_WORDS:
        yield Piece(kind="gone", text="".join(old))
        yield Piece(kind="new", text="".join(new))
        return
    for kind, start, end, new_start, new_end in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if kind == "equal":
            yield Piece(kind="same", text="".join(old[start:end]))
            continue
        yield Piece(kind="gone", text="".join(old[start:end]))
        yield Piece(kind="new", text="".join(new[new_start:new_end]))


def _common(old: list[str], new: list[str]) -> int:
    """How many words the two begin with alike."""
    return next(
        (at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), min(len(old), len(new))
    )


def _pieces(old: Any, new: Any) -> tuple[Piece, ...]:
    if isinstance(old, str) and isinstance(new, str):
        return words(old, new)
    if isinstance(old, (list, dict)) and isinstance(new, (list, dict)):
        before, after = json_plain(old), json_plain(new)
        # What is cut would hide what is different in it.
        return words(before, after) if max(len(before), len(after)) > SHORT else ()
    return ()


def _walk(before: Any, after: Any, path: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict) and depth < MAX_DEPTH:
        for key in dict.fromkeys([*before, *after]):
            yield from _walk(before.get(key, MISSING), after.get(key, MISSING), (*path, key), depth + 1)
    elif not _equal(before, after):
        yield path, before, after


def _equal(one: Any, other: Any) -> bool:
    return one is not MISSING and other is not MISSING and same(one, other)
