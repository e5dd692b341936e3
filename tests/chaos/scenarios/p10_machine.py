"""The machine is correct: states of small runs, random runs on a real database, guards that are missed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

from tests import servers
from tests.chaos.command import command_line
from tests.chaos.oracle import Judgement
from tests.chaos.plant import ROOT
from tests.chaos.registry import Arena, Outcome, Size, Tier, scenario

SECONDS = 1_800.0
MUTANTS = "tests/unit/transitions/test_mutants.py"


@scenario(
    promise=10,
    title="the machine is correct",
    sizes={Tier.CI: Size(tries=12), Tier.LONG: Size(tries=400, faults=20)},
)
def machine(arena: Arena) -> Outcome:
    """Exhaustive enumeration, then random runs, in memory and on a database: log, replay and head are compared after
    every transition. `tries` are the runs on the database; in the long tier the faults are guards taken out in memory.
    """
    folder = arena.stage.folder / f"machine-{arena.stage.numbers(1)}"
    with servers.postgres(folder) as server:
        server.migrate_template()
        counted, problems = _played(arena, server.create(template=servers.TEMPLATE))
    caught = 0
    if arena.tier is Tier.LONG and not problems:
        arena.say(f"{counted['states']} states, {counted['transitions_on_database']} transitions on the database")
        caught, missed = _guards()
        problems += [f"{missed} guards taken out were not missed"] if missed else []
    if caught < arena.size.faults:
        problems.append(f"{caught} guards were taken out, and {arena.size.faults} are asked for")
    said = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counted.items())
    tried = counted.get("states", 0) + counted.get("transitions_on_database", 0)
    return arena.outcome(Judgement(), tried=tried, injected=caught, worst=None, problems=problems, details=said)


def _played(arena: Arena, url: str) -> tuple[dict[str, int], list[str]]:
    """What was counted, and what the reference or the database had against it."""
    few = arena.size.tries
    arguments = (url, str(arena.seed), str(10 * few), str(few))
    done = subprocess.run(
        command_line("tests.chaos.machine", *arguments, mutant=arena.stage.mutant),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=_environment(),
        check=False,
    )
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if "Error" in line]
        return {}, [f"it does not hold: {(lines or [done.stderr[-300:]])[-1]}"]
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found, []


def _guards() -> tuple[int, int]:
    """How many guards, taken out, the exploration missed at once, and of how many it noticed nothing."""
    command: list[Any] = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", MUTANTS]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, env=_environment(), check=False
    )
    passed, failed = re.search(r"(\d+) passed", done.stdout), re.search(r"(\d+) (?:failed|error)", done.stdout)
    return int(passed[1]) if passed else 0, int(failed[1]) if failed else 0


def _environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SIGNOFF_", "PYTEST_"))}
    return inherited | {"PYTHONPATH": str(ROOT)}
