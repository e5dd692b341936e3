"""One gate, one outcome: a person approves, one rejects, one cancels and the clock strikes, all at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg

from signoff.embedded.places import prepare_home, socket_directory
from signoff.embedded.processes import kill_group, launch
from tests.chaos.oracle import CHECK_INVARIANTS, Judgement
from tests.chaos.plant import ROOT
from tests.chaos.racer import PARTIES, made_engine
from tests.chaos.registry import Arena, Outcome, Size, Tier, scenario
from tests.integration.workers.brokers import Postgres

LEAST_SHARE = 0.01
"""Each of the four wins at least so many: a race in which somebody never does is none."""
MUTANT_RACES = 100
"""With a guard out it shows soon, or never."""
LOOK_SECONDS = 2.0
STALL_SECONDS = 60.0
OUTPUT = "racer.log"

ENDS = """
SELECT run_id::text, type, data ->> 'decided_by', data ->> 'outcome', data -> 'decision_ids' ->> 0
FROM events WHERE type IN ('gate.decided', 'run.canceled')
"""


@scenario(
    promise=2,
    title="one gate, one outcome",
    sizes={
        Tier.CI: Size(tries=500, faults=475),
        Tier.LONG: Size(tries=10_000, faults=9_500),
    },
)
def outcomes(arena: Arena) -> Outcome:
    """Races for a gate through engines in four processes on one PostgreSQL. A fault is a race in which at least two
    were at it at the same moment: those are what is counted.
    """
    folder = arena.stage.folder / "races"
    folder.mkdir()
    with _postgres(folder) as database_url:
        races = _raced(arena, folder, database_url)
        judgement = Judgement()
        winners = _judged(_asked(database_url, ENDS), races, judgement)
        _check_database(database_url, judgement)
    if "sweep_row_failed" in (folder / OUTPUT).read_text():
        judgement.wrong.append("a sweep has found a gate that it could not move")
    problems = []
    wanted = arena.size.faults * _tries(arena) // arena.size.tries
    if len(races) < _tries(arena):
        problems.append(f"{len(races)} races were run, and {_tries(arena)} are asked for")
    if contested(races) < wanted:
        problems.append(f"{contested(races)} races were contested, and {wanted} are asked for")
    problems += [
        f"{party} won {winners[party]} of {len(races)} races"
        for party in PARTIES
        if winners[party] < LEAST_SHARE * len(races)
    ]
    details = ", ".join(f"{party} won {count}" for party, count in sorted(winners.items()))
    return arena.outcome(
        judgement, tried=len(races), injected=contested(races), worst=None, problems=problems, details=details
    )


def _tries(arena: Arena) -> int:
    return arena.size.tries if arena.stage.mutant is None else MUTANT_RACES


def contested(races: Sequence[dict[str, Any]]) -> int:
    """In how many of them at least two were at it at the same moment."""
    count = 0
    for race in races:
        spans = sorted((race[party]["began"], race[party]["ended"]) for party in PARTIES)
        count += any(later[0] < earlier[1] for earlier, later in pairwise(spans))
    return count


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    """A server for these races alone: no worker and no other clock is about."""
    home = prepare_home(folder / "pg")
    postgres = Postgres(home=home, sockets=socket_directory(home))
    try:
        postgres.start()
        yield postgres.migrated()
    finally:
        postgres.close()


def _raced(arena: Arena, folder: Path, database_url: str) -> list[dict[str, Any]]:
    """What the racers noted. Their process may be one without a guard; this one is not."""
    notes, output = folder / "notes.jsonl", folder / OUTPUT
    notes.touch()
    module = "tests.chaos.racer"
    start = [module] if arena.stage.mutant is None else ["tests.chaos.mutated", arena.stage.mutant, module]
    command = [sys.executable, "-m", *start, database_url, str(_tries(arena)), str(arena.seed), str(notes)]
    with output.open("wb") as log:
        process = launch(command, output=log, env=_environment())
    try:
        _watch(arena, process, notes)
    finally:
        kill_group(process)
    if process.returncode:
        raise AssertionError(f"the racers ended with {process.returncode}: {output.read_text()[-500:]}")
    return [json.loads(line) for line in notes.read_text().splitlines()]


def _watch(arena: Arena, process: subprocess.Popen[bytes], notes: Path) -> None:
    seen, still = 0, 0.0
    while True:
        try:
            process.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            size = notes.stat().st_size
            still = 0.0 if size > seen else still + LOOK_SECONDS
            seen = size
            if still > STALL_SECONDS:
                raise AssertionError(f"no race ended for {STALL_SECONDS:g} s") from None
            continue
        arena.say("all races are run")
        return


def _judged(rows: Sequence[tuple[Any, ...]], races: Sequence[dict[str, Any]], found: Judgement) -> Counter[str]:
    """Who won, by the log; and whether that is what everybody was told."""
    ends: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for run_id, *end in rows:
        ends[run_id].append(tuple(end))
    winners: Counter[str] = Counter()
    for race in races:
        winners[_judge(race, ends[race["run"]], found)] += 1
    return winners


def _judge(race: dict[str, Any], ends: list[tuple[Any, ...]], found: Judgement) -> str:
    name = f"race {race['number']}"
    decided = [end for end in ends if end[0] == "gate.decided"]
    canceled = [end for end in ends if end[0] == "run.canceled"]
    stood = [party for party in ("approve", "reject") if race[party]["told"] == "stands"]
    if len(decided) > 1 or len(canceled) > 1 or len(stood) > 1:
        found.doubled.append(f"{name} has {len(decided)} outcomes, {len(canceled)} ends, and {stood} were told so")
    found.wrong += [f"{name}: {party}: {race[party]['error']}" for party in PARTIES if race[party]["told"] == "error"]
    if not ends:
        found.lost.append(f"{name}: nobody won")
        return "nobody"
    by_people = [end for end in decided if end[1] == "human"]
    if {race[party]["decision_id"] for party in stood} != {end[3] for end in by_people}:
        found.lost.append(f"{name}: {stood} were told that it stands, and the log has {by_people}")
    if (race["cancel"]["told"] == "stands") != bool(canceled):
        found.lost.append(f"{name}: the cancel was told {race['cancel']['told']}, and the log has {len(canceled)}")
    outcome = decided[0][2] if decided else None
    for party in ("approve", "reject"):
        if race[party]["told"] == "conflict" and race[party]["winner"]["outcome"] != outcome:
            found.wrong.append(f"{name}: {party} was told of {race[party]['winner']}, and it is {outcome}")
    if not decided:
        return "cancel"
    return stood[0] if stood else "clock"


def _check_database(database_url: str, found: Judgement) -> None:
    found.wrong += [
        f"{invariant}: run {run_id}, {detail}" for invariant, run_id, detail in _asked(database_url, CHECK_INVARIANTS)
    ]
    engine = made_engine(database_url, pool_size=2)
    try:
        verified = engine.verify()
    finally:
        engine.close()
    if not verified.ok:
        found.wrong.append(f"the log does not verify: {verified.first_bad}")


def _asked(database_url: str, question: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(question).fetchall()


def _environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SIGNOFF_")}
    return inherited | {"PYTHONPATH": str(ROOT)}
