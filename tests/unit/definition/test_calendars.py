"""Working time: hours, days, zones, holidays, and clocks that change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.canonical import canonical
from signoff.definition.authoring import Workflow
from signoff.definition.calendars import Calendar, CalendarFault, add_working_time, read_calendar
from signoff.definition.document import compile_document, parse_yaml
from signoff.definition.gates import Gate
from signoff.definition.graph import Graph
from signoff.durations import parse_duration

HOUR = 3_600_000
BERLIN = {"hours": "09:00-17:00", "days": "mon-fri", "zone": "Europe/Berlin"}


def calendar(**given: Any) -> Calendar:
    found, problems = read_calendar(BERLIN | given)
    assert found is not None, problems
    return found


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        ("2026-11-24T10:00+01:00", 2, "2026-11-24T12:00+01:00"),
        ("2026-11-24T16:00+01:00", 2, "2026-11-25T10:00+01:00"),
        ("2026-11-24T05:00+01:00", 1, "2026-11-24T10:00+01:00"),
        ("2026-11-27T16:30+01:00", 1, "2026-11-30T09:30+01:00"),
        ("2026-11-28T12:00+01:00", 8, "2026-11-30T17:00+01:00"),
        ("2026-11-24T17:00+01:00", 8, "2026-11-25T17:00+01:00"),
        # The same moment, whoever's clock names it.
        ("2026-11-24T15:00+00:00", 2, "2026-11-25T10:00+01:00"),
    ],
)
def test_only_working_hours_count(start: str, hours: int, end: str) -> None:
    assert add_working_time(calendar(), moment(start), hours * HOUR) == moment(end)


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        # The night in March has an hour less and the one in October an hour more; the eight hours of a day do not.
        ("2026-03-27T16:00+01:00", 2, "2026-03-30T10:00+02:00"),
        ("2026-10-23T16:00+02:00", 2, "2026-10-26T10:00+01:00"),
    ],
)
def test_office_hours_follow_the_clock_on_the_wall(start: str, hours: int, end: str) -> None:
    assert add_working_time(calendar(), moment(start), hours * HOUR) == moment(end)


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        ("2026-03-29T00:00+01:00", 6, "2026-03-29T07:00+02:00"),
        ("2026-10-25T00:00+02:00", 6, "2026-10-25T05:00+01:00"),
    ],
)
def test_a_night_shift_lasts_as_long_as_it_really_does(start: str, hours: int, end: str) -> None:
    around_the_clock = calendar(hours="00:00-24:00", days="mon-sun")
    assert add_working_time(around_the_clock, moment(start), hours * HOUR) == moment(end)


def test_hours_that_a_change_of_clocks_leaves_out_count_for_nothing() -> None:
    small_hours = calendar(hours="02:00-03:00", days="mon-sun")
    found = add_working_time(small_hours, moment("2026-03-28T12:00+01:00"), HOUR)
    assert found == moment("2026-03-30T03:00+02:00"), "on the 29th there is no such hour"


def test_holidays_are_those_of_the_place_and_closed_days_one_s_own() -> None:
    start = moment("2026-12-23T16:00+01:00")
    assert add_working_time(calendar(), start, 2 * HOUR) == moment("2026-12-24T10:00+01:00")
    assert add_working_time(calendar(closed=["2026-12-24"]), start, 2 * HOUR) == moment("2026-12-25T10:00+01:00")
    berlin = calendar(holidays="DE-BE", closed=["2026-12-24"])
    assert add_working_time(berlin, start, 2 * HOUR) == moment("2026-12-28T10:00+01:00")
    womens_day = moment("2027-03-08T10:00+01:00")
    assert add_working_time(berlin, womens_day, HOUR) == moment("2027-03-09T10:00+01:00")
    assert add_working_time(calendar(holidays="DE-BY"), womens_day, HOUR) == moment("2027-03-08T11:00+01:00")


def test_a_lunch_break_is_no_working_time_and_a_week_may_begin_on_sunday() -> None:
    with_lunch = calendar(hours="09:00-12:00, 13:00-17:00", days="sun-thu")
    assert add_working_time(with_lunch, moment("2026-11-26T11:00+01:00"), 5 * HOUR) == moment("2026-11-26T17:00+01:00")
    assert add_working_time(with_lunch, moment("2026-11-26T16:00+01:00"), 2 * HOUR) == moment("2026-11-29T10:00+01:00")


def test_a_day_is_a_working_day_and_a_week_as_many_as_it_has() -> None:
    days = calendar()
    lengths = {"day_ms": days.day_ms, "week_ms": days.week_ms}
    assert parse_duration("1d", **lengths) == 8 * HOUR
    assert parse_duration("1w2h", **lengths) == 42 * HOUR
    assert parse_duration("24h", **lengths) == 24 * HOUR, "hours are hours"


def test_a_calendar_that_never_opens_is_a_fault_and_no_endless_search() -> None:
    broken = Calendar(hours=((540, 1020),), days=(), zone="UTC")
    with pytest.raises(CalendarFault):
        add_working_time(broken, moment("2026-11-24T10:00+00:00"), HOUR)


@given(
    st.integers(0, 3 * 366 * 24 * 60).map(
        lambda minutes: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    ),
    # No time at all from the end of a day on is the beginning of the next one.
    st.integers(1, 40 * HOUR),
    st.integers(1, 40 * HOUR),
)
def test_two_spans_one_after_the_other_are_their_sum_and_time_never_runs_back(
    start: datetime, first: int, second: int
) -> None:
    days, begin = calendar(holidays="DE-BE"), start
    middle = add_working_time(days, begin, first)
    assert middle - begin >= timedelta(milliseconds=first)
    assert add_working_time(days, middle, second) == add_working_time(days, begin, first + second)


YAML = """
workflow: w
steps:
  - gate: ok
    reviewers: leads
    due: 2d
    remind: [4h]
    escalate: [{after: 1d, to: managers}]
    calendar:
      hours: "09:00-17:00"
      days: mon-fri
      zone: Europe/Berlin
      holidays: DE-BE
      closed: ["2026-12-24"]
"""


def test_python_and_yaml_give_the_same_graph_and_it_reads_back() -> None:
    written = Gate(
        "ok",
        reviewers="leads",
        due="2d",
        remind=["4h"],
        escalate=[("1d", "managers")],
        calendar=BERLIN | {"holidays": "DE-BE", "closed": ["2026-12-24"]},
    )
    graph = Workflow("w", [written]).graph
    assert canonical(graph.to_json()) == canonical(compile_document(parse_yaml(YAML)).graph.to_json())
    assert Graph.from_json(graph.to_json()) == graph
    gate = graph.gate("ok")
    assert (gate.due, [rung.after_ms for rung in gate.ladder]) == (16 * HOUR, [4 * HOUR, 8 * HOUR])


def test_a_gate_without_one_is_stored_as_it_was_before_there_were_any() -> None:
    assert "calendar" not in Workflow("w", [Gate("ok", reviewers="leads")]).graph.to_json()["nodes"]["ok"]
