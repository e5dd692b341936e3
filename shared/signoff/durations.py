"""Durations: `4h`, `90s`, `1h30m` or ISO 8601 (`PT4H`) at the edge, whole milliseconds inside."""

from __future__ import annotations

import re
from datetime import timedelta

import isodate

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_MAX_LENGTH = 100
MAX_DURATION_MS = 10 * 366 * 86_400_000
"""Ten years: longer is a typing error, and dates beyond it leave the calendar."""


def parse_duration(text: str, *, day_ms: int = _UNITS["d"], week_ms: int = _UNITS["w"]) -> int:
    """Milliseconds in `text`. `day_ms` and `week_ms` are what `1d` and `1w` stand for where days are working days.

    Years and months are refused because they have no fixed length. Raises ValueError with the accepted forms.
    """
    wanted = text.strip()
    if len(wanted) > _MAX_LENGTH:
        raise ValueError(f"{text[:40]!r}… is out of range; a duration is between 0 and 10 years")
    if wanted.upper().startswith("P"):
        total = _parse_iso(wanted)
    else:
        parts = _PART.findall(wanted)
        if not parts or "".join(number + unit for number, unit in parts) != wanted:
            raise ValueError(f"{text!r} is not a duration; write it like 90s, 4h, 1h30m, 2d or PT4H")
        units = _UNITS | {"d": day_ms, "w": week_ms}
        total = sum(round(float(number) * units[unit]) for number, unit in parts)
    if not 0 <= total <= MAX_DURATION_MS:
        raise ValueError(f"{text!r} is out of range; a duration is between 0 and 10 years")
    return total


def format_duration(ms: int) -> str:
    """The shortest spelling that `parse_duration` reads back: 14400000 is `4h`."""
    if ms == 0:
        return "0s"
    out = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, ms = divmod(ms, _UNITS[unit])
        if count:
            out.append(f"{count}{unit}")
    return "".join(out)


def _parse_iso(text: str) -> int:
    try:
        found = isodate.parse_duration(text.upper())
    except (isodate.ISO8601Error, ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not an ISO 8601 duration; write it like PT4H or P2D") from error
    if not isinstance(found, timedelta):
        raise ValueError(f"{text!r} has years or months, which have no fixed length; write days or weeks")  # noqa: TRY004
    return round(found.total_seconds() * 1000)
