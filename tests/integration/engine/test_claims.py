"""A claim is a lease of a person: it lapses when nobody renews it, and the log says so."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from tests.integration.engine.flows import GATE, GRACE, REFUND
from tests.integration.engine.world import ANA, BEN, CLEO, World, shift_clock, together

from signoff.errors import Conflict
from signoff.model import EventType
from signoff.store.identity import create_principal

MINUTES = 2
TERM = MINUTES * 60


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    shift_clock(database_url)
    made = World.on(database_url, claim_minutes=MINUTES)
    for person in (ANA, BEN):
        create_principal(made.engine.database, name=person.name, kind="user", groups=person.groups, roles=person.roles)
    yield made
    made.engine.close()


def _claimed(world: World) -> tuple[UUID, UUID]:
    run_id = world.start(GATE, {"amount": 1})
    task = world.task(run_id).id
    world.engine.claim(task, by=ANA)
    world.check(run_id)
    return run_id, task


def _holder(world: World, run_id: UUID) -> str | None:
    world.check(run_id)
    return world.task(run_id).assignee


def test_a_claim_that_nobody_renews_lapses_in_time_and_once(world: World) -> None:
    run_id, task = _claimed(world)
    world.later(TERM - 1)
    assert world.engine.sweep().claims_lapsed == 0
    assert _holder(world, run_id) == "ana"
    world.later(1.01)
    assert sum(swept.claims_lapsed for swept in together(*[world.engine.sweep] * 4)) == 1
    assert _holder(world, run_id) is None
    assert world.engine.sweep().claims_lapsed == 0
    released = [event for event in world.log(run_id) if event.type is EventType.HUMAN_TASK_RELEASED]
    assert [(event.data["assignee"], event.data["lapsed"], event.actor.name) for event in released] == [
        ("ana", True, "signoff")
    ]
    world.engine.claim(task, by=BEN)
    assert _holder(world, run_id) == "ben"


def test_a_claim_that_is_kept_holds_on(world: World) -> None:
    run_id, task = _claimed(world)
    events = len(world.log(run_id))
    for _ in range(4):
        world.later(TERM - 1)
        assert world.engine.keep_claim(task, by=ANA)
        assert world.engine.sweep().claims_lapsed == 0
    assert _holder(world, run_id) == "ana"
    assert len(world.log(run_id)) == events, "that it was kept is no fact of the run"
    world.later(TERM + 1)
    assert world.engine.sweep().claims_lapsed == 1
    assert not world.engine.keep_claim(task, by=ANA)


def test_claiming_once_more_renews_too(world: World) -> None:
    run_id, task = _claimed(world)
    world.later(TERM - 1)
    world.engine.claim(task, by=ANA)
    world.later(TERM - 1)
    assert world.engine.sweep().claims_lapsed == 0
    assert world.kinds(run_id).count("human_task.claimed") == 1


def test_only_the_holder_keeps_a_claim(world: World) -> None:
    run_id, task = _claimed(world)
    world.later(TERM - 1)
    assert not world.engine.keep_claim(task, by=BEN)
    with pytest.raises(Conflict):
        world.engine.claim(task, by=BEN)
    world.later(2)
    assert world.engine.sweep().claims_lapsed == 1
    assert _holder(world, run_id) is None


def test_a_claim_that_was_renewed_since_it_was_found_is_left(world: World) -> None:
    from signoff.engine.sweep import _release_claim

    run_id, task = _claimed(world)
    assert not _release_claim(world.engine.core, run_id, task)
    assert _holder(world, run_id) == "ana"


def test_what_was_assigned_does_not_lapse_even_if_its_page_is_open(world: World) -> None:
    run_id, task = _claimed(world)
    world.engine.assign(task, assignee="ben", by=ANA)
    assert world.engine.keep_claim(task, by=BEN)
    world.engine.claim(task, by=BEN)
    world.later(TERM * 100)
    # The gate's own time is over by then.
    world.sql("UPDATE human_tasks SET wake_at = NULL")
    assert world.engine.sweep().claims_lapsed == 0
    assert world.task(run_id).assignee == "ben"


def test_a_claim_after_a_release_has_a_term_of_its_own(world: World) -> None:
    run_id, task = _claimed(world)
    world.later(TERM - 1)
    world.engine.release(task, by=ANA)
    world.engine.claim(task, by=BEN)
    world.later(TERM - 1)
    assert world.engine.sweep().claims_lapsed == 0
    assert _holder(world, run_id) == "ben"


def test_a_decided_human_task_has_no_claim_left_to_lapse(world: World) -> None:
    run_id, task = _claimed(world)
    world.decide(run_id, ANA, "approve")
    assert not world.engine.keep_claim(task, by=ANA)
    assert world.sql("SELECT claim_expires_at FROM human_tasks WHERE id = %s", task) == [(None,)]
    world.later(TERM + 1)
    assert world.engine.sweep().claims_lapsed == 0
    world.check(run_id)


def test_a_claim_outlives_a_new_revision_and_a_grace(world: World) -> None:
    run_id = world.start(REFUND, {"order": 1})
    world.work(run_id, {"amount": 50})
    task = world.task(run_id).id
    world.engine.claim(task, by=ANA)
    world.decide(run_id, BEN, "request_changes")
    world.work(run_id, {"amount": 60})
    world.later(TERM + 1)
    world.engine.sweep()
    assert _holder(world, run_id) is None
    in_grace = world.start(GRACE, {"amount": 1})
    held = world.task(in_grace).id
    world.engine.claim(held, by=CLEO)
    world.decide(in_grace, CLEO, "approve")
    world.later(TERM + 1)
    world.engine.sweep()
    world.check(in_grace)
    assert world.state(in_grace).human_tasks[held].outcome == "approved"


def test_a_deciding_and_a_lapsing_at_once_both_leave_a_log_that_verifies(world: World) -> None:
    for _ in range(5):
        run_id, task = _claimed(world)
        world.later(TERM + 1)
        shown = world.task(run_id)
        together(world.engine.sweep, lambda run=run_id, on=shown: world.decide(run, ANA, "approve", task=on))
        world.engine.sweep()
        world.check(run_id)
        assert world.state(run_id).human_tasks[task].outcome == "approved"
