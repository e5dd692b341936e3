"""Human tasks that are due wake together: each once, as if each were alone, and one that can't keeps nobody waiting."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest
from tests.integration.engine.flows import GATE, HOUR
from tests.integration.engine.world import PEOPLE, World
from tests.unit.transitions.graphs import escalate, gate, graph, pay, take

from signoff.engine import sweep
from signoff.model import RunStatus
from signoff.store.identity import create_principal
from signoff.transitions.staff import Member

LATE = 3_601
REFUSING = """
CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
CREATE TRIGGER refused BEFORE UPDATE ON human_tasks FOR EACH ROW WHEN (OLD.run_id = '{}') EXECUTE FUNCTION refused();
"""


def transactions(world: World, kind: str) -> int:
    """How many transactions wrote the events of this kind."""
    found: int = world.sql("SELECT count(DISTINCT xmin::text) FROM events WHERE type = %s", kind)[0][0]
    return found


def test_they_wake_in_a_few_transactions_and_each_once(own_world: World) -> None:
    world = own_world
    runs = [world.start(GATE, {"amount": n}) for n in range(sweep.TOGETHER + 5)]
    world.later(LATE)
    assert world.engine.sweep().human_tasks == len(runs)
    assert transactions(world, "gate.timed_out") == 2
    assert world.engine.sweep().human_tasks == 0
    for run_id in runs:
        world.check(run_id)
        assert world.kinds(run_id).count("gate.timed_out") == 1


def test_messages_of_all_are_sent_after_the_commit(own_world: World) -> None:
    world = own_world
    flow = graph(gate("ok", "pay", due=HOUR, on_timeout=take("approve")), pay(), name="goes-on")
    runs = {world.start(flow, {"n": n}) for n in range(4)}
    world.later(LATE)
    world.publisher.taken()
    world.engine.sweep()
    assert {run_id for run_id, _, _ in world.publisher.taken()} == runs
    assert all(world.claim(run_id).step.name == "pay" for run_id in runs)


def test_one_that_the_database_refuses_keeps_nobody_else_waiting(own_world: World) -> None:
    world = own_world
    runs = [world.start(GATE, {"amount": n}) for n in range(6)]
    world.sql(REFUSING.format(runs[2]))
    world.later(LATE)
    world.publisher.taken()
    assert world.engine.sweep().human_tasks == 5
    for run_id in runs:
        world.check(run_id)
        ended = world.state(run_id).status is RunStatus.COMPLETED
        assert ended == (run_id != runs[2])
        assert world.kinds(run_id).count("gate.timed_out") == int(ended)
    world.sql("DROP TRIGGER refused ON human_tasks")
    assert world.engine.sweep().human_tasks == 1
    world.check(runs[2])


def test_a_run_that_is_locked_is_left_and_the_others_wake(own_world: World) -> None:
    world = own_world
    runs = [world.start(GATE, {"amount": n}) for n in range(5)]
    world.later(LATE)
    with world.engine.database.transaction() as cursor:
        cursor.execute("SELECT 1 FROM runs WHERE id = %s FOR UPDATE", (runs[3],))
        assert world.engine.sweep().human_tasks == 4, "it does not wait for a lock"
    assert world.engine.sweep().human_tasks == 1
    for run_id in runs:
        world.check(run_id)


def test_two_of_one_run_wake_in_one_batch(own_world: World) -> None:
    world = own_world
    beside = {"mode": "after", "due": HOUR, "on_timeout": take("reject")}
    flow = graph(gate("one", "two", **beside), gate("two", **beside), name="two-beside")
    runs = [world.start(flow, {"n": n}) for n in range(3)]
    world.later(LATE)
    assert world.engine.sweep().human_tasks == 6
    for run_id in runs:
        world.check(run_id)
        assert world.kinds(run_id).count("gate.timed_out") == 2


def test_decisions_that_were_made_come_along(own_world: World) -> None:
    world = own_world
    flow = graph(gate("ok", "pay", approvals=2, due=HOUR, ladder=(escalate(HOUR // 2, "x"),)), pay(), name="pair")
    runs = [world.start(flow, {"n": n}) for n in range(3)]
    for run_id in runs:
        world.decide(run_id, PEOPLE["ana"], "approve")
    world.later(HOUR // 2_000 + 1)
    assert world.engine.sweep().human_tasks == 3
    for run_id in runs:
        world.check(run_id)
        assert [said.actor.name for said in world.task(run_id).decisions] == ["ana"]
        world.decide(run_id, PEOPLE["ben"], "approve")
        assert world.state(run_id).node == "pay"


def given_in_turns(world: World, runs: list[UUID]) -> Counter[str | None]:
    world.later(LATE)
    assert world.engine.sweep().human_tasks == len(runs)
    return Counter(world.task(run_id).assignee for run_id in runs)


@pytest.fixture
def in_turns(own_world: World) -> list[UUID]:
    """Runs whose next gate gives its human task to whoever has least to do."""
    for name in ("ana", "ben", "cleo"):
        create_principal(own_world.engine.database, name=name, kind="user", groups=["leads"])
    second = gate("second", "pay", assign="round_robin")
    flow = graph(gate("first", "second", due=HOUR, on_timeout=take("approve")), second, pay(), name="turns")
    return [own_world.start(flow, {"n": n}) for n in range(9)]


def test_turns_are_taken_as_one_by_one(own_world: World, in_turns: list[UUID]) -> None:
    assert given_in_turns(own_world, in_turns) == {"ana": 3, "ben": 3, "cleo": 3}
    for run_id in in_turns:
        own_world.check(run_id)


def test_turns_taken_together_would_be_seen(
    own_world: World, in_turns: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    def members(self: sweep._StandIns, users: list[str], groups: list[str]) -> list[Member]:
        return list(super(sweep._StandIns, self).members(users, groups))

    monkeypatch.setattr(sweep._StandIns, "members", members)
    assert given_in_turns(own_world, in_turns) != {"ana": 3, "ben": 3, "cleo": 3}
