"""A zombie can't write: who stands still past its lease is succeeded, and what it says on waking is refused."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from tests.chaos.faults import Faults, is_alive
from tests.chaos.load import Load
from tests.chaos.plant import FLOWS, QUICK, Plant, wait_for
from tests.chaos.registry import LOSE_EVERY, Arena, Outcome, Size, Tier, scenario
from tests.chaos.workload import Item, Wish

POINTS = ("claim.after_update", "effect.before_call", "effect.after_call", "complete.before_update")
"""Where a process that holds a run falls asleep. At each of them it has something to say when it wakes."""
BATCH = 24
"""Runs of one round: enough for a process to hold several when it falls asleep."""
SETTINGS = QUICK | {"SIGNOFF_MODULES": f"{FLOWS},tests.chaos.flows_held", "SIGNOFF_CONCURRENCY": "4"}
WISHES = {Wish.APPROVE: 3, Wish.EDIT: 1}
ASLEEP_SECONDS = 5.0
SUCCEEDED_SECONDS = 30.0
SAID_SECONDS = 3.0
STALE_SECONDS = 0.1
"""How long a run is watched after a zombie has spoken of it."""
REFUSED = re.compile(r"result_refused|claim_too_old|failure_not_recorded")
_HEAD = (
    "SELECT id::text, status, epoch, worker, seq, hash, node, outcome FROM runs WHERE id = ANY(%s::uuid[]) ORDER BY id"
)


class Haunted(Item):
    """An item whose steps can be made to stand still."""

    @property
    def workflow(self) -> str:
        return "haunted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Zombie:
    """A process that sleeps, and the runs it holds, or held."""

    pid: int
    point: str
    runs: tuple[str, ...]
    logged: dict[str, int]
    """How long the workers' logs were when it fell asleep."""


@scenario(
    promise=7,
    title="a zombie can't write",
    sizes={Tier.CI: Size(tries=36, faults=36), Tier.LONG: Size(tries=500, faults=500)},
)
def zombies(arena: Arena) -> Outcome:
    """Up to four processes of two pools sleep at once. One wakes while its successor is in the same step, the next when
    its runs have ended, by turns. In every other round the runs pile up first, and are taken together.

    A try is a zombie that woke and spoke of a run that is no longer its own.
    """
    plant = arena.plant(SETTINGS, workers=2, lose_every=LOSE_EVERY)
    faults, load = arena.faults(plant), arena.load(plant, window=BATCH)
    stale: list[str] = []
    rounds = 0
    with load.running():
        while faults.injected < arena.size.faults and rounds < arena.size.tries and not stale:
            Round(arena, plant, faults, load, rounds, stale).play()
            rounds += 1
            if rounds % 10 == 0:
                arena.say(f"{faults.injected} zombies, {len(load.ended)} runs ended")
    return arena.judged([load], faults, tried=faults.injected, problems=stale)


class Round:
    """A batch of runs; processes that fall asleep over it, are succeeded, and wake."""

    def __init__(self, arena: Arena, plant: Plant, faults: Faults, load: Load, number: int, stale: list[str]) -> None:
        self._arena, self._plant, self._faults, self._load = arena, plant, faults, load
        self._number = number
        self._stale = stale

    def play(self) -> None:
        draw = self._arena.draw
        with self._piled_up() if self._number % 2 else nullcontext():
            for point in POINTS:
                self._faults.arm(point, "freeze", draw.randint(1, BATCH // 2))
            self._load.add(self._batch())
        sleepers: list[Zombie] = []
        try:
            sleepers = self._asleep()
            for at, zombie in enumerate(draw.sample(sleepers, len(sleepers))):
                self._overtaken(zombie) if at % 2 == 0 else self._outlived(zombie)
        finally:
            self._wake([zombie.pid for zombie in sleepers])
            for hold in self._plant.folder.glob("hold-*"):
                hold.unlink(missing_ok=True)
        self._load.wait()

    @contextmanager
    def _piled_up(self) -> Iterator[None]:
        """The workers stand still until all runs of the batch queue, so that each process takes several together."""
        pids = [pid for watched in self._plant.of_kind("worker") for pid in (watched.pid, *watched.children())]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
            wait_for(lambda: len(self._load.started) >= len(self._load.items), seconds=SUCCEEDED_SECONDS)
        finally:
            self._wake(pids)

    def _batch(self) -> list[Item]:
        made = self._arena.items(BATCH, shares=WISHES)
        return [Haunted(number=item.number, wish=item.wish, amount=item.amount, edited=item.edited) for item in made]

    def _asleep(self) -> list[Zombie]:
        """Those who sleep, each counted by what the system says of it."""
        found: list[Zombie] = []
        waiting = set(POINTS)

        def all_asleep() -> bool:
            for point in sorted(waiting):
                path = self._plant.failpoints / f"{point}.fired"
                if self._faults.has_fired(point) and len(words := path.read_text().split()) == 3:
                    waiting.discard(point)
                    found.append(self._zombie(int(words[0]), point))
            return not waiting or self._load.done

        wait_for(all_asleep, seconds=ASLEEP_SECONDS)
        all_asleep()
        for point in POINTS:
            self._faults.disarm(point)
        self._wake([zombie.pid for zombie in found if not zombie.runs])
        return [zombie for zombie in found if zombie.runs]

    def _zombie(self, pid: int, point: str) -> Zombie:
        logged = {name: watched.output.stat().st_size for name, watched in self._plant.processes.items()}
        rows = self._plant.rows(
            "SELECT id::text FROM runs WHERE starts_with(worker, %s) AND status = 'running' ORDER BY id",
            name_of(pid),
        )
        wait_for(lambda: is_stopped(pid), seconds=ASLEEP_SECONDS)
        return Zombie(pid=pid, point=point, runs=tuple(row[0] for row in rows), logged=logged)

    # The two ways of waking -------------------------------------------------------------------------------------------

    def _overtaken(self, zombie: Zombie) -> None:
        """It wakes while its successor is in the step that it was at: the run is running, and not its own."""
        run = self._arena.draw.choice(zombie.runs)
        number = self._item_of(run)
        hold, held = self._plant.folder / f"hold-{number}", self._plant.folder / f"held-{number}"
        made = hold.with_name(f"new-{hold.name}")
        made.write_text(str(zombie.pid))
        made.rename(hold)
        taken = wait_for(lambda: held.exists() or self._ended([run]), seconds=SUCCEEDED_SECONDS)
        if not taken:
            self._stale.append(f"nobody succeeded process {zombie.pid} in run {run}")
        self._woken(zombie, [run], "overtaken")
        hold.unlink()

    def _outlived(self, zombie: Zombie) -> None:
        """It wakes when all of its runs have ended without it."""
        if not wait_for(lambda: self._ended(zombie.runs), seconds=SUCCEEDED_SECONDS):
            self._stale.append(f"nobody ended the runs of process {zombie.pid}, which sleeps")
        self._woken(zombie, zombie.runs, "outlived")

    def _woken(self, zombie: Zombie, runs: Sequence[str], how: str) -> None:
        before = self._heads(runs)
        assert is_stopped(zombie.pid), "a zombie sleeps until it is woken here"
        if any((head[3] or "").startswith(name_of(zombie.pid)) for head in before):
            return  # It lost nothing: what it says is its own.
        self._wake([zombie.pid])
        spoke = wait_for(lambda: self._refused(zombie), seconds=SAID_SECONDS)
        if wait_for(lambda: self._heads(runs) != before, seconds=STALE_SECONDS):
            self._stale.append(
                f"process {zombie.pid}, asleep at {zombie.point}, changed {before} to {self._heads(runs)}"
            )
        elif spoke:
            several = " of several runs" if len(zombie.runs) > 1 else ""
            self._faults.counts[f"{how}{several} at {zombie.point}"] += 1

    # Looking ----------------------------------------------------------------------------------------------------------

    def _refused(self, zombie: Zombie) -> bool:
        """Whether a worker's log says that what came late for one of its runs was refused."""
        for watched in self._plant.of_kind("worker"):
            with watched.output.open(errors="replace") as log:
                log.seek(zombie.logged[watched.name])
                for line in log:
                    if REFUSED.search(line) and any(run in line for run in zombie.runs):
                        return True
        return False

    def _heads(self, runs: Sequence[str]) -> list[tuple[Any, ...]]:
        return self._plant.rows(_HEAD, list(runs))

    def _ended(self, runs: Sequence[str]) -> bool:
        return all(head[1] in ("completed", "failed", "canceled") for head in self._heads(runs))

    def _item_of(self, run: str) -> str:
        return str(self._plant.rows("SELECT labels ->> 'item' FROM runs WHERE id = %s", run)[0][0])

    def _wake(self, pids: Sequence[int]) -> None:
        for pid in pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGCONT)


def name_of(pid: int) -> str:
    """How the worker's name of this process begins."""
    return f"{socket.gethostname()}:{pid}:"


def is_stopped(pid: int) -> bool:
    """Whether a process stands still by a signal."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False
