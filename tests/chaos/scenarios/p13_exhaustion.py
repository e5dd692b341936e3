"""Exhaustion degrades cleanly: whatever runs out, clients are told 503, nothing is half done, and it ends by itself."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.exhaustion import SETTINGS, Exhaustion, small_disk, small_log
from tests.chaos.plant import QUICK
from tests.chaos.registry import Arena, Outcome, Size, Tier, scenario
from tests.chaos.storm import storm

KINDS = ("exhaust_pool", "fill_disk", "pile_up_locks", "take_connections")
NO_DISK = "a full disk: nobody may mount a small file system here"


@scenario(
    promise=13,
    title="exhaustion degrades cleanly",
    sizes={Tier.CI: Size(tries=120, faults=8), Tier.LONG: Size(tries=1_200, faults=80)},
)
def exhaustion(arena: Arena) -> Outcome:
    """The API's pools, the disk, a lock that somebody keeps, and the server's connections, one after the other while
    clients go on. The disk is a tmpfs of a few megabytes with a tablespace that has the tables which grow.
    """
    plant = arena.plant(QUICK | SETTINGS)
    load = arena.load(plant)
    with small_disk(plant) as disk:
        faults = Exhaustion(plant=plant, draw=arena.draw, answers=load.answers, disk=disk)
        kinds = [kind for kind in KINDS if disk is not None or kind != "fill_disk"]
        with load.running():
            storm(arena, load, faults, kinds)
        problems = [f"never happened: {kind}" for kind in kinds if not faults.counts[kind]]
        problems += [f"an answer came too late: {told}" for told in faults.slow[:3]]
        if load.answers.broken:
            problems.append(f"{len(load.answers.broken)} requests had no answer at all: {load.answers.broken[0]}")
        outcome = arena.judged([load], faults, tried=len(load.items), problems=problems)
    return outcome if disk is not None else replace(outcome, skipped=NO_DISK)


@scenario(
    promise=13,
    title="exhaustion degrades cleanly: the log's disk",
    sizes={Tier.CI: Size(tries=60, faults=1), Tier.LONG: Size(tries=400, faults=20)},
)
def log_disk(arena: Arena) -> Outcome:
    """PostgreSQL has its write-ahead log on a disk of its own, which fills up while clients go on. The server breaks
    off; what it had answered is there when it is back.
    """
    plant = arena.plant(QUICK | SETTINGS)
    load = arena.load(plant)
    with small_log(plant) as disk:
        if disk is None:
            return replace(arena.judged([load], arena.faults(plant), tried=0), problems=(), skipped=NO_DISK)
        faults = Exhaustion(plant=plant, draw=arena.draw, answers=load.answers, disk=disk)
        with load.running():
            storm(arena, load, faults, ["fill_log"])
        problems = []
        if load.answers.broken:
            problems.append(f"{len(load.answers.broken)} requests had no answer at all: {load.answers.broken[0]}")
    return arena.judged([load], faults, tried=len(load.items), problems=problems)
