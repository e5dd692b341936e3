"""A PostgreSQL crash is safe: what was answered is there afterwards, and what failed was told to try again."""

from __future__ import annotations

from tests.chaos.registry import LOSE_EVERY, Arena, Outcome, Size, Tier, scenario
from tests.chaos.storm import storm

KINDS = ("restart_database",)


@scenario(
    promise=5,
    title="a PostgreSQL crash is safe",
    sizes={
        Tier.SLICE: Size(tries=40, faults=1),
        Tier.CI: Size(tries=500, faults=10),
        Tier.LONG: Size(tries=5_000, faults=60),
    },
)
def database(arena: Arena) -> Outcome:
    """Immediate stop and restart while clients retry. The API itself is left alone, so nobody may be left without an
    answer, and each that is none is a 503 with a problem.
    """
    plant = arena.plant(lose_every=LOSE_EVERY)
    faults, load = arena.faults(plant), arena.load(plant)
    with load.running():
        storm(arena, load, faults, KINDS)
    problems = []
    if load.answers.broken:
        problems.append(f"{len(load.answers.broken)} requests were given no answer at all: {load.answers.broken[0]}")
    if not load.answers.statuses[503]:
        problems.append("no client has noticed anything: the restarts were none")
    return arena.judged([load], faults, tried=len(load.items), problems=problems)
