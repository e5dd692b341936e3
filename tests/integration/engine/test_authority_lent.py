"""Limits of authority with delegations and absences: what one does in another's stead is within the limits of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.integration.engine.test_authority import PAIR, _no_limits_yet, last, limit, person
from tests.integration.engine.world import World
from tests.mutants import mutate
from tests.unit.transitions.graphs import gate, graph, pay

from signoff.authority import OverLimit
from signoff.engine import authority
from signoff.model import EventType
from signoff.store.delegations import NewDelegation
from signoff.store.mandates import mandates_of
from signoff.store.queries_human_tasks import get_human_task
from signoff.transitions import decisions

__all__ = ["_no_limits_yet"]


def lend(world: World, of: str, to: str, **asked: Any) -> None:
    given = NewDelegation(**({"kind": "delegation", "delegate": to} | asked))
    world.engine.delegate(given, by=person(world, of))


@pytest.fixture(autouse=True)
def _nothing_lent(world: World) -> Iterator[None]:
    yield
    world.sql("UPDATE delegations SET ended_at = clock_timestamp() WHERE ended_at IS NULL")


def test_in_anothers_stead_it_has_to_be_within_the_limits_of_both(world: World) -> None:
    lend(world, "carl", "chief")
    own, theirs = limit(world, "user:chief", "amount <= 900.0"), limit(world, "user:carl", "amount <= 500.0")
    first = world.start(PAIR, {"amount": 600})
    with pytest.raises(OverLimit, match="limit of authority of carl, in whose stead"):
        world.decide(first, person(world, "chief"), "approve", on_behalf_of="carl")
    assert world.kinds(first)[-1] == "gate.opened"
    limit(world, "user:chief", "amount <= 100.0")
    limit(world, "user:carl", "amount <= 900.0")
    with pytest.raises(OverLimit, match="over your limit"):
        world.decide(first, person(world, "chief"), "approve", on_behalf_of="carl")
    own, theirs = limit(world, "user:chief", "amount <= 700.0"), limit(world, "user:carl", "amount <= 800.0")
    world.decide(first, person(world, "chief"), "approve", on_behalf_of="carl")
    said = last(world, first, EventType.DECISION_RECORDED)
    assert (said["authority"]["id"], said["authority_lent"]["id"]) == (str(own), str(theirs))
    assert said["authority_lent"]["of"] == "carl"
    world.check(first)


@pytest.mark.parametrize("holder", ["carl", "chief"])
def test_who_has_no_limit_is_lent_none_and_lends_none(world: World, holder: str) -> None:
    lend(world, "carl", "chief")
    limit(world, f"user:{holder}", "true")
    run_id = world.start(PAIR, {"amount": 1})
    with pytest.raises(OverLimit):
        world.decide(run_id, person(world, "chief"), "approve", on_behalf_of="carl")
    world.decide(run_id, person(world, "chief"), "reject", on_behalf_of="carl", note="nobody needs a limit for it")


def test_who_is_asked_only_as_a_stand_in_approves_no_more_than_who_is_away(world: World) -> None:
    flow = graph(gate("ok", "pay", reviewers=("user:carl",), authority=True, above=("chiefs",)), pay(), name="away")
    lend(world, "carl", "cora", kind="absence", until_at=world.now() + timedelta(days=9))
    limit(world, "user:carl", "amount <= 500.0")
    limit(world, "user:cora", "true")
    limit(world, "user:chief", "true")
    over = world.start(flow, {"amount": 900})
    assert world.task(over).candidates.users == ("carl", "cora")
    assert world.task(over).candidates.groups == ("chiefs",), "what Cora may not in Carl's stead is for those above"
    with pytest.raises(OverLimit, match="limit of authority of carl"):
        world.decide(over, person(world, "cora"), "approve")
    within = world.start(flow, {"amount": 400})
    assert world.task(within).candidates.groups == ()
    world.decide(within, person(world, "cora"), "approve")
    assert last(world, within, EventType.DECISION_RECORDED)["authority_lent"]["of"] == "carl"
    both = graph(gate("ok", "pay", reviewers=("user:carl", "user:cora"), authority=True), pay(), name="both-asked")
    named = world.start(both, {"amount": 900})
    world.decide(named, person(world, "cora"), "approve")
    assert "authority_lent" not in last(world, named, EventType.DECISION_RECORDED), "she is asked herself"


@pytest.mark.parametrize(
    ("guard", "old", "new", "limited"),
    [
        (decisions._allowing, "if lent is not None", "if False", "carl"),
        (decisions._allowing, "gate, payload, held).evidence()", "gate, payload, [*held, *lent['carl']]).evidence()",
         "chief"),
        (authority.lent, "if mandate is not None", "if False", "carl"),
    ],
)  # fmt: skip
def test_the_guards_of_both_limits_are_those_guards(
    world: World, monkeypatch: pytest.MonkeyPatch, guard: Any, old: str, new: str, limited: str
) -> None:
    lend(world, "carl", "chief")
    for name in ("carl", "chief"):
        limit(world, f"user:{name}", "amount <= 1.0" if name == limited else "true")
    run_id = world.start(PAIR, {"amount": 600})
    mutate(monkeypatch, guard, old, new)
    world.decide(run_id, person(world, "chief"), "approve", on_behalf_of="carl")
    assert last(world, run_id, EventType.DECISION_RECORDED)["decision"] == "approve"


def test_the_page_tells_beforehand_what_both_may_approve(world: World) -> None:
    lend(world, "carl", "chief")
    limit(world, "user:chief", "true")
    limit(world, "user:carl", "amount <= 500.0")
    run_id = world.start(PAIR, {"amount": 600})
    with world.engine.database.autocommit() as cursor:
        view = get_human_task(cursor, world.engine.core.versions, world.task(run_id).id)
        viewer = replace(person(world, "chief"), mandates=mandates_of(cursor, "chief"))
        told = authority.view_standing(cursor, view, viewer)
    assert told is not None
    assert (told.within, told.limits) == (False, ("true", "amount <= 500.0"))
