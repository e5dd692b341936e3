"""A worker that goes quiet loses its run, and what it says later counts for nothing."""

from __future__ import annotations

import pytest
from tests.integration.engine.flows import CHAIN, UNKEYED
from tests.integration.engine.world import ADMIN, World

from signoff.engine import Failure
from signoff.errors import LeaseLost
from signoff.ids import new_id
from signoff.model import RunStatus

# Leases -------------------------------------------------------------------------------------------------------------


def test_a_worker_that_goes_quiet_loses_the_run_and_what_it_says_later(own_world: World) -> None:
    world = own_world
    run_id = world.start(CHAIN, {})
    zombie = world.claim(run_id, worker="w1")
    world.later(19)
    assert world.engine.sweep().leases_expired == 0
    world.later(1.5)
    world.publisher.taken()
    assert world.engine.sweep().leases_expired == 1
    assert world.publisher.taken() == [(run_id, 2, "signoff.default")], "the epoch is raised"
    world.check(run_id)
    successor = world.claim(run_id, worker="w2")
    for late in (
        lambda: world.engine.complete(zombie, {"n": 0}, worker="w1", go_on=True),
        lambda: world.engine.fail(zombie, Failure(code="x", message="x")),
    ):
        with pytest.raises(LeaseLost):
            late()
    assert world.engine.renew([(run_id, zombie.epoch)]) == set()
    world.engine.give_back(zombie)
    assert world.row(run_id).row_status is RunStatus.RUNNING, "a zombie gives nothing back"
    world.engine.complete(successor, {"n": 1}, worker="w2", go_on=False)
    world.check(run_id)
    assert world.state(run_id).value == {"n": 1}


def test_a_zombie_is_refused_before_anybody_else_has_the_run_too(own_world: World) -> None:
    world = own_world
    run_id = world.start(CHAIN, {})
    zombie = world.claim(run_id)
    world.later(30)
    world.engine.sweep()
    with pytest.raises(LeaseLost):
        world.engine.complete(zombie, {}, worker="w1", go_on=False)


def test_a_worker_that_is_heard_of_keeps_the_run(own_world: World) -> None:
    world = own_world
    run_id = world.start(CHAIN, {})
    claimed = world.claim(run_id)
    for _ in range(4):
        world.later(15)
        assert world.engine.renew([(run_id, claimed.epoch), (new_id(), 1)]) == {run_id}
        assert world.engine.sweep().leases_expired == 0
    world.engine.complete(claimed, {}, worker="w1", go_on=False)
    assert world.engine.renew([(run_id, claimed.epoch)]) == set(), "and nobody keeps what is done"


def test_lost_workers_are_bounded(own_world: World) -> None:
    world = own_world
    run_id = world.start(CHAIN, {})
    for _ in range(world.engine.settings.max_lost_leases):
        world.claim(run_id)
        world.later(21)
        world.engine.sweep()
        world.check(run_id)
    state = world.state(run_id)
    assert state.status is RunStatus.FAILED
    assert state.error is not None
    assert (state.error.code, state.error.attempt) == ("worker_lost", 1)


def test_an_irreversible_step_without_a_key_is_not_guessed_about(own_world: World) -> None:
    world = own_world
    run_id = world.start(UNKEYED, {})
    world.claim(run_id)
    world.later(21)
    world.engine.sweep()
    error = world.state(run_id).error
    assert error is not None
    assert error.code == "outcome_unknown"
    world.check(run_id)
    world.engine.retry(run_id, by=ADMIN)
    assert world.claim(run_id).step.name == "pay", "a person has found out, and lets it go on"


def test_a_run_that_is_given_back_is_taken_at_once(world: World) -> None:
    run_id = world.start(CHAIN, {})
    claimed = world.claim(run_id)
    world.publisher.taken()
    world.engine.give_back(claimed)
    assert world.publisher.taken() == [(run_id, 1, "signoff.default")]
    world.check(run_id)
    assert world.claim(run_id, worker="w2").epoch == 2
