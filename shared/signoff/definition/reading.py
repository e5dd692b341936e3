"""Reading options as authors write them: each reader notes a fault and goes on with a harmless value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from signoff.definition.calendars import Calendar, read_calendar
from signoff.definition.cel_faults import ExpressionFault
from signoff.definition.cel_scope import Scope
from signoff.definition.conditions import Expression, compile_expression
from signoff.definition.faults import FaultLog
from signoff.definition.templates import Template, compile_template
from signoff.durations import parse_duration

NODE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
WORKFLOW_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
QUEUE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
RESERVED_QUEUES = ("resume", "control", "notify")

MAX_NODES = 200
MAX_OPTIONS = 10
MAX_TITLE = 300
MAX_CONSEQUENCE = 1_000
MAX_DESCRIPTION = 4_000
MAX_REVIEWERS = 50
MAX_LADDER = 20
MAX_EDITABLE = 200
MAX_APPROVALS = 20
MAX_ATTEMPTS = 100
MAX_STEP_TIME_MS = 24 * 3_600_000


class Reader:
    """Reads the keys of one node. `where` names it in faults: `gate 'approve-refund'`."""

    def __init__(self, values: Mapping[str, Any], where: str, faults: FaultLog) -> None:
        self.values = values
        self.where = where
        self.faults = faults

    def fault(self, code: str, what: str, fix: str = "") -> None:
        self.faults.add(code, self.where, what, fix)

    def text(self, key: str, limit: int) -> str | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self.fault("E103", f"{key} is {_kind(value)}", f"write {key} as text in quotes")
            return None
        if not value.strip():
            self.fault("E116", f"{key} is empty", f"leave {key} out, or write 1 to {limit} characters")
            return None
        if len(value) > limit:
            self.fault("E116", f"{key} has {len(value)} characters", f"write 1 to {limit} characters")
            return None
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fault("E103", f"{key} is {_kind(value)}", f"write {key}: true or false")
            return default
        return value

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.fault("E103", f"{key} is {_kind(value)}", f"write a whole number from {low} to {high}")
            return default
        if not low <= value <= high:
            self.fault("E116", f"{key} is {value}", f"write a whole number from {low} to {high}")
            return default
        return value

    def number(self, key: str, default: float, low: float, high: float) -> float:
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fault("E103", f"{key} is {_kind(value)}", f"write a number from {low:g} to {high:g}")
            return default
        if not math.isfinite(value) or not low <= value <= high:
            self.fault("E116", f"{key} is {value}", f"write a number from {low:g} to {high:g}")
            return default
        return float(value)

    def duration(
        self, key: str, *, least: int = 1, most: int | None = None, calendar: Calendar | None = None
    ) -> int | None:
        """The key as milliseconds, None when it is absent or wrong; of working time, with a `calendar`."""
        value = self.values.get(key)
        return None if value is None else self.milliseconds(key, value, least=least, most=most, calendar=calendar)

    def milliseconds(
        self, key: str, value: Any, *, least: int = 1, most: int | None = None, calendar: Calendar | None = None
    ) -> int | None:
        if not isinstance(value, str):
            self.fault("E115", f"{key} is {_kind(value)}", 'write a duration in quotes, like "90s" or "4h"')
            return None
        try:
            days = {} if calendar is None else {"day_ms": calendar.day_ms, "week_ms": calendar.week_ms}
            ms = parse_duration(value, **days)
        except ValueError as error:
            self.fault("E115", f"{key}: {error}")
            return None
        if ms < least or (most is not None and ms > most):
            self.fault("E115", f"{key} is {value!r}, which is out of range", "write a longer or shorter one")
            return None
        return ms

    def calendar(self, key: str, *, counts: tuple[str, ...]) -> Calendar | None:
        """A business calendar; `counts` are the keys that are counted in it, and without any it means nothing."""
        given = self.values.get(key)
        if given is None:
            return None
        calendar, problems = read_calendar(given)
        for what, fix in problems:
            self.fault("E130", what, fix)
        if not any(self.values.get(other) for other in counts):
            self.fault("E130", f"has a {key} and nothing that is counted in it", 'write due: "8h"')
        return calendar

    def strings(self, key: str, limit: int) -> tuple[str, ...] | None:
        """The key as a list of texts, a single text being a list of one; empty when absent, None when wrong."""
        value = self.values.get(key)
        if value is None:
            return ()
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, (list, tuple)):
            self.fault("E103", f"{key} is {_kind(value)}", "write a list of texts")
            return None
        odd = next((item for item in listed if not isinstance(item, str)), None)
        if len(listed) > limit:
            self.fault("E116", f"{key} has {len(listed)} entries", f"write at most {limit}")
            return None
        if odd is not None:
            self.fault("E103", f"{key} lists {_kind(odd)}", "write every entry as text, in quotes")
            return None
        return tuple(listed)

    def expression(self, key: str, source: str, scope: Scope) -> Expression | None:
        """A condition, compiled; its faults are noted."""
        try:
            return compile_expression(source, scope, condition=True)
        except ExpressionFault as found:
            self._note(key, found)
            return None

    def template(self, key: str, source: str, scope: Scope) -> Template | None:
        """A template, compiled; its faults are noted."""
        try:
            return compile_template(source, scope)
        except ExpressionFault as found:
            self._note(key, found)
            return None

    def _note(self, key: str, found: ExpressionFault) -> None:
        for each in found.each():
            self.fault(each.code, f"{key} {each.what}", each.fix)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    words = {str: "text", dict: "a mapping", list: "a list", tuple: "a list", type(None): "empty"}
    return words.get(type(value), f"a {type(value).__name__}")
