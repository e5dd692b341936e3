"""Random workflows, random people, random time, on a real database: the engine against the reference."""

from __future__ import annotations

from hypothesis.stateful import run_state_machine_as_test
from tests.integration.engine.random_runs import OnDatabase, RandomRunsOnDatabase
from tests.integration.engine.world import World, shift_clock
from tests.unit.transitions.random_runs import examples
from tests.unit.transitions.reference import MAX_LOST

FEW = 6


def test_what_the_database_holds_is_what_the_reference_expects_after_every_operation(database_url: str) -> None:
    shift_clock(database_url)
    world = World.on(database_url, max_lost_leases=MAX_LOST)
    RandomRunsOnDatabase.world = world
    looked = OnDatabase.looked
    try:
        run_state_machine_as_test(RandomRunsOnDatabase, settings=examples(FEW))
        assert OnDatabase.looked > looked
        assert world.engine.verify().ok
    finally:
        world.engine.close()
