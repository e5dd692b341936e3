"""The processes a measurement runs against: real servers, our worker, beat and API, and the bare chain's worker."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from signoff.engine import Engine, build_engine
from signoff.identity import Principal
from signoff.settings import Settings
from signoff.store.identity import create_api_key, create_principal
from tests import servers

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Running servers, and what it takes to talk to them."""

    engine: Engine
    broker_url: str
    api_port: int
    requester: Principal
    reviewer_key: str
    worker: subprocess.Popen[bytes]
    environment: dict[str, str]
    logs: Path


@contextlib.contextmanager
def stack(*, pool: str, concurrency: int) -> Iterator[Stack]:
    """Everything started and ready; stopped at the end."""
    with contextlib.ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="signoff-bench-")))
        postgres = undo.enter_context(servers.postgres(folder / "pg"))
        postgres.migrate_template()
        database_url = postgres.create(template=servers.TEMPLATE)
        broker_url = undo.enter_context(servers.valkey(folder / "vk"))
        settings = Settings(database_url=database_url, broker_url=broker_url)  # type: ignore[arg-type]
        engine = build_engine(settings)
        undo.callback(engine.close)
        requester = create_principal(engine.database, name="bench-requester", kind="service", roles=["requester"])
        create_principal(
            engine.database,
            name="bench-reviewer",
            kind="user",
            groups=["bench", "support-leads"],
            roles=["reviewer"],
        )
        port = servers.free_port()
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "examples")]),
            "SIGNOFF_DATABASE_URL": database_url,
            "SIGNOFF_BROKER_URL": broker_url,
            "SIGNOFF_MODULES": "refund,tests.bench.timed",
            "SIGNOFF_POOL": pool,
            "SIGNOFF_CONCURRENCY": str(concurrency),
            "SIGNOFF_API_PORT": str(port),
            "SIGNOFF_LOG_LEVEL": "WARNING",
            "SIGNOFF_HOME": str(folder / "home"),
            "BENCH_BROKER_URL": broker_url.replace("virtual_host=0", "virtual_host=1"),
        }
        ready = folder / "ready"
        worker = undo.enter_context(
            process(
                [sys.executable, "-m", "signoff_workers", "worker"],
                environment | {"SIGNOFF_READY_FILE": str(ready)},
                folder / "worker.log",
            )
        )
        undo.enter_context(process([sys.executable, "-m", "signoff_workers", "beat"], environment, folder / "beat.log"))
        undo.enter_context(process([sys.executable, "-m", "signoff_api"], environment, folder / "api.log"))
        servers.eventually(ready.exists, seconds=30, why="the worker did not start")
        servers.eventually(lambda: _listens(port), seconds=30, why="the API did not start")
        yield Stack(
            engine=engine,
            broker_url=broker_url,
            api_port=port,
            requester=requester,
            reviewer_key=create_api_key(engine.database, "bench-reviewer"),
            worker=worker,
            environment=environment,
            logs=folder,
        )


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
def frozen(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """The child and its children stand still meanwhile, so that work can pile up before it is measured."""
    os.killpg(child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(child.pid, signal.SIGCONT)


def _listens(port: int) -> bool:
    import socket

    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
