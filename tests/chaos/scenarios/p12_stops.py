"""Graceful stop: who is told to stop in the middle of a step ends it, or hands it to somebody else in time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tests.chaos.faults import Faults
from tests.chaos.load import Load
from tests.chaos.plant import FLOWS, QUICK, Plant, Watched, wait_for
from tests.chaos.registry import Arena, Outcome, Size, Tier, scenario
from tests.chaos.workload import Item, Wish
from tests.servers import eventually

PROMISED_SECONDS = 30.0
WISHES = {Wish.APPROVE: 3, Wish.EDIT: 1}
POOLS = ("prefork", "threads")
"""There are workers of each, and what stops one leaves the others, which go on meanwhile."""
LINGER_MS = (150, 600)
BUSY = 10
"""Runs that are on their way when a worker is told to stop."""
MID_STEP_SECONDS = 10.0
MODULES = {"SIGNOFF_MODULES": f"{FLOWS},tests.chaos.flows_held"}
LONG_STEP_MS = 45_000
"""Longer than a worker may take to end by its settings, and than anybody is to wait for its step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lingering(Item):
    """An item whose effect takes so long."""

    linger_ms: int

    @property
    def workflow(self) -> str:
        return "lingering"

    @property
    def input(self) -> dict[str, int]:
        return {"item": self.number, "amount": self.amount, "linger_ms": self.linger_ms}


def lingering(arena: Arena, count: int, shortest_ms: int, longest_ms: int) -> list[Item]:
    """So many, by the seed."""
    return [
        Lingering(
            number=item.number,
            wish=item.wish,
            amount=item.amount,
            edited=item.edited,
            linger_ms=arena.draw.randint(shortest_ms, longest_ms),
        )
        for item in arena.items(count, shares=WISHES)
    ]


@scenario(
    promise=12,
    title="graceful stop: the step is finished",
    sizes={Tier.CI: Size(tries=6, faults=6), Tier.LONG: Size(tries=200, faults=200)},
)
def finished(arena: Arena) -> Outcome:
    """SIGTERM to a worker in the middle of an effect, prefork and threads by turns, while others start and decide.

    Every step here is shorter than the time a worker takes, so none may be begun twice: the receiver is asked once.
    """
    settings = QUICK | MODULES | {"SIGNOFF_LEASE_SECONDS": "5", "SIGNOFF_CONCURRENCY": "3"}
    plant = _plant(arena, settings, POOLS * 2)
    faults, load = arena.faults(plant), arena.load(plant, window=BUSY)
    problems: list[str] = []
    turns: Counter[str] = Counter()
    with load.running():
        for at in range(arena.size.tries * 2):
            if faults.injected >= arena.size.faults or problems:
                break
            load.add(lingering(arena, BUSY - (len(load.items) - len(load.ended)), *LINGER_MS))
            pool = min(POOLS, key=lambda each: faults.counts[f"stop mid-step, {each}"])
            # Of the two of this pool the one that was not stopped last: the other may still be starting.
            turns[pool] += 1
            number = POOLS.index(pool) + 1 + len(POOLS) * (turns[pool] % 2)
            problems += _stop(plant, faults, load, plant.processes[f"worker-{number}"], pool)
            if at % 20 == 19:
                arena.say(f"{faults.injected} stops, {len(load.ended)} runs ended")
        load.wait()
    if plant.ledger.repeated():
        problems.append(f"{plant.ledger.repeated()} effects were asked for again")
    return arena.judged([load], faults, tried=faults.injected, problems=problems, recover=PROMISED_SECONDS)


@scenario(
    promise=12,
    title="graceful stop: the step is handed back",
    sizes={Tier.CI: Size(tries=2, faults=2), Tier.LONG: Size(tries=8, faults=8)},
)
def handed_back(arena: Arena) -> Outcome:
    """The same with an effect that takes longer than a worker may, and the times of an install that sets none: another
    worker has it within the promised time, under the same key.
    """
    half = arena.size.tries // 2
    # Each of the two that will stop has room for its half of them and no more.
    settings = MODULES | {"SIGNOFF_CONCURRENCY": str(half)}
    plant = _plant(arena, settings, (*POOLS, "prefork"))
    faults, load = arena.faults(plant), arena.load(plant, window=arena.size.tries)
    *stopping, successor = (plant.processes[f"worker-{at + 1}"] for at in range(3))
    with load.running():
        successor.held = True
        successor.kill()
        load.add(lingering(arena, arena.size.tries, LONG_STEP_MS, LONG_STEP_MS))
        eventually(lambda: _in_hand(plant, stopping) == arena.size.tries, seconds=60, why="all of them are in a step")
        began = time.monotonic()
        for watched in stopping:
            watched.held = True
            os.kill(watched.pid, signal.SIGTERM)
        successor.held = False
        for at in range(arena.size.tries):
            if not wait_for(lambda at=at: plant.ledger.repeated() > at, seconds=2 * PROMISED_SECONDS):  # type: ignore[misc]
                break
            load.note_recovery(time.monotonic() - began)
            faults.counts["stop mid-step"] += 1
        left = max(0.0, began + PROMISED_SECONDS - time.monotonic())
        wait_for(lambda: not any(watched.alive for watched in stopping), seconds=left)
        problems = [f"{watched.name} has not ended" for watched in stopping if watched.alive]
        load.add([])  # Nothing could end until now, which is no standstill.
        load.wait()
    return arena.judged([load], faults, tried=arena.size.tries, problems=problems, recover=PROMISED_SECONDS)


def _plant(arena: Arena, settings: Mapping[str, str], pools: tuple[str, ...]) -> Plant:
    """A plant whose workers have these pools."""
    plant = arena.plant(settings, workers=len(pools))
    for at, pool in enumerate(pools):
        watched = plant.processes[f"worker-{at + 1}"]
        if watched.environment.get("SIGNOFF_POOL", "prefork") != pool:
            watched.environment["SIGNOFF_POOL"] = pool
            starts = watched.starts
            os.killpg(watched.pid, signal.SIGKILL)
            eventually(lambda watched=watched, starts=starts: watched.starts > starts, seconds=30)  # type: ignore[misc]
    return plant


def _stop(plant: Plant, faults: Faults, load: Load, watched: Watched, pool: str) -> list[str]:
    """Tell one to stop while it is in a step, and see how it ends. It is started again as by an init."""
    ready = plant.folder / f"{watched.name}.ready"
    if not wait_for(lambda: ready.exists() and ready.read_text() == str(watched.pid), seconds=60):
        return [f"{watched.name} was not ready"]
    if not wait_for(lambda: _in_hand(plant, [watched]) or load.done, seconds=MID_STEP_SECONDS):
        return []
    stopped: subprocess.Popen[bytes] | None = watched.process
    assert stopped is not None
    with load.recovering():
        mid_step = _in_hand(plant, [watched]) > 0
        os.kill(stopped.pid, signal.SIGTERM)
    began = time.monotonic()
    if not wait_for(lambda: stopped.poll() is not None, seconds=PROMISED_SECONDS):
        return [f"a worker of {pool} has not ended in {PROMISED_SECONDS:g} s"]
    if stopped.returncode != 0:
        return [f"a worker of {pool} ended with {stopped.returncode} after {time.monotonic() - began:.1f} s"]
    if mid_step:
        faults.counts[f"stop mid-step, {pool}"] += 1
    return []


def _in_hand(plant: Plant, workers: list[Watched]) -> int:
    """How many lingering steps these are in at this moment."""
    pids = [pid for watched in workers for pid in (watched.pid, *watched.children())]
    return sum(len(list(plant.folder.glob(f"at-{pid}-*"))) for pid in pids)
