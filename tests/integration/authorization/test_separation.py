"""Who defines a gate and who decides it: that one person did both is found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.inbox.desk import Desk, open_desk
from tests.unit.transitions.graphs import gate, graph, pay
from typer.testing import CliRunner

from signoff.cli.main import app as command_line
from signoff.store import queries_separation
from signoff.store.queries_separation import Separation, separation


@pytest.fixture
def desk(database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(database_url, valkey_url) as made:
        yield made


def _register(desk: Desk, by: str, title: str) -> int:
    made = graph(gate("ok", "pay", approvals=2, title=title, editable=("amount",)), pay(), name="mine")
    return desk.engine.register(made, by=desk.people[by].actor).number


def _found(desk: Desk, **options: Any) -> Separation:
    with desk.engine.database.autocommit() as cursor:
        return separation(cursor, **options)


def _signoff(desk: Desk, *arguments: str) -> str:
    environment = {
        "SIGNOFF_DATABASE_URL": desk.settings.require_database_url(),
        "SIGNOFF_HOME": "nowhere",
        "COLUMNS": "300",
    }
    result = CliRunner().invoke(command_line, ["audit", "separation", *arguments], env=environment)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_decision_at_a_gate_of_ones_own_is_found_and_no_other(desk: Desk) -> None:
    first = _register(desk, "ana", "by ana")
    task = desk.start("mine", {"amount": "1"})
    desk.decide(task, "ana", "approve")
    desk.decide(task, "sam", "approve")
    # The same workflow, and a version that another has registered since.
    _register(desk, "sam", "by sam")
    later = desk.start("mine", {"amount": "2"})
    desk.decide(later, "ana", "approve")
    by_nobody = desk.start("plain", {"amount": "3"})
    desk.decide(by_nobody, "ana", "approve")

    found = _found(desk)
    (own,) = found.items
    assert (own.human_task_id, own.by["name"], own.version, own.gate) == (task, "ana", first, "ok")
    assert (found.decisions, found.complete, found.found, found.unattributed) == (4, True, 1, 1)

    desk.decide(later, "sam", "reject")
    assert [item.human_task_id for item in _found(desk).items] == [later, task], "newest first"


def test_the_same_content_registered_again_stays_with_who_came_first(desk: Desk) -> None:
    assert _register(desk, "ana", "one") == _register(desk, "sam", "one")
    task = desk.start("mine", {"amount": "1"})
    desk.decide(task, "sam", "approve")
    assert _found(desk).items == ()


def test_what_was_taken_back_is_none(desk: Desk) -> None:
    _register(desk, "ana", "one")
    task = desk.start("mine", {"amount": "1"})
    desk.decide(task, "ana", "approve")
    desk.engine.withdraw(task, by=desk.people["ana"])
    assert _found(desk).decisions == 0


def test_it_is_bounded_and_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    _register(desk, "ana", "one")
    tasks = [desk.start("mine", {"amount": str(number)}) for number in range(3)]
    for task in tasks:
        desk.decide(task, "ana", "approve")
    few = _found(desk, looked_at=2)
    assert (few.decisions, few.complete, few.found) == (2, False, 2)
    assert [item.human_task_id for item in few.items] == [tasks[2], tasks[1]]
    shown = _found(desk, shown=1)
    assert (shown.found, len(shown.items), shown.complete) == (3, 1, True)
    monkeypatch.setattr(queries_separation, "MAX_SHOWN", 2)
    assert len(_found(desk, shown=10_000).items) == 2


def test_the_command_line_tells_it(desk: Desk) -> None:
    assert "nobody decided at a gate of their own among 0 decisions" in _signoff(desk)
    _register(desk, "ana", "one")
    task = desk.start("mine", {"amount": "1"})
    desk.decide(task, "ana", "approve")
    desk.decide(desk.start("plain", {"amount": "1"}), "sam", "approve")

    told = _signoff(desk)
    assert "ana said approve at mine v1/ok, which they registered on" in told
    assert "1 at gates of their own among 2 decisions" in told
    assert "1 were made under versions that were registered at the database" in told
    found = json.loads(_signoff(desk, "--json"))
    assert {name: found[name] for name in ("decisions", "complete", "found", "unattributed")} == {
        "decisions": 2,
        "complete": True,
        "found": 1,
        "unattributed": 1,
    }
    assert found["items"][0]["run_id"] == str(desk.run_of(task))
    assert json.loads(_signoff(desk, "--json", "--since", "2999-01-01"))["decisions"] == 0


@pytest.mark.parametrize(
    ("condition", "instead"),
    [("v.created_by ->> 'id' = b.principal_id", "true"), ("v.number = t.version", "true")],
)
def test_each_condition_matters(desk: Desk, monkeypatch: pytest.MonkeyPatch, condition: str, instead: str) -> None:
    assert queries_separation._REPORT.count(condition) == 1
    monkeypatch.setattr(queries_separation, "_REPORT", queries_separation._REPORT.replace(condition, instead))
    with pytest.raises((AssertionError, ValueError)):
        test_a_decision_at_a_gate_of_ones_own_is_found_and_no_other(desk)
