"""What was shown is what is approved, and what was approved is what is executed, whatever somebody does to the rows."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from tests.integration.engine.flows import BESIDE, GATE, PAIR, REFUND
from tests.integration.engine.world import ADMIN, ANA, BEN, World
from tests.mutants import mutate

from signoff.canonical import sha256_hex
from signoff.engine import approved
from signoff.engine.approved import PAYLOAD_CHANGED
from signoff.errors import StaleView
from signoff.model import RunStatus
from signoff.store.together import step_key
from signoff.transitions import decisions

APPROVED = {"amount": 5}
ANOTHER = {"amount": 500}


def change_value(world: World, run_id: UUID, value: Any) -> None:
    world.sql("UPDATE runs SET value = %s::json WHERE id = %s", json.dumps(value), run_id)


def change_payload(world: World, run_id: UUID, value: Any) -> None:
    world.sql("UPDATE human_tasks SET payload = %s::json WHERE run_id = %s", json.dumps(value), run_id)


def take(world: World, run_id: UUID) -> Any:
    return world.engine.claim_run(run_id, epoch=world.row(run_id).epoch, worker="w1")


def decided(world: World, **said: Any) -> UUID:
    run_id = world.start(GATE, APPROVED)
    world.decide(run_id, ANA, "approve", **said)
    return run_id


@pytest.mark.parametrize("change", [change_value, change_payload])
@pytest.mark.parametrize("changed", [ANOTHER, None, {"amount": 2**60}])
def test_what_was_changed_since_it_was_shown_is_not_decided(world: World, change: Any, changed: Any) -> None:
    run_id = world.start(GATE, APPROVED)
    change(world, run_id, changed)
    task = world.task(run_id)
    for said in ({"payload_sha256": task.payload_sha256}, {"revision": task.revision, "payload_sha256": None}):
        with pytest.raises(StaleView) as caught:
            world.decide(run_id, ANA, "approve", **said)
        assert caught.value.current["payload_sha256"] == (None if changed == {"amount": 2**60} else sha256_hex(changed))
    change(world, run_id, APPROVED)
    world.decide(run_id, ANA, "approve")


@pytest.mark.parametrize("said", [{}, {"patch": {"amount": 4}}])
@pytest.mark.parametrize("changed", [ANOTHER, None, {"amount": 5.5}, {"amount": 2**60}])
def test_what_was_changed_since_it_was_approved_is_not_executed(world: World, said: Any, changed: Any) -> None:
    run_id = decided(world, **said)
    value = world.state(run_id).value
    for _ in range(2):
        change_value(world, run_id, changed)
        assert take(world, run_id) is None
        state = world.state(run_id)
        assert state.status is RunStatus.FAILED
        assert state.error is not None
        assert state.error.code == PAYLOAD_CHANGED
        assert state.error.step == "pay"
        change_value(world, run_id, value)
        world.check(run_id)
        world.engine.retry(run_id, from_step=None, by=ADMIN)
    assert world.claim(run_id).state.value == value == APPROVED | said.get("patch", {})


def test_nor_where_several_are_taken_at_once(own_world: World) -> None:
    world = own_world
    run_id, other = decided(world), decided(world)
    change_value(world, run_id, ANOTHER)
    pay = step_key(GATE.workflow, 1, "pay")
    taken = world.engine.claim_waiting("default", steps=(pay,), limit=5, worker="w1")
    assert [claimed.run_id for claimed in taken] == [other]
    assert world.state(run_id).status is RunStatus.FAILED


def test_nor_where_the_log_was_changed_with_it(world: World) -> None:
    run_id = decided(world)
    change_value(world, run_id, ANOTHER)
    where = "WHERE run_id = %s AND type = 'gate.decided'"
    world.sql(
        f"UPDATE events SET data = (data::jsonb || jsonb_build_object('payload_sha256', %s::text))::json {where}",
        sha256_hex(ANOTHER),
        run_id,
    )
    assert take(world, run_id) is None
    assert world.state(run_id).status is RunStatus.FAILED


def test_what_later_steps_and_other_ways_through_gates_receive_is_theirs(world: World) -> None:
    pair = world.start(PAIR, APPROVED)
    world.decide(pair, ANA, "approve", patch={"amount": 7})
    world.decide(pair, BEN, "approve")
    assert world.claim(pair).state.value == {"amount": 7}

    refund = world.start(REFUND, {"amount": 50})
    world.work(refund, {"amount": 60})
    world.decide(refund, ANA, "request_changes", note="less")
    assert world.claim(refund).state.value == {"amount": 50}
    change_value(world, refund, ANOTHER)
    world.later(21)
    world.engine.sweep()
    assert take(world, refund) is None, "what is drafted again is drafted from what was there"

    beside = world.start(BESIDE, {})
    world.work(beside, {"amount": 6})
    change_value(world, beside, ANOTHER)
    assert take(world, beside) is None, "and where a person is asked beside the run"


def test_without_the_guards_it_would_be(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = world.start(GATE, APPROVED)
    change_value(world, run_id, ANOTHER)
    mutate(monkeypatch, decisions._expect_same_view, "if _hash_of(stored) !=", "if False and _hash_of(stored) !=")
    mutate(monkeypatch, approved.examined, "if not row.has_human_tasks:", "if True:")
    world.engine.decide(
        world.task(run_id).id,
        decisions.DecisionRequest(decision="approve", payload_sha256=world.task(run_id).payload_sha256),
        by=ANA,
    )
    claimed = take(world, run_id)
    assert claimed is not None
    assert claimed.state.value == ANOTHER
