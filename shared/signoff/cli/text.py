"""Text that other people wrote, made safe to show: what can't be seen is made visible, nothing is sent raw.

A title, a payload or an error message may hold escape sequences that move the cursor, or characters that turn the
direction of writing. What a reviewer reads has to be what they decide on.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from signoff.hidden_text import INVISIBLE, code_point

_UNSAFE = re.compile(f"[\x00-\x1f{INVISIBLE}]")
_UNSAFE_IN_LINES = re.compile(f"[\x00-\x09\x0b-\x1f{INVISIBLE}]")
_UNSAFE_IN_JSON = re.compile(f"[{INVISIBLE}]")


def visible(text: object) -> str:
    """`text` on one line; control characters, line ends and invisible characters are shown as signs of their own."""
    return _UNSAFE.sub(_sign, str(text))


def visible_lines(text: object) -> str:
    """The same with its line ends left as they are."""
    return _UNSAFE_IN_LINES.sub(_sign, str(text).replace("\r\n", "\n"))


def json_text(value: Any, *, indent: int | None = 2) -> str:
    """JSON for people and programs alike: letters stay letters, what is invisible is escaped. Reads back equal."""
    written = json.dumps(value, indent=indent, ensure_ascii=False)
    # Inside a string is the only place where these characters can be.
    return _UNSAFE_IN_JSON.sub(lambda found: json.dumps(found.group())[1:-1], written)


def shortened(text: str, width: int) -> str:
    """`text` cut to `width` characters, with a sign where it was."""
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"


def compact(value: Any, width: int) -> str:
    """A JSON value on one line, cut to `width`."""
    return shortened(visible(json_text(value, indent=None)), width)


def parse_time(text: str | None) -> datetime | None:
    """A timestamp of the API, None where there is none."""
    return None if text is None else datetime.fromisoformat(text)


def shown_time(at: datetime) -> str:
    """A moment in the reader's time zone, to the second."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def span(elapsed: timedelta) -> str:
    """How long something took, in two units at most: `0.4 s`, `12 s`, `3 min 20 s`, `2 d 4 h`."""
    seconds = max(elapsed.total_seconds(), 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for (unit, size), (smaller, smaller_size) in pairwise(_UNITS):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def ago(at: datetime | None, now: datetime | None = None) -> str:
    """How long ago `at` was, in one unit; empty for None."""
    if at is None:
        return ""
    seconds = max(int(((now or datetime.now(UTC)) - at).total_seconds()), 0)
    unit, size = next((entry for entry in _UNITS if seconds >= entry[1]), ("s", 1))
    return f"{seconds // size} {unit} ago"


def until(at: datetime | None, now: datetime | None = None) -> str:
    """How long it is to `at`, or that it is overdue; empty for None."""
    if at is None:
        return ""
    left = at - (now or datetime.now(UTC))
    return f"in {span(left)}" if left > timedelta(0) else f"overdue {span(-left)}"


def _sign(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code == 0x0A:
        return "↵"
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨{code_point(found.group())}⟩"
