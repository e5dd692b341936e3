"""A gate that nobody could decide now is an alarm, whatever names it asks; one that somebody could is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from tests.integration.inbox.desk import Desk, open_desk
from tests.unit.transitions.graphs import gate, graph, pay
from typer.testing import CliRunner

from signoff.cli.main import app as command_line
from signoff.definition.reading import MAX_APPROVALS
from signoff.model import SYSTEM
from signoff.store import queries_candidates
from signoff.store.identity import create_principal, update_principal
from signoff.store.queries_candidates import stranded_human_tasks

Scene = Callable[[Desk], UUID]
"""Makes the newest open human task and answers it."""


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as made:
        yield made


def _opened(desk: Desk, name: str, *reviewers: str, by: str = "portal", **options: object) -> UUID:
    desk.engine.register(graph(gate("ok", "pay", reviewers=reviewers, **options), pay(), name=name), by=SYSTEM)
    return desk.start(name, {"amount": "7"}, by=by)


def _with(desk: Desk, name: str, kind: str = "user", *groups: str) -> None:
    if name not in desk.people:
        desk.people[name] = create_principal(desk.engine.database, name=name, kind=kind, groups=groups)  # type: ignore[arg-type]


def _by_one_in_a_group(desk: Desk) -> UUID:
    _with(desk, "gil", "user", "one-member")
    return _opened(desk, "s-group", "one-member")


def _by_one_by_name(desk: Desk) -> UUID:
    return _opened(desk, "s-name", "user:ana", "no-member")


def _own_where_that_is_allowed(desk: Desk) -> UUID:
    return _opened(desk, "s-own", "user:ana", by="ana", four_eyes=False)


def _by_another_than_the_requester(desk: Desk) -> UUID:
    return _opened(desk, "s-other", "leads", by="ana")


def _voted_and_taken_back(desk: Desk) -> UUID:
    task = _opened(desk, "s-back", "user:ana", approvals=2)
    desk.decide(task, "ana", "approve")
    desk.engine.withdraw(task, by=desk.people["ana"])
    return task


def _in_grace(desk: Desk) -> UUID:
    task = _opened(desk, "s-grace", "user:ana", grace_ms=600_000)
    desk.decide(task, "ana", "approve")
    return task


def _decided(desk: Desk) -> UUID:
    task = _opened(desk, "s-decided", "user:ana")
    desk.decide(task, "ana", "approve")
    return task


def _within_a_limit_of_a_group(desk: Desk) -> UUID:
    _limited(desk, "group:leads", "s-limit")
    return _opened(desk, "s-limit", "leads", authority=True)


def _without_any_limit(desk: Desk) -> UUID:
    return _opened(desk, "n-limit", "leads", "user:max", authority=True)


def _with_a_limit_for_another_workflow(desk: Desk) -> UUID:
    _limited(desk, "user:max", "n-elsewhere-other")
    return _opened(desk, "n-elsewhere", "user:max", authority=True)


def _with_a_limit_of_the_requester_alone(desk: Desk) -> UUID:
    _limited(desk, "user:ana", "n-own-limit")
    return _opened(desk, "n-own-limit", "leads", by="ana", authority=True)


def _with_a_limit_that_has_ended(desk: Desk) -> UUID:
    _limited(desk, "user:max", "n-ended")
    desk.sql("UPDATE authority_limits SET ended_at = now() WHERE workflow = 'n-ended'")
    return _opened(desk, "n-ended", "user:max", authority=True)


def _limited(desk: Desk, subject: str, workflow: str) -> None:
    desk.engine.register(graph(gate("ok", "pay", authority=True), pay(), name=workflow), by=SYSTEM)
    desk.engine.set_limit(subject=subject, limit="true", workflow=workflow, by=desk.people["admin"])


def _by_nobody_at_all(desk: Desk) -> UUID:
    return _opened(desk, "n-nobody")


def _by_a_group_without_members(desk: Desk) -> UUID:
    return _opened(desk, "n-group", "no-member")


def _by_a_person_who_is_not_there(desk: Desk) -> UUID:
    return _opened(desk, "n-person", "user:godot")


def _by_a_program(desk: Desk) -> UUID:
    _with(desk, "bot", "service", "programs")
    return _opened(desk, "n-program", "programs", "user:portal")


def _by_somebody_disabled(desk: Desk) -> UUID:
    _with(desk, "eva", "user", "former")
    update_principal(desk.engine.database, "eva", disabled=True)
    return _opened(desk, "n-disabled", "former", "user:eva")


def _by_the_requester_alone(desk: Desk) -> UUID:
    return _opened(desk, "n-requester", "user:ana", by="ana")


def _by_the_requester_alone_of_a_group(desk: Desk) -> UUID:
    return _opened(desk, "n-requester-group", "managers", by="max")


def _by_who_has_decided_already(desk: Desk) -> UUID:
    task = _opened(desk, "n-voted", "user:ana", approvals=2)
    desk.decide(task, "ana", "approve")
    return task


SOMEBODY: tuple[Scene, ...] = (
    _by_one_in_a_group,
    _by_one_by_name,
    _own_where_that_is_allowed,
    _by_another_than_the_requester,
    _voted_and_taken_back,
    _in_grace,
    _decided,
    _within_a_limit_of_a_group,
)
NOBODY: tuple[Scene, ...] = (
    _by_nobody_at_all,
    _by_a_group_without_members,
    _by_a_person_who_is_not_there,
    _by_a_program,
    _by_somebody_disabled,
    _by_the_requester_alone,
    _by_the_requester_alone_of_a_group,
    _by_who_has_decided_already,
    _without_any_limit,
    _with_a_limit_for_another_workflow,
    _with_a_limit_of_the_requester_alone,
    _with_a_limit_that_has_ended,
)


@pytest.fixture(autouse=True)
def requesters(desk: Desk) -> None:
    for name in ("ana", "max"):
        desk.people[name] = update_principal(desk.engine.database, name, roles=("requester",))


def _is_stranded(desk: Desk, task: UUID) -> bool:
    with desk.engine.database.autocommit() as cursor:
        found = stranded_human_tasks(cursor)
    assert found.count == len(found.examples) or found.count > 5
    return task in {each.id for each in found.examples}


def _told(desk: Desk) -> int:
    """What a server tells that was not asked a moment ago."""
    desk.app.extensions["signoff"].metrics._stock._until = 0.0
    lines = desk.app.test_client().get("/metrics").text.splitlines()
    (line,) = [each for each in lines if each.startswith("signoff_human_tasks_without_candidates ")]
    return int(float(line.rpartition(" ")[2]))


@pytest.mark.parametrize("scene", SOMEBODY)
def test_what_somebody_could_decide_is_no_alarm(desk: Desk, scene: Scene) -> None:
    assert not _is_stranded(desk, scene(desk))


@pytest.mark.parametrize("scene", NOBODY)
def test_what_nobody_could_decide_is_one(desk: Desk, scene: Scene) -> None:
    before = _told(desk)
    assert _is_stranded(desk, scene(desk))
    assert _told(desk) == before + 1


def test_it_ends_when_somebody_comes_and_begins_when_they_go(desk: Desk) -> None:
    task = _opened(desk, "comes", "newcomers")
    assert _is_stranded(desk, task)
    update_principal(desk.engine.database, "sam", groups=("newcomers",))
    assert not _is_stranded(desk, task)
    update_principal(desk.engine.database, "sam", disabled=True)
    assert _is_stranded(desk, task)
    update_principal(desk.engine.database, "sam", groups=("leads",), disabled=False)


def test_of_a_large_group_enough_are_told_apart() -> None:
    """The requester and all but the last of the voices that a gate can need, and one more who is free."""
    assert queries_candidates._MEMBERS >= 1 + (MAX_APPROVALS - 1) + 1


def test_only_the_newest_are_looked_at(desk: Desk) -> None:
    stranded = _by_a_group_without_members(desk)
    _by_one_by_name(desk)
    with desk.engine.database.autocommit() as cursor:
        assert stranded_human_tasks(cursor, looked_at=1).count == 0
        assert stranded in {each.id for each in stranded_human_tasks(cursor, looked_at=2).examples}


def test_doctor_names_the_newest_and_whom_it_asks(desk: Desk, module_database_url: str, valkey_url: str) -> None:
    task = _opened(desk, "named", "no-member", "user:godot")
    environment = {"SIGNOFF_DATABASE_URL": module_database_url, "SIGNOFF_BROKER_URL": valkey_url}
    result = CliRunner().invoke(command_line, ["doctor", "--json"], env=environment | {"SIGNOFF_HOME": "nowhere"})
    (found,) = [each for each in json.loads(result.stdout)["findings"] if each["name"] == "reviewers"]
    assert found["status"] == "warn"
    assert found["detail"].endswith(
        f"can be decided by nobody now; the newest is {task}, of named/ok, which asks user:godot, no-member"
    )
    assert "signoff principal update" in found["fix"]


MUTANTS = {
    "the disabled count": (" AND disabled_at IS NULL", "", _by_somebody_disabled),
    "programs count": ("kind = 'user' AND ", "", _by_a_program),
    "requesters count": ("f.by_requester_alone AND", "false AND", _by_the_requester_alone),
    "four eyes are everywhere": ("(v.graph #>> ARRAY['nodes', o.gate, 'four_eyes'])::boolean", "true", None),
    "a voice is not used up": ("d.revision = o.revision", "false", _by_who_has_decided_already),
    "what was taken back counts": (" AND NOT d.withdrawn", "", None),
    "grace is no decision": (" AND pending IS NULL", "", None),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_each_condition_matters(desk: Desk, monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    condition, instead, scene = MUTANTS[mutant]
    assert queries_candidates._STRANDED.count(condition) == 1
    monkeypatch.setattr(queries_candidates, "_STRANDED", queries_candidates._STRANDED.replace(condition, instead))
    if scene is not None:
        assert not _is_stranded(desk, scene(desk))
    else:
        assert any(_is_stranded(desk, each(desk)) for each in SOMEBODY)
