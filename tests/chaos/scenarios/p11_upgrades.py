"""Upgrades keep parked runs: their version, their rows through every migration, and workers of two releases at once."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from signoff import Gate, Workflow, step
from signoff.definition.graph import Graph
from signoff.model import SYSTEM
from tests import servers
from tests.chaos.command import command_line
from tests.chaos.flows import Value, note, pay, prepare
from tests.chaos.oracle import Judgement
from tests.chaos.parking import ParkingLoad, parking_load
from tests.chaos.plant import QUICK, ROOT, Plant, Watched
from tests.chaos.registry import LOSE_EVERY, Arena, Outcome, Size, Tier, scenario
from tests.chaos.releases import previous_release
from tests.servers import eventually

SECONDS = 120.0
MOVING = "SELECT 1 FROM runs WHERE status IN ('queued', 'running', 'retrying') LIMIT 1"
_GATE: dict[str, Any] = {"reviewers": "leads", "editable": ["amount"]}


@step
def lose(value: Value) -> Value:
    """What a version that came later does with the amount."""
    return value | {"amount": 0}


def _newer(number: int) -> list[Graph]:
    """Definitions of the load's workflows of which each ends otherwise: nothing paid, nobody asked, another amount."""
    forms = (
        [prepare, Gate("check", **_GATE), note],
        [prepare, Gate("second", reviewers=f"board-{number}"), pay, note],
        [prepare, Gate("check", **_GATE), lose, pay, note],
    )
    form = forms[number % len(forms)]
    title = f"the definition of release {number}"
    return [Workflow(name, form, description=title).graph for name in ("payment", "fleeting")]


@scenario(
    promise=11,
    title="a run keeps its version",
    sizes={Tier.CI: Size(tries=60, faults=5), Tier.LONG: Size(tries=1_000, faults=16)},
)
def versions(arena: Arena) -> Outcome:
    """All runs are parked, then definitions of the same names are deployed by which nothing would be paid, or something
    else, or nobody asked; workers start anew between them. Then people decide.
    """
    plant = arena.plant(lose_every=LOSE_EVERY)
    faults, load = arena.faults(plant), parking_load(arena, plant, window=arena.size.tries)
    load.add(arena.items(arena.size.tries))
    with load.running():
        _until_parked(plant, load)
        problems = []
        for number in range(arena.size.faults - 1):
            _deploy(plant, number)
            faults.counts["deploy"] += 1
        faults.kill_worker()
        faults.kill_api()
        newest = arena.size.faults
        problems += _new_runs_follow(plant, load, newest)
        load.let_decide()
        load.wait()
    numbers = {row[0] for row in plant.rows("SELECT DISTINCT version FROM runs WHERE labels ? 'item'")}
    if numbers != {1}:
        problems.append(f"the runs are of versions {sorted(numbers)}, and were started with 1")
    return arena.judged([load], faults, tried=len(load.items), problems=problems)


def _until_parked(plant: Plant, load: ParkingLoad) -> None:
    load.wait_started()
    eventually(lambda: not plant.rows(MOVING), seconds=SECONDS, why="all runs wait for people")


def _deploy(plant: Plant, number: int) -> None:
    engine = plant.engine()
    try:
        for graph in _newer(number):
            assert engine.register(graph, by=SYSTEM).created
    finally:
        engine.close()


def _new_runs_follow(plant: Plant, load: ParkingLoad, newest: int) -> list[str]:
    """What is started now is of the newest version; and is canceled, because the plan has nothing of it."""
    portal, admin = load.client("portal"), load.client("admin")
    problems = []
    for workflow in ("payment", "fleeting"):
        body = {"workflow": workflow, "input": {"item": 0, "amount": 1}}
        run = portal.ask("POST", "/runs", body, idempotency=f"{load.tag}-new-{workflow}").json
        if run["version"] != newest:
            problems.append(f"a new run of {workflow} is of version {run['version']}, and the newest is {newest}")
        admin.ask("POST", f"/runs/{run['id']}/cancel", {"reason": "seen"})
    portal.close()
    admin.close()
    return problems


@scenario(
    promise=11,
    title="migrations keep every run",
    sizes={Tier.CI: Size(tries=1), Tier.LONG: Size(tries=8)},
)
def stairs(arena: Arena) -> Outcome:
    """A run in every state, down each migration and up again, then on to its end: `tries` databases of them."""
    judgement, runs, steps = Judgement(), 0, 0
    problems: list[str] = []
    folder = arena.stage.folder / f"stairs-{arena.stage.numbers(1)}"
    with servers.postgres(folder) as server:
        server.migrate_template()
        for _ in range(arena.size.tries):
            found = _climbed(server.create(template=servers.TEMPLATE), arena.stage.mutant)
            runs += found["runs"]
            steps += found["steps"] * found["runs"]
            judgement.lost += [f"the run that is {name} does not end" for name in found["lost"]]
            problems += found["problems"]
    return arena.outcome(
        judgement, tried=steps, injected=0, worst=None, problems=problems, details=f"{runs} runs, {steps} steps"
    )


def _climbed(url: str, mutant: str | None) -> dict[str, Any]:
    done = subprocess.run(
        command_line("tests.chaos.stairs", url, mutant=mutant),
        capture_output=True,
        text=True,
        timeout=SECONDS * 3,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr.strip()[-800:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@scenario(
    promise=11,
    title="two releases on one database",
    sizes={Tier.CI: Size(tries=60, faults=2), Tier.LONG: Size(tries=600, faults=2)},
)
def mixed(arena: Arena) -> Outcome:
    """The order of an upgrade, and back: the database of this release with workers of the release before it, with both,
    with this one's alone, and after a rollback with the old ones alone. Each goes on with what the other has parked.
    """
    found = previous_release(_folder(arena))
    if isinstance(found, str):
        return arena.outcome(Judgement(), tried=0, injected=0, worst=None, skipped=f"two releases at once: {found}")
    plant = arena.plant(QUICK | {"SIGNOFF_REPUBLISH_SECONDS": "0.6"}, lose_every=LOSE_EVERY)
    faults, load = arena.faults(plant), parking_load(arena, plant, window=arena.size.tries)
    new = plant.processes["worker-1"]
    old = found.instead(new, name="worker-old")
    half, quarter = arena.size.tries // 2, arena.size.tries // 4
    with load.running():
        _only(plant, old, new)
        load.add(arena.items(half))
        _until_parked(plant, load)
        arena.say(f"{half} runs parked by workers of {found.name}")
        _start(new)
        load.let_decide()
        load.add(arena.items(quarter))
        load.wait_ended(quarter)
        faults.kill_worker()
        faults.kill_worker()
        load.wait()
        _only(plant, new, old)
        load.reviews.clear()
        load.add(arena.items(quarter))
        _until_parked(plant, load)
        _only(plant, old, new)
        load.let_decide()
        load.wait()
    return arena.judged([load], faults, tried=len(load.items))


def _folder(arena: Arena) -> Path:
    folder = arena.stage.folder / f"release-{arena.stage.numbers(1)}"
    folder.mkdir(parents=True)
    return folder


def _only(plant: Plant, wanted: Watched, other: Watched) -> None:
    """Workers of one release, and none of the other's."""
    other.held = True
    other.kill()
    _start(wanted)
    # Once it has a process; and a new mapping, because the keeper is reading the old one.
    plant.processes = plant.processes | {wanted.name: wanted}


def _start(watched: Watched) -> None:
    ready = Path(watched.environment["SIGNOFF_READY_FILE"])
    if not watched.alive:
        ready.unlink(missing_ok=True)
        watched.start()
    watched.held = False
    eventually(ready.exists, seconds=SECONDS, why=f"a worker, see {watched.output}")
