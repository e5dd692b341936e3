"""What an address asks a list for: each argument bounded and checked, an empty field the same as none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from flask import request

from signoff.errors import FieldError, InvalidInput
from signoff.ids import parse_id
from signoff.store.queries import MAX_CURSOR

MAX_NAME = 128
MAX_LABELS = 8
MAX_LABEL = 321
MAX_SEQ = 2**31 - 1
_YEARS = (1970, 9000)


def text(name: str, *, longest: int = MAX_NAME) -> str | None:
    """A text of one line, None where there is none. Raises InvalidInput."""
    found = request.args.get(name, "").strip()
    if len(found) > longest or "\x00" in found:
        raise refused(name, f"it is longer than {longest} characters", f"at most {longest} characters")
    return found or None


def choice(name: str, allowed: tuple[str, ...]) -> str | None:
    """One of these, or None. Raises InvalidInput."""
    found = text(name)
    if found is not None and found not in allowed:
        raise refused(name, "there is no such choice", f"one of {', '.join(allowed)}")
    return found


def run_id(name: str) -> UUID | None:
    """An id, or None. Raises InvalidInput."""
    found = text(name)
    if found is None:
        return None
    parsed = parse_id(found.lower())
    if parsed is None:
        raise refused(name, "this is not an id", "copy the whole id, such as 01981a2b-0000-7000-8000-000000000000")
    return parsed


def labels() -> dict[str, str]:
    """What `label=key:value` asks for, each key once. Raises InvalidInput."""
    found: dict[str, str] = {}
    given = [value for value in (item.strip() for item in request.args.getlist("label")) if value]
    if len(given) > MAX_LABELS:
        raise refused("label", "these are too many", f"at most {MAX_LABELS}")
    for item in given:
        key, colon, value = item.partition(":")
        if not key or not colon or len(item) > MAX_LABEL or "\x00" in item:
            raise refused("label", "a label is a key and a value", "write key:value, such as team:north")
        if found.setdefault(key, value) != value:
            raise refused("label", "one key can't have two values", "ask for one of them")
    return found


def day(name: str, *, plus: int = 0) -> datetime | None:
    """The beginning of a day in UTC, `plus` days later; None where there is none. Raises InvalidInput."""
    found = text(name, longest=10)
    if found is None:
        return None
    try:
        at = datetime.strptime(found, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise refused(name, "this is not a day", "write it as 2026-03-31") from None
    if not _YEARS[0] <= at.year <= _YEARS[1]:
        raise refused(name, "this year is too far away", f"a year from {_YEARS[0]} to {_YEARS[1]}")
    return at + timedelta(days=plus)


def number(name: str) -> int:
    """A count from 0, which is also what is meant without one. Raises InvalidInput."""
    found = text(name, longest=10)
    if found is None:
        return 0
    if not (found.isascii() and found.isdigit() and int(found) <= MAX_SEQ):
        raise refused(name, "this is not a number of an event", f"0 to {MAX_SEQ}")
    return int(found)


def cursor() -> str | None:
    """Where the page before ended."""
    return text("cursor", longest=MAX_CURSOR)


def refused(name: str, message: str, fix: str) -> InvalidInput:
    """The error that says what is wrong with an argument."""
    return InvalidInput(errors=[FieldError(path=f"?{name}", message=message, fix=fix)])
