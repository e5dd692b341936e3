"""Parking is cheap and long: very many runs wait for a year, nothing is held for them, and then they go on."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass, replace
from uuid import UUID

import psycopg

from signoff.store.identity import create_api_key, create_principal
from tests.chaos import parked
from tests.chaos.command import command_line
from tests.chaos.faults import Faults
from tests.chaos.flows_parking import KEEPERS
from tests.chaos.parking import ParkingLoad, parking_load
from tests.chaos.plant import FLOWS, QUICK, ROOT, Plant
from tests.chaos.registry import Arena, Outcome, Size, Tier, scenario
from tests.chaos.workload import Wish
from tests.integration.engine.world import shift_clock
from tests.servers import eventually

SETTINGS = QUICK | {"SIGNOFF_MODULES": f"{FLOWS},tests.chaos.flows_parking", "SIGNOFF_SWEEP_SECONDS": "1"}
STAGES = {Tier.CI: (20_000,), Tier.LONG: (100_000, 1_000_000)}
"""How many are parked at the end of each stage."""
ORIGINALS = 20
DECIDED = 30
"""Of the copies, in the end."""
YEAR_SECONDS = 365 * 86_400
SWEEPS = 40
P95_MS = 200.0
SECONDS = 120.0
MOVING = "SELECT 1 FROM runs WHERE status IN ('queued', 'running', 'retrying') LIMIT 1"
SHARES = {Wish.APPROVE: 3, Wish.EDIT: 1, Wish.REJECT: 1, Wish.CANCEL: 1}


@dataclass(frozen=True, kw_only=True)
class Sweeps:
    """What sweeps took while so many runs were parked, in milliseconds."""

    parked: int
    p50: float
    p95: float


@scenario(
    promise=9,
    title="parking is cheap and long",
    sizes={
        Tier.CI: Size(tries=20_000, faults=1, reduced_from="100,000 and 1,000,000 parked runs"),
        Tier.LONG: Size(tries=1_000_000, faults=1),
    },
)
def parking(arena: Arena) -> Outcome:
    """Runs of the load and many more are parked, the database's clock goes on by a year, and people decide on the load
    and on some of the many. Between the stages sweeps are timed; nothing may be in the broker.
    """
    plant = arena.plant(SETTINGS)
    faults, load = arena.faults(plant), parking_load(arena, plant, window=40)
    load.add(arena.items(40, shares=SHARES))
    with load.running():
        load.wait_started()
        originals = _originals(plant, load)
        shift_clock(plant.direct_url)
        # Whoever is connected has the clock of before.
        faults.reset_database()
        measured = [_sweeps(plant)]
        for count in STAGES[arena.tier]:
            _park(plant, originals, count)
            measured.append(_sweeps(plant))
            arena.say(f"{measured[-1].parked:,} parked, sweep p95 {measured[-1].p95:.1f} ms")
        problems = _nothing_is_held(plant)
        _a_year_later(plant, faults)
        measured.append(_sweeps(plant))
        problems += [*_dear(measured), *_nothing_is_held(plant)]
        load.let_decide()
        load.wait()
        problems += _copies_go_on(plant, load)
    said = ", ".join(f"{each.parked:,}: p50 {each.p50:.1f} p95 {each.p95:.1f} ms" for each in measured)
    outcome = arena.judged([load], faults, tried=measured[-1].parked, problems=problems)
    return replace(outcome, details=f"sweeps with {said}")


def _originals(plant: Plant, load: ParkingLoad) -> list[UUID]:
    """Parked runs that real workers have brought to their gate; and somebody who may decide on them."""
    portal, made = load.client("portal"), []
    for number in range(ORIGINALS):
        body = {"workflow": "parking", "input": {"parked": number}}
        made.append(UUID(portal.ask("POST", "/runs", body, idempotency=f"{load.tag}-parked-{number}").json["id"]))
    portal.close()
    eventually(lambda: not plant.rows(MOVING), seconds=SECONDS, why="all runs wait for people")
    engine = plant.engine()
    try:
        create_principal(engine.database, name="kim", kind="user", groups=(KEEPERS,), roles=("reviewer",))
        plant.keys["kim"] = create_api_key(engine.database, "kim")
    finally:
        engine.close()
    return made


def _parked(plant: Plant) -> int:
    return int(plant.rows("SELECT count(*) FROM runs WHERE status = 'waiting'")[0][0])


def _park(plant: Plant, originals: list[UUID], count: int) -> None:
    engine = plant.engine()
    try:
        parked.park(engine, originals, count - _parked(plant))
    finally:
        engine.close()


def _sweeps(plant: Plant) -> Sweeps:
    """By a process of its own, beside those of the beat."""
    done = subprocess.run(
        command_line("tests.chaos.sweeping", plant.direct_url, str(SWEEPS), mutant=plant.mutant),
        capture_output=True,
        text=True,
        timeout=SECONDS * 5,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr.strip()[-500:]
    taken = sorted(json.loads(done.stdout.splitlines()[-1]))
    return Sweeps(parked=_parked(plant), p50=taken[len(taken) // 2], p95=taken[int(len(taken) * 0.95)])


def _dear(measured: list[Sweeps]) -> list[str]:
    """Sweeps that take too long, or longer the more is parked. The middle one is compared: others use the machine."""
    first = measured[0]
    problems = [
        f"with {each.parked:,} parked, sweep p95 is {each.p95:.0f} ms" for each in measured if each.p95 > P95_MS
    ]
    grown = [each for each in measured[1:] if each.p50 > 3 * first.p50 + 10]
    return problems + [
        f"a sweep takes {each.p50:.1f} ms with {each.parked:,} parked, and {first.p50:.1f} ms with {first.parked:,}"
        for each in grown
    ]


def _nothing_is_held(plant: Plant) -> list[str]:
    """While no beat sends sweeps, the broker has to be empty."""
    beat = plant.processes["beat"]
    beat.held = True
    beat.kill()
    try:
        eventually(lambda: not any(plant.broker.held().values()), seconds=10, why="an empty broker")
    except AssertionError:
        return [f"with everything parked, the broker holds {plant.broker.held()}"]
    finally:
        beat.held = False
    return []


def _a_year_later(plant: Plant, faults: Faults) -> None:
    with psycopg.connect(plant.direct_url, autocommit=True) as connection:
        connection.execute("UPDATE shifted.by SET seconds = seconds + %s", (YEAR_SECONDS,))
    faults.counts["a_year"] += 1
    # A few sweeps of the plant's own see the new time.
    time.sleep(3)


def _copies_go_on(plant: Plant, load: ParkingLoad) -> list[str]:
    """Some of the many are decided over HTTP, and their workers finish them."""
    kim = load.client("kim")
    rows = plant.rows(
        "SELECT id::text, run_id::text, payload_sha256 FROM human_tasks WHERE gate = 'hold' ORDER BY id DESC LIMIT %s",
        DECIDED,
    )
    problems = []
    for task_id, _, sha256 in rows:
        body = {"decision": "approve", "payload_sha256": sha256}
        reply = kim.ask("POST", f"/human-tasks/{task_id}/decisions", body, idempotency=f"{load.tag}-copy-{task_id}")
        if reply.status not in (200, 201):
            problems.append(f"after a year: {reply}")
    kim.close()
    run_ids = [row[1] for row in rows]
    left = "SELECT 1 FROM runs WHERE id = ANY(%s::uuid[]) AND (status <> 'completed' OR outcome <> 'approved')"
    try:
        eventually(lambda: not plant.rows(left, run_ids), seconds=SECONDS, why="runs that were parked for a year")
    except AssertionError as error:
        problems.append(str(error))
    return problems
