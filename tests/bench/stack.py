"""The processes a measurement runs against: real servers, our workers, beat and API."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from signoff.engine import Engine, build_engine
from signoff.identity import Principal
from signoff.settings import Settings
from signoff.store.identity import create_api_key, create_principal
from tests import servers
from tests.bench.timed import REVIEWERS

ROOT = Path(__file__).resolve().parents[2]
MODULES = "tests.bench.timed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Running servers, and what it takes to talk to them. `threads` are those of each worker of a pool of threads."""

    engine: Engine
    database_url: str
    broker_url: str
    api_port: int
    requester: Principal
    reviewer: Principal
    requester_key: str
    reviewer_key: str
    workers: list[subprocess.Popen[bytes]]
    threads: int
    environment: dict[str, str]
    logs: Path
    parts: dict[str, list[int]]
    """Process ids by what they are part of; each stands for its descendants too."""


@contextlib.contextmanager
def stack(*, pool: str, workers: int, threads: int = 4, without: str = "") -> Iterator[Stack]:
    """Everything started and ready; stopped at the end.

    `workers` processes take part: the children of one worker with prefork, a worker each with threads. `without` names
    what the workers do without: see `without`.
    """
    with contextlib.ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="signoff-bench-")))
        postgres = undo.enter_context(servers.postgres(folder / "pg"))
        postgres.migrate_template()
        database_url = postgres.create(template=servers.TEMPLATE)
        broker_url = undo.enter_context(servers.valkey(folder / "vk"))
        engine = build_engine(Settings(database_url=database_url, broker_url=broker_url))  # type: ignore[arg-type]
        undo.callback(engine.close)
        requester, reviewer = people(engine)
        environment = process_environment(folder, database_url, broker_url) | {
            "SIGNOFF_POOL": pool,
            "SIGNOFF_CONCURRENCY": str(workers if pool == "prefork" else threads),
            "BENCH_WITHOUT": without,
        }
        started = [
            undo.enter_context(worker(folder, environment, number))
            for number in range(1 if pool == "prefork" else workers)
        ]
        beat = undo.enter_context(
            process([sys.executable, "-m", "signoff_workers", "beat"], environment, folder / "beat.log")
        )
        served = undo.enter_context(api(folder, environment))
        for number in range(len(started)):
            _wait((folder / f"ready-{number}").exists, folder / f"worker-{number}.log")
        yield Stack(
            engine=engine,
            database_url=database_url,
            broker_url=broker_url,
            api_port=int(environment["SIGNOFF_API_PORT"]),
            requester=requester,
            reviewer=reviewer,
            requester_key=create_api_key(engine.database, requester.name),
            reviewer_key=create_api_key(engine.database, reviewer.name),
            workers=started,
            threads=threads,
            environment=environment,
            logs=folder,
            parts={
                "api": [served.pid],
                "workers": [each.pid for each in started],
                "beat": [beat.pid],
                "database": [postgres.pid],
            },
        )


def people(engine: Engine) -> tuple[Principal, Principal]:
    """Who starts the runs, and who decides on them."""
    return (
        create_principal(engine.database, name="bench-requester", kind="service", roles=["requester"]),
        create_principal(engine.database, name="bench-reviewer", kind="user", groups=[REVIEWERS], roles=["reviewer"]),
    )


def process_environment(folder: Path, database_url: str, broker_url: str) -> dict[str, str]:
    """What our processes are told: where the servers are, and the workflows; all else as it comes."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SIGNOFF_")}
    return inherited | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "examples")]),
        "SIGNOFF_DATABASE_URL": database_url,
        "SIGNOFF_BROKER_URL": broker_url,
        "SIGNOFF_MODULES": MODULES,
        "SIGNOFF_API_PORT": str(servers.free_port()),
        "SIGNOFF_LOG_LEVEL": "WARNING",
        "SIGNOFF_HOME": str(folder / "home"),
    }


@contextlib.contextmanager
def worker(folder: Path, environment: dict[str, str], number: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """One of our workers, which makes `ready-NUMBER` in the folder when it is."""
    own = environment | {"SIGNOFF_READY_FILE": str(folder / f"ready-{number}")}
    module = "tests.bench.without" if environment.get("BENCH_WITHOUT") else "signoff_workers"
    with process([sys.executable, "-m", module, "worker"], own, folder / f"worker-{number}.log") as started:
        yield started


@contextlib.contextmanager
def api(folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The API, once it answers."""
    port = int(environment["SIGNOFF_API_PORT"])
    with process([sys.executable, "-m", "signoff_api"], environment, folder / "api.log") as started:
        _wait(lambda: _listens(port), folder / "api.log")
        yield started


@contextlib.contextmanager
def process(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a process group of its own, ended by SIGTERM and, if need be, SIGKILL."""
    with log.open("wb") as out:
        child = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGCONT)
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(5)


@contextlib.contextmanager
def frozen(*children: subprocess.Popen[bytes]) -> Iterator[None]:
    """The children and theirs stand still meanwhile, so that work can pile up before it is measured."""
    for child in children:
        os.killpg(child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for child in children:
            os.killpg(child.pid, signal.SIGCONT)


def _wait(ready: Callable[[], bool], log: Path) -> None:
    try:
        servers.eventually(ready, seconds=30)
    except AssertionError as error:
        said = log.read_text(errors="replace")[-600:]
        raise AssertionError(f"not ready within 30 s; {log.name} ends with: {said}") from error


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
