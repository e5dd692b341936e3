"""Limits of authority on a real database: what is approved is within them, and the log says by whose word."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from tests.integration.engine.world import ADMIN, REQUESTER, World, principal
from tests.unit.transitions.graphs import STANDARD, gate, graph, pay, step

from signoff.authority import OverLimit
from signoff.engine import BulkItem
from signoff.errors import Conflict, Forbidden, InvalidInput, NotFound, StaleView
from signoff.identity import Authentication, Principal
from signoff.model import EventType, RunStatus
from signoff.store.identity import create_principal, find_principal

LIMITED = graph(
    step("draft", "ok", takes=("feedback",)),
    gate(
        "ok",
        "pay",
        reviewers=("clerks",),
        authority=True,
        above=("chiefs",),
        editable=("amount",),
        options=STANDARD,
        changes_to="draft",
    ),
    pay(),
    name="limited",
)
PAIR = graph(
    gate("ok", "pay", reviewers=("clerks",), authority=True, approvals=2, editable=("amount",)), pay(), name="pair"
)
OPEN = graph(gate("ok", "pay", reviewers=("clerks",)), pay(), name="open")
FIRST = graph(gate("ok", "pay", reviewers=("clerks",), authority=True, above=("chiefs",)), pay(), name="first")


PEOPLE = (("carl", "clerks"), ("cora", "clerks"), ("chief", "chiefs"), ("root", "admins"))


@pytest.fixture(autouse=True)
def _no_limits_yet(world: World) -> None:
    world.sql("DELETE FROM authority_limits")
    if not world.sql("SELECT 1 FROM principals WHERE name = 'root'"):
        create_principal(world.engine.database, name="portal", kind="service")
        for name, group in PEOPLE:
            roles = ("admin",) if group == "admins" else ("reviewer",)
            create_principal(world.engine.database, name=name, kind="user", groups=(group,), roles=roles)


def person(world: World, name: str) -> Principal:
    with world.engine.database.autocommit() as cursor:
        found = find_principal(cursor, name)
    assert found is not None
    return found


def limit(world: World, subject: str, text: str, **where: str) -> UUID:
    return world.engine.set_limit(subject=subject, limit=text, by=person(world, "root"), **where).id


def drafted(world: World, payload: Any, flow: Any = LIMITED) -> UUID:
    run_id = world.start(flow, {})
    world.work(run_id, payload)
    return run_id


def last(world: World, run_id: UUID, kind: EventType) -> Any:
    return [event.data for event in world.log(run_id) if event.type is kind][-1]


def test_who_has_a_limit_that_admits_it_approves_and_the_log_keeps_by_whose_word(world: World) -> None:
    made = limit(world, "user:carl", "amount <= 500.0")
    run_id = drafted(world, {"amount": 500})
    world.decide(run_id, person(world, "carl"), "approve")
    kept = last(world, run_id, EventType.DECISION_RECORDED)["authority"]
    assert (kept["id"], kept["limit"], kept["subject"]) == (str(made), "amount <= 500.0", "user:carl")
    assert kept["set_by"]["name"] == "root"
    # Whatever becomes of the limit, the log still says what it was.
    world.engine.remove_limit(made, by=person(world, "root"))
    assert last(world, run_id, EventType.DECISION_RECORDED)["authority"] == kept
    world.check(run_id)


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("amount <= 500.0", {"amount": 501}),
        ("amount <= 500.0", {}),
        ("amount <= 500.0", {"amount": "many"}),
        ("amount <= 500.0", {"amount": None}),
        ("amount / share <= 500.0", {"amount": 0.0, "share": 0.0}),
        ("!(amount / share > 500.0)", {"amount": 0.0, "share": 0.0}),
        ("name", {"amount": 1, "name": "yes"}),
    ],
    ids=["over", "missing", "text", "null", "no number", "no number, denied", "no truth value"],
)
def test_what_is_over_or_can_not_be_told_is_refused_and_changes_nothing(world: World, text: str, payload: Any) -> None:
    limit(world, "user:carl", text)
    limit(world, "group:chiefs", "true")
    run_id = drafted(world, payload)
    log = world.kinds(run_id)
    with pytest.raises(OverLimit) as refused:
        world.decide(run_id, person(world, "carl"), "approve")
    assert refused.value.code == "over_limit"
    assert "chiefs" in str(refused.value.fix)
    assert world.kinds(run_id) == log
    assert world.state(run_id).status is RunStatus.WAITING


def test_without_any_limit_nobody_approves(world: World) -> None:
    run_id = drafted(world, {"amount": 1})
    with pytest.raises(OverLimit, match="no limit of authority") as refused:
        world.decide(run_id, person(world, "carl"), "approve")
    assert "signoff authority set" in str(refused.value.fix)


def test_the_payload_as_edited_is_what_has_to_be_within(world: World) -> None:
    limit(world, "user:carl", "amount <= 500.0")
    limit(world, "user:cora", "amount <= 500.0")
    over = drafted(world, {"amount": 100})
    with pytest.raises(OverLimit):
        world.decide(over, person(world, "carl"), "approve", patch={"amount": 600})
    within = drafted(world, {"amount": 600})
    world.decide(within, person(world, "carl"), "approve", patch={"amount": 500})
    assert world.state(within).value == {"amount": 500}


@pytest.mark.parametrize("said", ["reject", "request_changes"])
def test_nobody_needs_authority_to_refuse(world: World, said: str) -> None:
    run_id = drafted(world, {"amount": 10_000})
    world.decide(run_id, person(world, "carl"), said, note="no")
    assert "authority" not in last(world, run_id, EventType.DECISION_RECORDED)


def test_a_limit_of_a_group_applies_to_who_is_in_it_now(world: World) -> None:
    limit(world, "group:clerks", "amount <= 500.0")
    run_id = drafted(world, {"amount": 500})
    world.decide(run_id, person(world, "cora"), "approve")
    assert last(world, run_id, EventType.DECISION_RECORDED)["authority"]["subject"] == "group:clerks"


def test_in_a_quorum_each_approval_is_within_limits_of_its_own(world: World) -> None:
    limit(world, "user:carl", "amount <= 500.0")
    limit(world, "user:cora", "amount <= 100.0")
    run_id = world.start(PAIR, {"amount": 300})
    world.decide(run_id, person(world, "carl"), "approve")
    with pytest.raises(OverLimit):
        world.decide(run_id, person(world, "cora"), "approve")
    assert world.state(run_id).status is RunStatus.WAITING
    limit(world, "user:cora", "amount <= 300.0")
    world.decide(run_id, person(world, "cora"), "approve")
    assert world.state(run_id).node == "pay"


def test_a_limit_for_another_gate_or_workflow_admits_nothing_here(world: World) -> None:
    drafted(world, {"amount": 1})
    world.start(PAIR, {"amount": 1})
    limit(world, "user:carl", "true", workflow="pair")
    run_id = drafted(world, {"amount": 1})
    with pytest.raises(OverLimit):
        world.decide(run_id, person(world, "carl"), "approve")
    limit(world, "user:carl", "true", workflow="limited", gate="ok")
    world.decide(run_id, person(world, "carl"), "approve")


def test_a_gate_without_authority_asks_for_no_limit(world: World) -> None:
    run_id = world.start(OPEN, {"amount": 10_000})
    world.decide(run_id, person(world, "carl"), "approve")
    assert world.state(run_id).node == "pay"


def test_other_refusals_come_first(world: World) -> None:
    limit(world, "user:carl", "amount <= 500.0")
    run_id = drafted(world, {"amount": 600})
    task = world.task(run_id)
    with pytest.raises(StaleView):
        world.decide(run_id, person(world, "carl"), "approve", payload_sha256="0" * 64)
    world.decide(run_id, person(world, "cora"), "reject", note="no")
    with pytest.raises(Conflict):
        world.decide(run_id, person(world, "carl"), "approve", task=task)


def test_in_bulk_the_same_holds(world: World) -> None:
    flow = graph(gate("ok", "pay", reviewers=("clerks",), authority=True, bulk=True), pay(), name="bulk")
    limit(world, "user:carl", "amount <= 500.0")
    runs = [world.start(flow, {"amount": amount}) for amount in (100, 900)]
    tasks = [world.task(run_id) for run_id in runs]
    items = [BulkItem(human_task_id=task.id, payload_sha256=task.payload_sha256) for task in tasks]
    found = world.engine.decide_in_bulk(decision="approve", note=None, items=items, by=person(world, "carl"))
    assert [None if one.error is None else one.error.code for one in found.results] == [None, "over_limit"]


# Asking those above ------------------------------------------------------------------------------------------------


def test_what_nobody_asked_may_approve_is_put_before_those_above_at_once(world: World) -> None:
    limit(world, "group:clerks", "amount <= 500.0")
    limit(world, "user:chief", "amount <= 5000.0")
    run_id = drafted(world, {"amount": 900})
    assert world.kinds(run_id)[-2:] == ["gate.opened", "gate.escalated"]
    told = last(world, run_id, EventType.GATE_ESCALATED)
    assert (told["reason"], told["to"], told["alarm"]) == ("over_limit", {"users": [], "groups": ["chiefs"]}, None)
    assert world.task(run_id).candidates.groups == ("clerks", "chiefs")
    assert world.task(run_id).rung == 0
    world.decide(run_id, person(world, "chief"), "approve")
    assert world.state(run_id).node == "pay"


def test_what_somebody_asked_may_approve_stays_with_them(world: World) -> None:
    limit(world, "user:cora", "amount <= 500.0")
    run_id = drafted(world, {"amount": 400})
    assert world.kinds(run_id)[-1] == "gate.opened"
    assert world.task(run_id).candidates.groups == ("clerks",)


def test_those_above_are_not_asked_twice(world: World) -> None:
    flow = graph(
        gate("ok", "pay", reviewers=("clerks", "chiefs"), authority=True, above=("chiefs",)), pay(), name="both"
    )
    assert world.kinds(world.start(flow, {"amount": 1}))[-1] == "gate.opened"


def test_a_gate_that_a_run_starts_at_asks_those_above_too(world: World) -> None:
    run_id = world.start(FIRST, {"amount": 1})
    told = last(world, run_id, EventType.GATE_ESCALATED)
    assert told["alarm"] == "nobody above may approve it either"


def test_a_new_draft_is_looked_at_again(world: World) -> None:
    limit(world, "group:clerks", "amount <= 500.0")
    run_id = drafted(world, {"amount": 400})
    world.decide(run_id, person(world, "carl"), "request_changes", note="more")
    world.work(run_id, {"amount": 900})
    assert world.kinds(run_id)[-2:] == ["gate.revised", "gate.escalated"]


def test_who_asked_for_it_counts_for_nobody_under_four_eyes(world: World) -> None:
    limit(world, "user:carl", "true")
    asker = person(world, "carl")
    run_id = world.start(
        FIRST,
        {"amount": 1},
        by=Principal(id=asker.id, name=asker.name, kind="user", groups=asker.groups, roles=frozenset({"requester"})),
    )
    assert last(world, run_id, EventType.GATE_ESCALATED)["reason"] == "over_limit"


# Setting limits ----------------------------------------------------------------------------------------------------


def test_nobody_sets_a_limit_that_would_be_their_own(world: World) -> None:
    for subject in ("user:root", "group:admins"):
        with pytest.raises(Forbidden) as refused:
            limit(world, subject, "true")
        assert refused.value.code == "own_limit"


def test_only_an_administrator_sets_lists_or_removes_limits(world: World) -> None:
    made = limit(world, "user:carl", "true")
    for attempt in (
        lambda: world.engine.set_limit(subject="user:cora", limit="true", by=person(world, "chief")),
        lambda: world.engine.remove_limit(made, by=person(world, "chief")),
        lambda: world.engine.list_limits(by=person(world, "chief")),
    ):
        with pytest.raises(Forbidden):
            attempt()
    assert [each.id for each in world.engine.list_limits(by=person(world, "root"))] == [made]


def test_what_is_superseded_or_removed_stays_with_who_ended_it(world: World) -> None:
    first = limit(world, "user:carl", "amount <= 500.0")
    assert limit(world, "user:carl", "amount <= 500.0") == first, "the same once more is the same"
    second = limit(world, "user:carl", "amount <= 700.0")
    root = person(world, "root")
    world.engine.remove_limit(second, by=root)
    ended = world.engine.remove_limit(second, by=ADMIN).ended_by
    assert ended is not None
    assert ended["name"] == "root", "once more changes nothing"
    assert world.engine.list_limits(by=root) == []
    kept = world.engine.list_limits(ended=True, by=root)
    assert [(each.id, each.expression) for each in kept] == [(second, "amount <= 700.0"), (first, "amount <= 500.0")]
    assert all(each.ended_at is not None and each.ended_by["name"] == "root" for each in kept)
    with pytest.raises(NotFound):
        world.engine.remove_limit(root.id, by=root)


@pytest.mark.parametrize(
    ("where", "subject", "text", "path"),
    [
        ({}, "carl", "true", "/subject"),
        ({}, "user:nobody", "true", "/subject"),
        ({}, "user:portal", "true", "/subject"),
        ({}, "group:Not A Name", "true", "/subject"),
        ({}, "user:carl", "amount <=", "/limit"),
        ({}, "user:carl", "amount + 1.0", "/limit"),
        ({}, "user:carl", "true || " * 200 + "true", "/limit"),
        ({"workflow": "unheard"}, "user:carl", "true", "/workflow"),
        ({"workflow": "limited", "gate": "pay"}, "user:carl", "true", "/gate"),
        ({"workflow": "open"}, "user:carl", "true", "/workflow"),
    ],
)
def test_a_limit_that_could_mean_nothing_is_not_set(
    world: World, where: dict[str, str], subject: str, text: str, path: str
) -> None:
    for flow in (LIMITED, OPEN):
        world.engine.register(flow, by=REQUESTER.actor)
    with pytest.raises(InvalidInput) as refused:
        limit(world, subject, text, **where)
    assert [error.path for error in refused.value.errors] == [path]


# How somebody was recognised ----------------------------------------------------------------------------------------


def test_a_decision_keeps_how_who_made_it_was_recognised(world: World) -> None:
    run_id = world.start(OPEN, {"amount": 1})
    carl = person(world, "carl")
    known = Authentication(method="link", id="0190")
    known_by = Principal(
        id=carl.id, name=carl.name, kind="user", groups=carl.groups, roles=carl.roles, authentication=known
    )
    world.decide(run_id, known_by, "approve", authenticated={"method": "session", "id": "said so itself"})
    expected = {"method": "link", "id": "0190", "started_with": None}
    assert last(world, run_id, EventType.DECISION_RECORDED)["authenticated"] == expected
    (task,) = world.state(run_id).human_tasks.values()
    assert task.decisions[0].authenticated == expected


def test_an_older_version_is_started_by_those_who_answer_for_the_workflow(world: World) -> None:
    first, second = (graph(gate("ok", "pay", title=title), pay(), name="old") for title in ("one", "two"))
    for flow in (first, second):
        world.engine.register(flow, by=REQUESTER.actor)
    with pytest.raises(Forbidden) as refused:
        world.engine.start(workflow="old", input={}, version=1, requester=REQUESTER)
    assert refused.value.code == "old_version"
    assert refused.value.fix is not None
    world.engine.start(workflow="old", input={}, version=2, requester=REQUESTER)
    with pytest.raises(NotFound):
        world.engine.start(workflow="old", input={}, version=3, requester=REQUESTER)
    for roles in (("admin",), ("operator",), ("author", "requester")):
        started = world.engine.start(
            workflow="old", input={}, version=1, requester=principal(f"some-{roles[0]}", roles=roles)
        )
        assert world.state(started.run_id).version == 1
