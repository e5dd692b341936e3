"""Due times and ladders in working hours, on the virtual clock of tests; what is stored is all that replay needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from signoff import Gate, Workflow, testing
from signoff.definition import calendars
from signoff.transitions.fold import replay

OFFICE = {"hours": "09:00-17:00", "days": "mon-fri", "zone": "Europe/Berlin", "holidays": "DE-BE"}
FRIDAY = datetime(2030, 1, 4, 14, 0, tzinfo=UTC)
"""Three in the afternoon in Berlin."""


def flow(**options: object) -> Workflow:
    values = {"due": "8h", "remind": ["1h"], "escalate": [("4h", "managers")], "on_timeout": "reject"} | options
    return Workflow("w", [Gate("ok", reviewers="leads", calendar=OFFICE, **values)])  # type: ignore[arg-type]


def test_nothing_comes_due_over_the_weekend() -> None:
    run = testing.run(flow(), {}, now=FRIDAY)
    run.skip("1h")
    assert [event.type for event in run.events][-1] == "gate.reminded"
    run.skip(timedelta(hours=65))
    assert run.task.candidates.groups == ("leads",), "Monday morning at nine, two hours in"
    run.skip("2h")
    assert run.task.candidates.groups == ("leads", "managers")
    run.skip("4h")
    assert run.outcome == "rejected"
    assert run.now == datetime(2030, 1, 7, 14, 0, tzinfo=UTC)


def test_a_template_counts_in_working_days_too() -> None:
    run = testing.run(flow(due='{amount > 10.0 ? "2d" : "4h"}', remind=[], escalate=[]), {"amount": 11.0}, now=FRIDAY)
    assert run.task.due_at == datetime(2030, 1, 8, 14, 0, tzinfo=UTC)


def test_an_edit_does_not_start_the_working_clock_again() -> None:
    run = testing.run(flow(approvals=2, editable=["amount"]), {"amount": 1.0}, now=FRIDAY)
    due = run.task.due_at
    run.skip("1h").decide("approve", patch={"amount": 2.0}, by="ana")
    assert (run.task.revision, run.task.due_at) == (2, due)


def test_replay_asks_no_calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a later release knows of holidays or zones changes no log."""
    run = testing.run(flow(), {}, now=FRIDAY)
    run.skip("1h")
    before = run.state

    def gone(*_: object) -> None:
        raise AssertionError("the log has the moments")

    monkeypatch.setattr(calendars, "holidays_of", gone)
    monkeypatch.setattr(calendars, "zone_of", gone)
    assert replay(run._simulation.graph, run.id, run.events) == before


def test_a_calendar_that_can_not_be_evaluated_decides_nothing_and_still_asks_people(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = flow()

    def unknown(*_: object) -> None:
        raise calendars.CalendarFault("no holidays are known of 'DE-BE'")

    monkeypatch.setattr(calendars, "holidays_of", unknown)
    run = testing.run(made, {}, now=FRIDAY)
    assert run.task.due_at is None
    (opened,) = [event.data for event in run.events if event.type == "gate.opened"]
    assert "DE-BE" in opened["calendar_error"]
    run.skip("4h")
    assert run.task.candidates.groups == ("leads", "managers")
    run.skip("100d")
    assert run.status == "waiting"
