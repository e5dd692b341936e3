"""The state machine against its rules: every state that small runs get into, and random runs against a reference.

    python -m tests.chaos.machine DATABASE_URL SEED IN_MEMORY ON_DATABASE      says what it did as one line of JSON

It is a process of its own so that a guard can be taken out of it. The tests are those of `tests/unit/transitions` and
`tests/integration/engine`; here they are counted, and told how many examples to try.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace

from hypothesis import Phase, core, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.engine.random_runs import OnDatabase, RandomRunsOnDatabase
from tests.integration.engine.world import World, shift_clock
from tests.unit.transitions import test_stateful
from tests.unit.transitions.exploration import explore
from tests.unit.transitions.random_runs import examples
from tests.unit.transitions.reference import MAX_LOST
from tests.unit.transitions.scenes import SCENES

TOTAL = 60
"""States of each scene to which every event is applied, fitting or not."""


@dataclass(slots=True)
class Counted:
    """What was tried."""

    states: int = 0
    operations: int = 0
    events_applied: int = 0
    runs_in_memory: int = 0
    runs_on_database: int = 0
    transitions_on_database: int = 0


def main(url: str, seed: int, in_memory: int, on_database: int) -> Counted:
    # The plugin for pytest has no other way either.
    core.global_force_seed = seed
    counted = Counted()
    for scene in SCENES:
        found = explore(scene)
        counted.states += found.states
        counted.operations += found.operations
        counted.events_applied += explore(replace(scene, depth=3), total=TOTAL).applied
    run_state_machine_as_test(test_stateful.RandomRunsInMemory, settings=_settings(in_memory))
    counted.runs_in_memory = in_memory
    _on_database(url, on_database, counted)
    return counted


def _on_database(url: str, wanted: int, counted: Counted) -> None:
    shift_clock(url)
    world = World.on(url, max_lost_leases=MAX_LOST)
    RandomRunsOnDatabase.world = world
    try:
        run_state_machine_as_test(RandomRunsOnDatabase, settings=_settings(wanted))
        verified = world.engine.verify()
        assert verified.ok, f"the log does not verify: {verified.first_bad}"
    finally:
        world.engine.close()
    counted.runs_on_database = RandomRunsOnDatabase.runs
    counted.transitions_on_database = OnDatabase.looked


def _settings(wanted: int) -> settings:
    """Found is enough: whoever wants the smallest example runs the tests themselves."""
    return settings(examples(wanted), max_examples=wanted, phases=[Phase.generate], database=None)


if __name__ == "__main__":
    found = main(sys.argv[1], *(int(each) for each in sys.argv[2:5]))
    sys.stdout.write(json.dumps({name: getattr(found, name) for name in Counted.__slots__}) + "\n")
