"""One approval, one execution: the receiver's own books, while everything around is harmed."""

from __future__ import annotations

from tests.chaos.registry import LOSE_EVERY, Arena, Outcome, Size, Tier, scenario
from tests.chaos.storm import storm

KINDS = (
    "kill_worker_child",
    "wipe_broker",
    "kill_api_child",
    "reset_database",
    "kill_worker",
    "freeze_worker:2",
    "reset_broker",
    "kill_api",
    "restart_database",
    "kill_beat",
)
"""A frozen worker is a zombie: its lease, of one second, has ended when it wakes."""


@scenario(
    promise=3,
    title="one approval, one execution",
    sizes={
        Tier.SLICE: Size(tries=40, faults=2),
        Tier.CI: Size(tries=1_000, faults=30),
        Tier.LONG: Size(tries=10_000, faults=200),
    },
)
def execution(arena: Arena) -> Outcome:
    """Approved, edited, rejected, canceled runs and those that the clock rejects; every tenth answer of the receiver
    gets lost. Short intervals: the promise is about what happens.
    """
    plant = arena.plant(lose_every=LOSE_EVERY)
    faults, load = arena.faults(plant), arena.load(plant)
    with load.running():
        storm(arena, load, faults, KINDS)
    return arena.judged([load], faults, tried=len(load.items))
