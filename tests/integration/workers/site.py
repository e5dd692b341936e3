"""A place where real workers and beats run, each a process of its own, beside an engine in the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.integration.engine.world import principal
from tests.servers import eventually

from signoff.definition.authoring import Workflow
from signoff.embedded.processes import kill_group, launch
from signoff.engine import DecisionRequest, build_engine
from signoff.model import SYSTEM, Event, RunState, RunStatus, TaskState
from signoff.settings import Settings
from signoff.store.runs import load_events, lock_run

ROOT = Path(__file__).parents[3]
FLOWS = "tests.integration.workers.flows"
REQUESTER = principal("portal", kind="service", roles=("requester",))
ADMIN = principal("admin", roles=("admin",))
ANA = principal("ana", "leads", roles=("reviewer",))

QUICK = {
    # A dead worker is noticed and a lost message sent again within seconds; a production install waits longer.
    "SIGNOFF_MODULES": FLOWS,
    "SIGNOFF_LEASE_SECONDS": "1",
    "SIGNOFF_SWEEP_SECONDS": "0.1",
    "SIGNOFF_REPUBLISH_SECONDS": "0.5",
    "SIGNOFF_REPUBLISH_MAX_SECONDS": "1",
    "SIGNOFF_CONCURRENCY": "2",
    "SIGNOFF_LOG_LEVEL": "INFO",
}


class Process:
    """A worker or beat that was started."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], output: Path) -> None:
        self.name = name
        self.process = process
        self.output = output

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL it and its pool, as a machine that is gone."""
        self.process.kill()
        kill_group(self.process)
        self.process.wait(10)

    def stop(self, seconds: float = 20.0) -> int:
        """Tell it to stop and wait; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def pool(self) -> set[int]:
        """The process ids of a prefork pool that are alive."""
        found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return {int(pid) for pid in found}


class Site:
    """One database, one broker, and the processes that use them."""

    def __init__(self, database_url: str, broker_url: str, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.settings = QUICK | settings
        self.urls = {"SIGNOFF_DATABASE_URL": database_url, "SIGNOFF_BROKER_URL": broker_url}
        # An engine without a worker behind it: what it publishes is all that it does for a run.
        self.engine = build_engine(
            Settings(
                database_url=database_url,
                broker_url=broker_url,
                lease_seconds=1,
                republish_seconds=0.5,
                republish_max_seconds=1,
            ),  # type: ignore[arg-type]
            pool_size=4,
        )
        self._processes = ExitStack()
        self._count = 0

    def close(self) -> None:
        self._processes.close()
        self.engine.close()

    # Processes --------------------------------------------------------------------------------------------------

    def worker(self, **settings: str) -> Process:
        """A worker that is ready."""
        process = self.spawn("worker", **settings)
        ready = self.folder / f"{process.name}.ready"

        def is_ready() -> bool:
            assert process.process.poll() is None, process.said
            return ready.exists()

        eventually(is_ready, seconds=30, why=f"a worker, see {process.output}")
        return process

    def beat(self) -> Process:
        return self.spawn("beat")

    def spawn(self, command: str, **settings: str) -> Process:
        """The bare process. It is killed at the end of the site, if it still runs."""
        self._count += 1
        name = f"{command}-{self._count}"
        output = self.folder / f"{name}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SIGNOFF_")}
        path = os.pathsep.join(part for part in (str(ROOT), inherited.get("PYTHONPATH")) if part)
        own = {"SIGNOFF_READY_FILE": str(self.folder / f"{name}.ready"), "PYTHONPATH": path}
        with output.open("ab") as log:
            popen = launch(
                [sys.executable, "-m", "signoff_workers", command],
                output=log,
                env=inherited | self.settings | self.urls | own | settings,
            )
        process = Process(name, popen, output)
        self._processes.callback(process.kill)
        return process

    # Runs -----------------------------------------------------------------------------------------------------------

    def start(self, workflow: Workflow, folder: Path, **value: Any) -> UUID:
        """Start a run; its steps write into `folder`."""
        folder.mkdir(exist_ok=True)
        self.engine.register(workflow.graph, by=SYSTEM)
        value["folder"] = str(folder)
        return self.engine.start(workflow=workflow.name, input=value, requester=REQUESTER).run_id

    def state(self, run_id: UUID) -> RunState:
        """The run as a transition would find it; its status is that of the row, with the lease."""
        with self.engine.database.transaction() as cursor:
            found = lock_run(cursor, run_id)
            assert found is not None
            return found[0].state

    def row_status(self, run_id: UUID) -> RunStatus:
        with self.engine.database.transaction() as cursor:
            found = lock_run(cursor, run_id)
            assert found is not None
            return found[0].row_status

    def log(self, run_id: UUID) -> list[Event]:
        with self.engine.database.transaction() as cursor:
            return [stored.event for stored in load_events(cursor, run_id)]

    def kinds(self, run_id: UUID) -> list[str]:
        return [str(event.type) for event in self.log(run_id)]

    def until(self, run_id: UUID, status: RunStatus, *, seconds: float = 20.0, sweeping: bool = False) -> RunState:
        """The run once it has this status; with `sweeping` the test is its own beat."""

        def look() -> RunState | None:
            if sweeping:
                self.engine.sweep()
            found = self.state(run_id)
            return found if found.status is status else None

        found = eventually(look, seconds=seconds, why=f"run {run_id} is {status}")
        assert isinstance(found, RunState)
        return found

    def decide(self, run_id: UUID, decision: str = "approve") -> None:
        """Ana decides the open human task of the run."""
        (task,) = [task for task in self.state(run_id).human_tasks.values() if task.state is TaskState.OPEN]
        request = DecisionRequest(decision=decision, payload_sha256=task.payload_sha256)
        self.engine.decide(task.id, request, by=ANA)

    def ask(self, question: str, *values: Any) -> Any:
        """The first column of the first row that the database answers."""
        with self.engine.database.transaction() as cursor:
            cursor.execute(question, values or None)  # type: ignore[arg-type]
            row = cursor.fetchone() if cursor.description else None
        return None if row is None else row[0]


@contextmanager
def site(database_url: str, broker_url: str, folder: Path, **settings: str) -> Iterator[Site]:
    """A site whose processes are gone at its end. `settings` are more environment variables for them."""
    made = Site(database_url, broker_url, folder, **settings)
    try:
        yield made
    finally:
        made.close()


def lines(folder: Path, name: str) -> list[str]:
    """What steps have written into this file."""
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []
