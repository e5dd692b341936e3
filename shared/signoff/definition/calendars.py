"""Business calendars: which hours of which days count, and the moment at which some of them have passed.

A gate's `due`, `remind`, `escalate` and `reroute` are counted in the hours of its calendar. All of it is evaluated when
the human task opens, and the moments are stored in the event: what a later release knows of time zones or holidays
changes no log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
MAX_DAYS_AHEAD = 60 * 366
"""How far ahead is counted. Ten years of working hours are some forty of the calendar's."""


class CalendarFault(ValueError):
    """A calendar that can't be evaluated: an unknown zone, or holidays that nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """When work is done: `hours` are minutes of the day, `days` count from Monday, `closed` are further days off.

    `holidays` is a country, or a country and a part of it (`DE-BE`), as the `holidays` package names them.
    """

    hours: tuple[tuple[int, int], ...]
    days: tuple[int, ...]
    zone: str
    holidays: str | None = None
    closed: tuple[str, ...] = ()

    @property
    def day_ms(self) -> int:
        """How long a working day is: what `1d` stands for."""
        return sum(end - begin for begin, end in self.hours) * 60_000

    @property
    def week_ms(self) -> int:
        """How long a working week is: what `1w` stands for."""
        return self.day_ms * len(self.days)

    def to_json(self) -> dict[str, Any]:
        return {
            "hours": [f"{clock(begin)}-{clock(end)}" for begin, end in self.hours],
            "days": [DAYS[day] for day in self.days],
            "zone": self.zone,
            "holidays": self.holidays,
            "closed": list(self.closed),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Calendar:
        return cls(
            hours=tuple(_span(text) for text in stored["hours"]),
            days=tuple(DAYS.index(day) for day in stored["days"]),
            zone=stored["zone"],
            holidays=stored["holidays"],
            closed=tuple(stored["closed"]),
        )


def clock(minutes: int) -> str:
    """`09:30`; the end of a day is `24:00`."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


def minutes_of(text: str) -> int:
    """The minute of the day that `09:30` names. Raises ValueError."""
    hours, colon, minutes = text.strip().partition(":")
    if not (colon and hours.isdecimal() and minutes.isdecimal() and len(hours) <= 2 and len(minutes) == 2):
        raise ValueError(f"{text[:20]!r} is no time of the day")
    found = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or found > DAY_MINUTES:
        raise ValueError(f"{text[:20]!r} is no time of the day")
    return found


def add_working_time(calendar: Calendar, start: datetime, ms: int) -> datetime:
    """The moment at which `ms` milliseconds of working time have passed since `start` (aware), in UTC.

    What begins outside working hours begins to count with the next ones. An hour that a change of clocks takes out or
    doubles is counted as long as it really was. Raises CalendarFault where it can't be said.
    """
    left = timedelta(milliseconds=ms)
    for begin, end in _spans(calendar, start):
        if left <= end - begin:
            return begin + left
        left -= end - begin
    raise CalendarFault(f"the calendar has no {ms} ms of working time in the years to come")


@lru_cache(maxsize=512)
def holidays_of(code: str, year: int) -> frozenset[date]:
    """The public holidays of `DE` or `DE-BE` in a year. Raises CalendarFault for a place that is not known."""
    # Some hundred countries: only who needs one pays for the import.
    import holidays

    country, _, part = code.partition("-")
    try:
        return frozenset(holidays.country_holidays(country, subdiv=part or None, years=year))
    except NotImplementedError as error:
        raise CalendarFault(f"no holidays are known of {code!r}") from error


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name. Raises CalendarFault."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise CalendarFault(f"there is no time zone {name[:60]!r}") from error


def _spans(calendar: Calendar, start: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The working hours from `start` on, each as two moments in UTC."""
    zone = zone_of(calendar.zone)
    now = start.astimezone(UTC)
    today = start.astimezone(zone).date()
    for ahead in range(MAX_DAYS_AHEAD):
        day = today + timedelta(days=ahead)
        if day.weekday() not in calendar.days or day.isoformat() in calendar.closed:
            continue
        if calendar.holidays is not None and day in holidays_of(calendar.holidays, day.year):
            continue
        for begin, end in calendar.hours:
            opens, closes = _moment(day, begin, zone), _moment(day, end, zone)
            if closes > max(opens, now):
                yield max(opens, now), closes


def _moment(day: date, minute: int, zone: ZoneInfo) -> datetime:
    day, minute = (day + timedelta(days=1), 0) if minute == DAY_MINUTES else (day, minute)
    return datetime.combine(day, time(minute // 60, minute % 60), tzinfo=zone).astimezone(UTC)


def _span(text: str) -> tuple[int, int]:
    begin, dash, end = text.partition("-")
    if not dash:
        raise ValueError(f"{text[:40]!r} is no span of hours")
    return minutes_of(begin), minutes_of(end)


# As authors write it ---------------------------------------------------------------------------------------------

MAX_CLOSED = 366
MAX_SPANS = 12
_EXAMPLE = 'write calendar={"hours": "09:00-17:00", "days": "mon-fri", "zone": "Europe/Berlin", "holidays": "DE-BE"}'
_KEYS = ("hours", "days", "zone", "holidays", "closed")


def read_calendar(given: Any) -> tuple[Calendar | None, list[tuple[str, str]]]:
    """The calendar as written, and what is wrong with it with what would be right; None where it can't be read."""
    if not isinstance(given, Mapping):
        return None, [("calendar is no mapping", _EXAMPLE)]
    problems = [
        (f"calendar has the unknown key {str(key)[:40]!r}", f"keys: {', '.join(_KEYS)}")
        for key in given
        if key not in _KEYS
    ]
    hours = _hours(given.get("hours", "00:00-24:00"), problems)
    days = _days(given.get("days", "mon-fri"), problems)
    zone = _zone(given.get("zone"), problems)
    holidays = _holidays(given.get("holidays"), problems)
    closed = _closed(given.get("closed"), problems)
    if problems:
        return None, problems
    return Calendar(hours=hours, days=days, zone=zone, holidays=holidays, closed=closed), []


def _parts(given: Any) -> list[str] | None:
    listed = given.split(",") if isinstance(given, str) else given
    if not isinstance(listed, (list, tuple)) or not all(isinstance(each, str) for each in listed):
        return None
    return [each.strip().lower() for each in listed]


def _hours(given: Any, problems: list[tuple[str, str]]) -> tuple[tuple[int, int], ...]:
    fix = 'write hours: "09:00-17:00", or several from early to late: "09:00-12:00, 13:00-17:00"'
    parts = _parts(given)
    try:
        spans = [_span(part) for part in parts or ()]
    except ValueError as error:
        problems.append((f"calendar: {error}", fix))
        return ()
    apart = all(one[1] <= other[0] for one, other in pairwise(spans))
    if not 0 < len(spans) <= MAX_SPANS or any(begin >= end for begin, end in spans) or not apart:
        problems.append((f"calendar has the hours {str(given)[:60]!r}, which name no time or some twice", fix))
    return tuple(spans)


def _days(given: Any, problems: list[tuple[str, str]]) -> tuple[int, ...]:
    found: set[int] = set()
    parts = _parts(given)
    for part in parts or ():
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            parts = None
            break
        begin, end = DAYS.index(first), DAYS.index(last or first)
        # A week may be written over its end: sun-thu.
        found |= {day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)}
    if not parts or not found:
        problems.append((f"calendar has the days {str(given)[:60]!r}", 'write days: "mon-fri", or [mon, wed]'))
    return tuple(sorted(found))


def _zone(given: Any, problems: list[tuple[str, str]]) -> str:
    fix = 'name the place: zone: "Europe/Berlin", or "UTC"'
    if not isinstance(given, str):
        problems.append(("calendar has no zone, so its hours are nobody's", fix))
        return ""
    try:
        zone_of(given)
    except CalendarFault as error:
        problems.append((f"calendar: {error}", fix))
    return given


def _holidays(given: Any, problems: list[tuple[str, str]]) -> str | None:
    if given is None:
        return None
    fix = 'write a country, or one and its part: holidays: "DE-BE"; leave it out where none count'
    if not isinstance(given, str):
        problems.append(("calendar: holidays is no text", fix))
        return None
    try:
        holidays_of(given, 2024)
    except CalendarFault as error:
        problems.append((f"calendar: {error}", fix))
        return None
    return given


def _closed(given: Any, problems: list[tuple[str, str]]) -> tuple[str, ...]:
    listed: Sequence[Any] = () if given is None else given
    fix = 'write closed: ["2026-12-24"]'
    if not isinstance(listed, (list, tuple)) or len(listed) > MAX_CLOSED:
        problems.append((f"calendar: closed is no list of at most {MAX_CLOSED} days", fix))
        return ()
    try:
        return tuple(sorted({date.fromisoformat(each).isoformat() for each in listed}))
    except (TypeError, ValueError) as error:
        problems.append((f"calendar: closed: {str(error)[:100]}", fix))
        return ()
