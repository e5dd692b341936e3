"""Restore works: a dump taken while runs move comes into a fresh cluster, and every run goes on or says why not."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from signoff.embedded.postgres import plan_cluster
from tests import servers
from tests.chaos.command import signoff, told
from tests.chaos.load import Load, Said
from tests.chaos.oracle import Judgement, check_database, check_effects, check_runs, check_told
from tests.chaos.parking import ParkingLoad, parking_load
from tests.chaos.plant import Plant
from tests.chaos.registry import LOSE_EVERY, Arena, Outcome, Size, Tier, scenario
from tests.chaos.workload import Item
from tests.servers import eventually

SERVING_SECONDS = 60.0
IN_FLIGHT = {Tier.CI: 60, Tier.LONG: 1_000}
"""Runs at the backup: some have been decided by then, or timed out."""
REVIEW_SECONDS = 20.0
"""In which each reviewer would be through with everything: longer than a dump takes."""


@dataclass(frozen=True, kw_only=True)
class BackedUp:
    """The file, and what clients had been told when the backup began: all of that has to be in it."""

    file: Path
    started: Mapping[int, str]
    said: Mapping[int, Said]
    in_flight: int


@scenario(
    promise=14,
    title="restore works",
    sizes={Tier.CI: Size(tries=100, faults=1), Tier.LONG: Size(tries=1_400, faults=1)},
)
def restoring(arena: Arena) -> Outcome:
    """All runs are started and parked, reviewers begin, and in the midst of it: a backup, more decisions, more runs, an
    anchor. Then everything dies, the database's disk is gone, and the backup is brought into a cluster made anew.
    """
    plant = arena.plant(lose_every=LOSE_EVERY)
    faults, load = (
        arena.faults(plant),
        parking_load(arena, plant, window=2 * arena.size.tries, pace=15 / arena.size.tries),
    )
    anchors = _anchored(plant)
    load.add(arena.items(arena.size.tries))
    late = arena.items(max(5, arena.size.tries // 20))
    with load.running():
        backed_up = _back_up_in_the_midst(plant, load)
        arena.say(f"backed up with {backed_up.in_flight} runs in flight")
        load.add(late)
        _until_decided(load, len(load.said) + arena.size.tries // 8)
        _ran(plant, "audit", "anchor", **anchors)
    _lose_the_disk(plant)
    faults.counts["lose_disk"] += 1
    problems = _restored(plant, backed_up, anchors)
    arena.say("restored and checked")
    again = _go_on(arena, plant, load, backed_up)
    if backed_up.in_flight < IN_FLIGHT[arena.tier]:
        problems.append(f"{backed_up.in_flight} runs were in flight at the backup; asked for {IN_FLIGHT[arena.tier]}")
    worst = max(again.recoveries, default=None)
    if again.unrecovered():
        problems.append(f"{again.unrecovered()} runs never moved again")
    judgement = _judged(plant, load, again, late)
    return arena.outcome(
        judgement,
        tried=len(load.items),
        injected=faults.injected,
        worst=worst,
        problems=problems,
        details=f"{backed_up.in_flight} in flight at the backup, {len(again.recoveries)} of them moving",
    )


def _anchored(plant: Plant) -> dict[str, str]:
    """The variables of a file of anchors, which has been begun."""
    key = plant.folder / "anchor.key"
    _ran(plant, "audit", "keygen", str(key))
    named = {"SIGNOFF_ANCHOR_FILE": str(plant.folder / "anchors.jsonl"), "SIGNOFF_ANCHOR_KEY_FILE": str(key)}
    _ran(plant, "audit", "anchor", "--begin", **named)
    return named


def _ran(plant: Plant, *arguments: str, **settings: str) -> None:
    done = signoff(plant, *arguments, **settings)
    assert done.returncode == 0, f"signoff {' '.join(arguments)}: {done.stderr.strip()[-500:]}"


def _back_up_in_the_midst(plant: Plant, load: ParkingLoad) -> BackedUp:
    load.wait_started()
    load.let_decide()
    _until_decided(load, len(load.items) // 8)
    file = plant.folder / "backup.dump"
    started, said, in_flight = dict(load.started), dict(load.said), len(load.items) - len(load.ended)
    _ran(plant, "db", "backup", str(file))
    return BackedUp(file=file, started=started, said=said, in_flight=in_flight)


def _until_decided(load: Load, count: int) -> None:
    load.wait(lambda: len(load.said) >= count)


def _lose_the_disk(plant: Plant) -> None:
    """Everything of ours ends at once, the database's directory is gone, and the broker has forgotten all."""
    for watched in plant.processes.values():
        if watched.name != "receiver":
            watched.held = True
            watched.kill()
    plant.postgres.stop()
    shutil.rmtree(plan_cluster(plant.postgres.home, plant.postgres.sockets).data)
    servers.flush(plant.broker.url)


def _restored(plant: Plant, backed_up: BackedUp, anchors: Mapping[str, str]) -> list[str]:
    """Bring the backup into a cluster made anew, and look at it as an operator would; what is wrong with it."""
    plant.postgres.start()
    name = str(psycopg.conninfo.conninfo_to_dict(plant.direct_url)["dbname"])
    assert plant.postgres.server is not None
    with psycopg.connect(plant.postgres.server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    _ran(plant, "db", "restore", str(backed_up.file))
    plain, anchored = told(plant, "db", "check"), told(plant, "db", "check", **anchors)
    problems = []
    if not plain["verification"]["ok"]:
        problems.append(f"the restored log does not verify: {plain['verification']['first_bad']}")
    newer = anchored["newer_anchors"]
    if newer is None or newer["count"] != 1 or newer["held_at"] is None:
        problems.append(f"of two anchors, one newer than the backup, it is said: {newer}")
    if not plant.rows("SELECT 1 FROM runs WHERE status = 'waiting' LIMIT 1"):
        problems.append("nobody waits for a person in the backup: it was not taken in the midst of anything")
    return problems + _unsaid(plant, plain["unfinished"])


def _unsaid(plant: Plant, outlooks: list[dict[str, Any]]) -> list[str]:
    """Unfinished runs of which nothing is said, or that should stand: here, every step may be repeated."""
    unfinished = {row[0] for row in plant.rows("SELECT id::text FROM runs WHERE finished_at IS NULL")}
    silent = unfinished - {each["run"] for each in outlooks if each["why"]}
    problems = [f"nothing is said of {len(silent)} unfinished runs, among them {min(silent)}"] if silent else []
    return problems + [f"run {each['run']}: {each['why']}" for each in outlooks if not each["continues"]][:3]


def _go_on(arena: Arena, plant: Plant, before: Load, backed_up: BackedUp) -> Load:
    """Start everything, and let the same people decide what is open again; until all that the backup has is done."""
    again = arena.load(plant)
    again.tag = before.tag
    again.items = {number: before.items[number] for number in backed_up.started}
    again.adopt(backed_up.started, backed_up.said)
    there = {row[0] for row in plant.rows("SELECT id::text FROM runs")}
    wanted = {number for number, run_id in backed_up.started.items() if run_id in there}
    with again.running():
        with again.recovering():
            for watched in plant.processes.values():
                watched.held = False
        eventually(plant.serves, seconds=SERVING_SECONDS, why="the API on the restored database")
        again.wait(lambda: wanted <= again.ended)
    return again


def _judged(plant: Plant, before: Load, again: Load, late: list[Item]) -> Judgement:
    """What was answered before the backup is there and ends as planned. What was started after it is gone, and may have
    had its effect, which is what the page of guarantees says; never twice, never another.
    """
    found = Judgement()
    check_database(plant, found)
    check_runs(plant, again, found)
    check_told(plant, again, found)
    found.wrong += [*before.wrong, *again.wrong, *before.answers.bad, *again.answers.bad]
    paid = {int(effect.body["item"]) for effect in plant.ledger.effects()}
    check_effects(plant, again.items | {item.number: item for item in late if item.number in paid}, found)
    return found
