"""When a human task that opens is due and when each rung of its ladder comes: evaluated once, stored in the event."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from signoff.canonical import Json
from signoff.definition.calendars import Calendar, CalendarFault, add_working_time
from signoff.definition.graph import GateNode
from signoff.definition.policy import GateRules


def timing(gate: GateNode, rules: GateRules, payload: Json, at: datetime) -> dict[str, Any]:
    """`due_ms` for an event at `at`; where the gate has a calendar `ladder_ms` too, both in plain milliseconds from it.

    A calendar that can't be evaluated here gives no due time, because a due time may decide something; reminders and
    escalations only ask people, and come by the plain clock. Then `calendar_error` says so.
    """
    due = rules.due_ms(payload)
    calendar = gate.calendar
    if calendar is None:
        return {"due_ms": due}
    plain = [rung.after_ms for rung in gate.ladder]
    try:
        return {
            "due_ms": None if due is None else _plain_ms(calendar, at, due),
            "ladder_ms": [_plain_ms(calendar, at, ms) for ms in plain],
        }
    except CalendarFault as error:
        return {"due_ms": None, "ladder_ms": plain, "calendar_error": str(error)[:200]}


def _plain_ms(calendar: Calendar, at: datetime, ms: int) -> int:
    passed = add_working_time(calendar, at, ms) - at
    # Whole milliseconds, and never early.
    return -(-(passed.days * 86_400_000_000 + passed.seconds * 1_000_000 + passed.microseconds) // 1_000)
