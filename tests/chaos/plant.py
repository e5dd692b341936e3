"""The real processes that a scenario harms: started, watched over and started again, and ended by their ids."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from signoff.embedded.places import prepare_home, socket_directory
from signoff.embedded.processes import kill_group, launch
from signoff.engine import Engine, build_engine
from signoff.settings import Settings
from signoff.store.identity import create_api_key, create_principal
from tests import servers
from tests.chaos.proxy import Proxy
from tests.chaos.receiver import Ledger
from tests.integration.workers.brokers import Postgres, Valkey
from tests.servers import eventually

ROOT = Path(__file__).parents[2]
FLOWS = "tests.chaos.flows"

QUICK: Mapping[str, str] = {
    # Where a promise is about what happens and not how soon, everything that waits waits little.
    "SIGNOFF_LEASE_SECONDS": "1",
    "SIGNOFF_SWEEP_SECONDS": "0.1",
    "SIGNOFF_REPUBLISH_SECONDS": "0.5",
    "SIGNOFF_REPUBLISH_MAX_SECONDS": "1",
}
USUAL: Mapping[str, str] = {}
"""The intervals that an install has which sets none."""

_ALWAYS: Mapping[str, str] = {
    "SIGNOFF_MODULES": FLOWS,
    "SIGNOFF_CONCURRENCY": "2",
    "SIGNOFF_API_WORKERS": "2",
    # No step here is the reason for the deaths of its workers.
    "SIGNOFF_MAX_LOST_LEASES": "100",
    "SIGNOFF_LOG_LEVEL": "WARNING",
    "SIGNOFF_ENVIRONMENT": "test",
}
_PEOPLE: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "admin": ("user", (), ("admin",)),
    "portal": ("service", (), ("requester",)),
    "ana": ("user", ("leads",), ("reviewer",)),
    "ben": ("user", ("leads",), ("reviewer",)),
}
_LOOK_SECONDS = 0.02
READY_SECONDS = 60.0


@dataclass(kw_only=True)
class Watched:
    """A process that is started again when it dies, until somebody says `held`."""

    name: str
    command: list[str]
    environment: dict[str, str]
    output: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    held: bool = False
    """Whoever set this starts it again: nobody else does."""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        with self.output.open("ab") as log:
            self.process = launch(self.command, output=log, env=self.environment)
        self.starts += 1

    def children(self) -> list[int]:
        """The processes of its pool, oldest first."""
        try:
            found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            return []
        return [int(pid) for pid in found]

    def kill(self) -> None:
        """SIGKILL to all of it, and wait for its end."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            kill_group(self.process)


@dataclass(kw_only=True)
class Plant:
    """Everything. `settings` are environment variables beside those that all plants have."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=lambda: QUICK)
    mutant: str | None = None
    workers: int = 1
    lose_every: int = 0
    """Every Nth answer of the receiver gets lost."""
    processes: dict[str, Watched] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._undo = contextlib.ExitStack()
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper")
        self.failpoints = self.folder / "failpoints"
        self.ledger = Ledger(self.folder / "ledger.sqlite")

    def __enter__(self) -> Plant:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything, whatever state it is in."""
        self._ending.set()
        if self._keeper.is_alive():
            self._keeper.join(10)
        for watched in self.processes.values():
            watched.kill()
        self._undo.close()

    # What clients and oracles use -------------------------------------------------------------------------------------

    @property
    def api_port(self) -> int:
        return self._api_port

    def rows(self, question: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the database answers, asked past the wire that faults are done to."""
        with psycopg.connect(self.direct_url, connect_timeout=5) as connection:
            return connection.execute(question, values or None).fetchall()

    def engine(self) -> Engine:
        """An engine past all wires, to verify with; close it."""
        settings = Settings(database_url=self.direct_url, broker_url=self.broker.url)
        return build_engine(settings, pool_size=2)

    def said(self, name: str) -> str:
        """What a process has logged."""
        return self.processes[name].output.read_text(errors="replace")

    def of_kind(self, kind: str) -> list[Watched]:
        """`api`, `beat`, `receiver`, or each of the workers."""
        return [watched for name, watched in self.processes.items() if name.partition("-")[0] == kind]

    def another(self, name: str, *arguments: str) -> Watched:
        """One more worker or beat, started by and for the calling thread, and started again as the others are."""
        made = self._watched(name, "signoff_workers", list(arguments))
        made.start()
        # A new table, because the thread that starts again what has died goes through the old one.
        self.processes = self.processes | {name: made}
        return made

    def serves(self) -> bool:
        """Whether the API says of itself that it is ready."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._api_port}/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    # Starting ---------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.failpoints.mkdir(parents=True)
        home = prepare_home(self.folder / "pg")
        self.postgres = Postgres(home=home, sockets=socket_directory(home))
        self._undo.callback(self.postgres.close)
        self.postgres.start()
        self.direct_url = self.postgres.migrated()
        broker_home = prepare_home(self.folder / "vk")
        self.broker = Valkey(home=broker_home, sockets=socket_directory(broker_home))
        self.broker.start()
        self._undo.callback(self._stop_broker)
        self.database_wire = self._wire(servers_socket(self.direct_url))
        self.broker_wire = self._wire(self.broker.sockets / "broker.sock")
        self._introduce()
        self._api_port = servers.free_port()
        self._start_receiver()
        self.processes["api"] = self._watched("api", "signoff_api", [])
        self.processes["beat"] = self._watched("beat", "signoff_workers", ["beat"])
        for at in range(self.workers):
            self.processes[f"worker-{at + 1}"] = self._watched(f"worker-{at + 1}", "signoff_workers", ["worker"])
        for watched in self.processes.values():
            if watched.process is None:
                watched.start()
        self._keeper.start()
        for watched in self.of_kind("worker"):
            ready = Path(watched.environment["SIGNOFF_READY_FILE"])
            eventually(ready.exists, seconds=READY_SECONDS, why=f"a worker, see {watched.output}")
        eventually(self.serves, seconds=READY_SECONDS, why=f"the API, see {self.processes['api'].output}")

    def _introduce(self) -> None:
        engine = self.engine()
        try:
            for name, (kind, groups, roles) in _PEOPLE.items():
                create_principal(engine.database, name=name, kind=kind, groups=groups, roles=roles)  # type: ignore[arg-type]
                self.keys[name] = create_api_key(engine.database, name)
        finally:
            engine.close()

    def _start_receiver(self) -> None:
        port_file = self.folder / "receiver.port"
        command = [sys.executable, "-m", "tests.chaos.receiver", str(self.ledger.path), str(port_file)]
        receiver = Watched(
            name="receiver",
            command=[*command, str(self.lose_every)],
            environment=self._environment(),
            output=self.folder / "receiver.log",
        )
        self.processes["receiver"] = receiver
        receiver.start()
        eventually(port_file.exists, seconds=READY_SECONDS, why=f"the receiver, see {receiver.output}")
        self.receiver_port = int(port_file.read_text())

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SIGNOFF_")}
        path = os.pathsep.join(part for part in (str(ROOT), inherited.get("PYTHONPATH")) if part)
        return inherited | {"PYTHONPATH": path}

    def _watched(self, name: str, module: str, arguments: list[str]) -> Watched:
        command = [sys.executable, "-m", module]
        if self.mutant is not None:
            command = [sys.executable, "-m", "tests.chaos.mutated", self.mutant, module]
        database = psycopg.conninfo.conninfo_to_dict(self.direct_url)["dbname"]
        own = {
            "SIGNOFF_DATABASE_URL": (
                f"postgresql://postgres@127.0.0.1:{self.database_wire.port}/{database}?sslmode=disable"
            ),
            "SIGNOFF_BROKER_URL": f"redis://127.0.0.1:{self.broker_wire.port}/0",
            "SIGNOFF_API_PORT": str(self._api_port),
            "SIGNOFF_READY_FILE": str(self.folder / f"{name}.ready"),
            "SIGNOFF_FAILPOINTS": str(self.failpoints),
            "SIGNOFF_HOME": str(self.folder / "home"),
            "CHAOS_RECEIVER": str(self.receiver_port),
        }
        environment = self._environment() | dict(_ALWAYS) | dict(self.settings) | own
        return Watched(
            name=name,
            command=[*command, *arguments],
            environment=environment,
            output=self.folder / f"{name}.log",
        )

    def _wire(self, upstream: Path) -> Proxy:
        made = Proxy(upstream)
        self._undo.callback(made.close)
        return made

    def _stop_broker(self) -> None:
        assert self.broker.server is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.broker.server.pid, signal.SIGCONT)
        self.broker.server.stop()
        servers.remove_outside(self.broker.home, self.broker.sockets)

    def _keep(self) -> None:
        """Start again what has died. This thread starts them, so it lives as long as they do."""
        while not self._ending.wait(_LOOK_SECONDS):
            for watched in self.processes.values():
                if not watched.held and not watched.alive:
                    assert watched.process is not None
                    kill_group(watched.process)
                    watched.start()


def servers_socket(url: str) -> Path:
    """Where the PostgreSQL of this URL listens."""
    return Path(str(psycopg.conninfo.conninfo_to_dict(url)["host"])) / ".s.PGSQL.5432"


def wait_for(condition: Any, *, seconds: float) -> bool:
    """Whether it came true in time, for what is no failure when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True
