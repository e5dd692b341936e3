"""Measures the peers: each in processes of its own, told what to do by lines of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.bench import servers_of_peers as places
from tests.bench.figures import ROUNDS, WARM_UP, Absent, Found, Subject, percentile, say, sized
from tests.bench.installing import NotInstalled, python_of
from tests.bench.servers_of_peers import Server
from tests.bench.stack import ROOT
from tests.bench.timed import STEPS
from tests.bench.usage import cpu_seconds, own_memory, own_memory_alone

MAIN_WORKERS = 2
"""With so many processes everything is measured; with others, only throughput."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A peer: its settings, where it stores its state, and whether one client has several processes behind it."""

    name: str
    settings: tuple[str, ...]
    server: Callable[[Path], AbstractContextManager[Server]]
    one_client: bool = False


RIVALS = (
    Rival(name="restate", settings=("default",), server=places.restate, one_client=True),
    Rival(name="langgraph", settings=("default", "exit"), server=places.postgres),
    Rival(name="dbos", settings=("threads", "async"), server=places.postgres),
    Rival(name="temporal", settings=("default",), server=places.temporal),
)


class Ended(Exception):
    """A process of a peer has ended before it was told to, or has waited too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured: seconds of one measurement, repeats, samples of a latency, runs that are parked."""

    seconds: float
    repeats: int
    samples: int
    parked: int


def measure(rival: Rival, workers: list[int], effort: Effort, found: Found) -> None:
    """All settings of a peer; one that can't be measured is told to be absent, and why."""
    try:
        python = python_of(rival.name)
    except NotInstalled as error:
        _missing(found, rival.name, str(error))
        return
    for setting in rival.settings:
        for count in workers:
            try:
                found.rows += _setting(rival, setting, count, python, effort).rows()
            except (Ended, NotInstalled, SystemExit, AssertionError) as error:
                _missing(found, f"{rival.name}, {setting}, {count} processes", str(error))


def _missing(found: Found, who: str, why: str) -> None:
    say(f"  {who} is absent: {why}")
    found.absent.append(Absent(who=who, why=why))


def _setting(rival: Rival, setting: str, workers: int, python: Path, effort: Effort) -> Subject:
    subject = Subject(who=rival.name, setting=setting, workers=workers)
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name,
        contextlib.ExitStack() as undo,
    ):
        folder = Path(name)
        began = time.perf_counter()
        server = undo.enter_context(rival.server(folder))
        count = 1 if rival.one_client else workers
        environment = os.environ | server.environment | {
            "PYTHONPATH": str(ROOT),
            "BENCH_FOLDER": str(folder),
            "BENCH_SETTING": setting,
            "BENCH_WORKERS": str(workers),
        }  # fmt: skip
        group = undo.enter_context(_group(rival.name, python, environment, folder, count))
        group.park(1)
        group.decide(1)
        subject.add("startup", "s", time.perf_counter() - began)
        _throughput(group, subject, effort)
        if workers == MAIN_WORKERS:
            _idle(group, subject, effort.samples)
            _at_rest(group, subject, server, effort)
    subject.say()
    return subject


def _throughput(group: Group, subject: Subject, effort: Effort) -> None:
    plain_rate, park_rate, decide_rate = _timed(group.plain, 16), _timed(group.park, 32), _timed(group.decide, 32)
    plain_rate = _timed(group.plain, sized(plain_rate, 1, least=10, most=300))
    for _ in range(effort.repeats):
        count = sized(plain_rate, effort.seconds, least=16, most=6_000)
        used = cpu_seconds()
        plain_rate = _timed(group.plain, count)
        subject.add("steps", "steps/s", plain_rate * STEPS)
        subject.add("steps cpu", "ms/step", (cpu_seconds() - used) * 1000 / (count * STEPS))
        count = sized(min(park_rate, decide_rate), effort.seconds, least=16, most=6_000)
        used = cpu_seconds()
        park_rate, decide_rate = _timed(group.park, count), _timed(group.decide, count)
        subject.add("park", "runs/s", park_rate)
        subject.add("decide", "runs/s", decide_rate)
        subject.add("cpu", "ms/run", (cpu_seconds() - used) * 1000 / count)


def _idle(group: Group, subject: Subject, samples: int) -> None:
    taken = group.idle(samples + WARM_UP)[WARM_UP:]
    for index, measure_name in enumerate(("hop", "answer")):
        values = [each[index] for each in taken]
        subject.add(f"{measure_name} p50", "ms", percentile(values, 0.5))
        subject.add(f"{measure_name} p95", "ms", percentile(values, 0.95))


def _at_rest(group: Group, subject: Subject, server: Server, effort: Effort) -> None:
    count = sized(max(subject.values["park", "runs/s"]), 15, least=50, most=effort.parked) // ROUNDS
    stored = server.stored()
    for _ in range(ROUNDS):
        held = own_memory() - own_memory_alone()
        group.park(count)
        taken = own_memory() - own_memory_alone() - held
        subject.add("memory", "bytes/run", max(0.0, taken / count))
    subject.add("disk", "bytes/run", (server.stored() - stored) / (count * ROUNDS))


def _timed(call: Callable[[int], None], count: int) -> float:
    began = time.perf_counter()
    call(count)
    return count / (time.perf_counter() - began)


class Group:
    """The processes of a peer, of which each does its share."""

    def __init__(self, log: Path) -> None:
        self._children: list[subprocess.Popen[str]] = []
        self._log = log
        self._parked = 0
        self._done = 0

    def add(self, child: subprocess.Popen[str]) -> None:
        """One more process, once it is ready. Raises Ended."""
        self._children.append(child)
        self._answer(child)

    def close(self) -> None:
        """Each ends when nobody can tell it anything any more."""
        for child in self._children:
            with contextlib.suppress(OSError):
                _open(child.stdin).close()
        for child in self._children:
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def park(self, count: int) -> None:
        self._parked += count
        self._all("park", count, self._parked)

    def decide(self, count: int) -> None:
        self._done += count
        self._all("decide", count, self._done)

    def plain(self, count: int) -> None:
        self._done += count
        self._all("plain", count, self._done)

    def idle(self, count: int) -> list[list[float]]:
        """Milliseconds from request and from answer to the next step, of as many decisions as are asked for."""
        self._parked += count
        self._done += count
        self._tell(self._children[0], do="idle", count=count)
        hops: list[list[float]] = self._answer(self._children[0])["hops"]
        return hops

    def _all(self, do: str, count: int, until: int) -> None:
        # Each decides as many as it parked, because the shares of equal counts are equal.
        shares = [count // len(self._children)] * len(self._children)
        for index in range(count % len(self._children)):
            shares[index] += 1
        for child, share in zip(self._children, shares, strict=True):
            self._tell(child, do=do, count=share, until=until)
        for child in self._children:
            self._answer(child)

    def _tell(self, child: subprocess.Popen[str], **said: object) -> None:
        try:
            _open(child.stdin).write(json.dumps(said) + "\n")
            _open(child.stdin).flush()
        except OSError as error:
            raise Ended(self._last_words()) from error

    def _answer(self, child: subprocess.Popen[str]) -> dict[str, Any]:
        line = _open(child.stdout).readline()
        if not line:
            raise Ended(self._last_words())
        told: dict[str, Any] = json.loads(line)
        return told

    def _last_words(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it ended without a word"


@contextlib.contextmanager
def _group(name: str, python: Path, environment: dict[str, str], folder: Path, count: int) -> Iterator[Group]:
    log = folder / "peer.log"
    group = Group(log)
    try:
        with log.open("ab") as out:
            for number in range(count):
                # One after the other: the first one makes the tables.
                group.add(
                    subprocess.Popen(
                        [str(python), "-m", f"tests.bench.peers.{name}"],
                        env=environment | {"BENCH_NUMBER": str(number)},
                        cwd=ROOT,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=out,
                        text=True,
                    )
                )
        yield group
    finally:
        group.close()


def _open(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
