"""What is done to a plant. Each fault is counted once it has been seen to happen, and not before."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import servers
from tests.chaos.plant import Plant, Watched, wait_for

SEEN_SECONDS = 10.0
STILL_SECONDS = 0.5
"""How long workers stand still at most: shorter than any lease."""


@dataclass(kw_only=True)
class Faults:
    """The faults of one scenario. Every method answers whether the fault happened."""

    plant: Plant
    draw: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    armed: Counter[str] = field(default_factory=Counter)
    """How often each failpoint was armed; those that acted are in `counts`, as `NAME=ACTION`."""

    @property
    def injected(self) -> int:
        return self.counts.total()

    def do(self, kind: str) -> bool:
        """The fault of this name: one of the methods below that take nothing, `freeze_broker:SECONDS` and the like."""
        name, _, seconds = kind.partition(":")
        method = getattr(self, name)
        return bool(method(float(seconds)) if seconds else method())

    # Processes --------------------------------------------------------------------------------------------------------

    def kill_worker_child(self) -> bool:
        return self._kill_child(self._one("worker"), "kill_worker_child")

    def kill_worker(self) -> bool:
        """With its pool, as a machine that is gone."""
        return self._kill_group(self._one("worker"), "kill_worker")

    def kill_api_child(self) -> bool:
        return self._kill_child(self._one("api"), "kill_api_child")

    def kill_api(self) -> bool:
        return self._kill_group(self._one("api"), "kill_api")

    def kill_beat(self) -> bool:
        return self._kill_group(self._one("beat"), "kill_beat")

    def kill_one(self, watched: Watched, kind: str) -> bool:
        """This one with all its processes, as a fault of this kind."""
        return self._kill_group(watched, kind)

    def freeze_worker(self, seconds: float) -> bool:
        """SIGSTOP to it and its pool, and SIGCONT after so long: longer than a lease, and it is a zombie."""
        watched = self._one("worker")
        pids = [watched.pid, *watched.children()]
        self._signal(pids, signal.SIGSTOP)
        time.sleep(seconds)
        self._signal(pids, signal.SIGCONT)
        return self._seen("freeze_worker", len(pids) > 1)

    # The broker -------------------------------------------------------------------------------------------------------

    def wipe_broker(self) -> bool:
        """FLUSHALL while messages wait."""
        with self._piling(1) as waits:
            servers.flush(self.plant.broker.url)
        return self._seen("wipe_broker", waits)

    def pile_up(self, count: int) -> bool:
        """Let so many messages wait, and then go on: no fault, and not counted as one."""
        with self._piling(count) as waits:
            return waits

    @contextlib.contextmanager
    def _piling(self, count: int) -> Iterator[bool]:
        """The workers stand still for a moment, so that messages wait; whether so many do."""
        pids = [pid for watched in self.plant.of_kind("worker") for pid in (watched.pid, *watched.children())]
        self._signal(pids, signal.SIGSTOP)
        try:
            yield wait_for(lambda: self._runs_queued() >= count, seconds=STILL_SECONDS)
        finally:
            self._signal(pids, signal.SIGCONT)

    def _runs_queued(self) -> int:
        held = self.plant.broker.held()
        return sum(held.get(queue, 0) for queue in ("signoff.default", "signoff.resume"))

    def kill_broker(self) -> bool:
        """SIGKILL; it comes back with whatever it had on disk."""
        self.plant.broker.kill()
        self.plant.broker.start()
        return self._seen("kill_broker", True)

    def lose_broker(self) -> bool:
        """SIGKILL, and it comes back with nothing, as on a new machine."""
        self.plant.broker.kill()
        self.plant.broker.start()
        servers.flush(self.plant.broker.url)
        return self._seen("lose_broker", True)

    def freeze_broker(self, seconds: float) -> bool:
        assert self.plant.broker.server is not None
        pid = self.plant.broker.server.pid
        self._signal([pid], signal.SIGSTOP)
        time.sleep(seconds)
        self._signal([pid], signal.SIGCONT)
        return self._seen("freeze_broker", True)

    def reset_broker(self) -> bool:
        """Every connection to it ends by an RST."""
        return self._seen("reset_broker", self.plant.broker_wire.cut() > 0)

    def silence_broker(self, seconds: float) -> bool:
        """Its connections are open and lead nowhere."""
        count = self.plant.broker_wire.fall_silent()
        time.sleep(seconds)
        self.plant.broker_wire.speak()
        return self._seen("silence_broker", count > 0)

    def slow_broker(self, seconds: float) -> bool:
        self.plant.broker_wire.delay_seconds = 0.05
        time.sleep(seconds)
        self.plant.broker_wire.delay_seconds = 0.0
        return self._seen("slow_broker", True)

    # The database -----------------------------------------------------------------------------------------------------

    def restart_database(self) -> bool:
        """Immediate mode: no goodbye, no checkpoint, and what was committed is read back from its log."""
        self.plant.postgres.stop()
        self.plant.postgres.start()
        return self._seen("restart_database", True)

    def reset_database(self) -> bool:
        return self._seen("reset_database", self.plant.database_wire.cut() > 0)

    def unplug_database(self, seconds: float) -> bool:
        """Connections are refused for a while."""
        count = self.plant.database_wire.unplug()
        time.sleep(seconds)
        self.plant.database_wire.plug_in()
        return self._seen("unplug_database", count > 0)

    def silence_database(self, seconds: float) -> bool:
        """Its connections are open and lead nowhere, as those to a machine that hangs."""
        count = self.plant.database_wire.fall_silent()
        time.sleep(seconds)
        self.plant.database_wire.speak()
        return self._seen("silence_database", count > 0)

    # Failpoints -------------------------------------------------------------------------------------------------------

    def arm(self, point: str, action: str, nth: int = 1) -> None:
        """The Nth process that comes by this point acts."""
        path = self.plant.failpoints / point
        self.disarm(point)
        made = path.with_name(f"{point}.new")
        made.write_text(f"{action} {nth}")
        made.rename(path)
        self.armed[point] += 1

    def has_fired(self, point: str) -> bool:
        """Whether it has acted; not counted yet."""
        return (self.plant.failpoints / f"{point}.fired").exists()

    def fired(self, point: str) -> float | None:
        """When it acted, by the wall clock; None while it has not. Counted at the first time of asking."""
        path = self.plant.failpoints / f"{point}.fired"
        try:
            words = path.read_text().split()
        except FileNotFoundError:
            return None
        if len(words) < 3:
            return None
        path.unlink()
        self.counts[point] += 1
        return float(words[1])

    def disarm(self, point: str) -> None:
        for name in (point, f"{point}.fired"):
            with contextlib.suppress(FileNotFoundError):
                (self.plant.failpoints / name).unlink()

    # ------------------------------------------------------------------------------------------------------------------

    def _one(self, kind: str) -> Watched:
        alive = [watched for watched in self.plant.of_kind(kind) if watched.alive]
        return self.draw.choice(alive or self.plant.of_kind(kind))

    def _kill_child(self, watched: Watched, kind: str) -> bool:
        wait_for(watched.children, seconds=SEEN_SECONDS)
        children = watched.children()
        if not children:
            return False
        victim = self.draw.choice(children)
        self._signal([victim], signal.SIGKILL)
        return self._seen(kind, wait_for(lambda: not is_alive(victim), seconds=SEEN_SECONDS))

    def _kill_group(self, watched: Watched, kind: str) -> bool:
        before, victim = watched.starts, watched.pid
        with contextlib.suppress(ProcessLookupError):
            os.killpg(victim, signal.SIGKILL)
        return self._seen(kind, wait_for(lambda: watched.starts > before, seconds=SEEN_SECONDS))

    def _signal(self, pids: list[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _seen(self, kind: str, happened: bool) -> bool:
        if happened:
            self.counts[kind] += 1
        return happened


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
