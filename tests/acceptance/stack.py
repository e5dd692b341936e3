"""A whole `signoff dev` as its users have it: started by its command, talked to over HTTP, stopped by a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import redis
from tests.acceptance.caller import Caller
from tests.servers import eventually

from signoff.embedded.dev_file import DevState, read_dev_state

ROOT = Path(__file__).parents[2]

SIGNOFF = (sys.executable, "-c", "from signoff.cli.main import run; run()")
"""What the installed script `signoff` does, whether or not one is installed beside this interpreter."""

QUICK = {
    # A dead worker is noticed and a lost message sent again within seconds; a production install waits longer.
    "SIGNOFF_LEASE_SECONDS": "3",
    "SIGNOFF_SWEEP_SECONDS": "0.1",
    "SIGNOFF_REPUBLISH_SECONDS": "1",
    "SIGNOFF_CONCURRENCY": "2",
    "SIGNOFF_LOG_LEVEL": "INFO",
}
MODULES = ("refund", "loan", "publish", "tests.acceptance.flows")


class Stack:
    """A running `signoff dev`, which may be stopped and started again in the same home."""

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        self.home = home
        self.settings = settings
        self.output = home.parent / f"{home.name}.out"
        self.process: subprocess.Popen[bytes] | None = None
        self.state: DevState | None = None

    def start(self) -> DevState:
        """Start it, and wait until it says that it is ready."""
        before = read_dev_state(self.home)
        self.process = self.spawn()
        self.state = self._described(unlike=before)
        return self.state

    def spawn(self) -> subprocess.Popen[bytes]:
        """The bare process, not waited for."""
        with self.output.open("ab") as output:
            return subprocess.Popen(
                [*SIGNOFF, "dev", "--port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=self.environment,
            )

    @property
    def environment(self) -> dict[str, str]:
        """What it is told: nothing of ours but the home, the workflows and haste."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SIGNOFF_", "OPENAI_"))}
        path = os.pathsep.join(part for part in (str(ROOT / "examples"), inherited.get("PYTHONPATH")) if part)
        own = {"SIGNOFF_HOME": str(self.home), "SIGNOFF_MODULES": ",".join(MODULES), "PYTHONPATH": path}
        return inherited | QUICK | own | self.settings

    def signoff(self, *arguments: str) -> str:
        """What another command of ours prints, in the same home."""
        done = subprocess.run(
            [*SIGNOFF, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            env=self.environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait for the end; the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(40)

    def close(self) -> None:
        """End it whatever state it is in."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def said(self) -> str:
        """All that it wrote to its terminal."""
        return self.output.read_text(errors="replace")

    def as_(self, name: str | None) -> Caller:
        """This development identity as a caller of the API; None has no key."""
        assert self.state is not None
        return Caller(self.state.api_url, None if name is None else self.state.keys[name])

    def pid(self, name: str) -> int:
        """The process id that dev.json gives now for one of the children."""
        found = read_dev_state(self.home)
        pid = found.pids[name] if found is not None else None
        assert pid is not None, f"{name} does not run"
        return pid

    def kill(self, name: str) -> int:
        """SIGKILL this child and wait until dev.json names the one that was started in its place; its process id."""
        before = self.pid(name)
        os.kill(before, signal.SIGKILL)

        def another() -> int:
            found = read_dev_state(self.home)
            pid = found.pids[name] if found is not None else None
            return pid if pid not in (None, before) else 0

        return int(str(eventually(another, seconds=30, why=f"another {name}")))

    def _described(self, *, unlike: DevState | None) -> DevState:
        process = self.process
        assert process is not None

        def look() -> DevState | None:
            assert process.poll() is None, self.said
            found = read_dev_state(self.home)
            return found if found != unlike else None

        found = eventually(look, seconds=90, why=f"dev.json, see {self.output}")
        assert isinstance(found, DevState)
        return found


@contextmanager
def stack(folder: Path, **settings: str) -> Iterator[Stack]:
    """A `signoff dev` in a home of its own, ready. `settings` are more environment variables for it."""
    made = Stack(folder / "home", settings)
    try:
        made.start()
        yield made
    finally:
        made.close()


def queued(broker_url: str) -> dict[str, int]:
    """How many messages wait in each queue of a Redis-protocol broker; what was delivered and not acknowledged too."""
    path = broker_url.removeprefix("redis+socket://").partition("?")[0]
    with redis.Redis(unix_socket_path=path, decode_responses=True) as client:
        found = {key: client.llen(key) for key in client.scan_iter() if client.type(key) == "list"}
        return found | {"unacked": client.hlen("unacked")}


def asked(database_url: str, question: LiteralString, *values: object) -> Any:
    """The first column of the first row that the database answers."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(question, values or None).fetchone()
    return None if row is None else row[0]


def session_of(pid: int) -> Mapping[int, str]:
    """Every living process that descends from `pid`, and its command line."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parent = parent_of(int(entry.name))
            if parent is not None:
                children.setdefault(parent, []).append(int(entry.name))
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found[child] = command_line(child)
            waiting.append(child)
    return found


def parent_of(pid: int) -> int | None:
    """The process that started this one; None when it is gone."""
    try:
        # The name in parentheses may hold anything, blanks and parentheses too.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None


def command_line(pid: int) -> str:
    """What was started, its words joined by blanks; empty for a process that is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
