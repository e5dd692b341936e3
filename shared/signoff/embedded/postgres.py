"""The embedded PostgreSQL: `initdb` once, then `postgres` as a child on a Unix socket, without TCP.

The socket's directory is for its owner alone, which is why the server may trust whoever reaches it. fsync
stays on: what was committed survives a power cut, like in production.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg

from signoff.embedded.places import write_private
from signoff.embedded.postgres_programs import Account, Programs, choose_account, find_programs
from signoff.embedded.processes import Server, command_of, end_leftover, launch, stop, wait_until
from signoff.errors import ConfigurationError, Unavailable

READY_SECONDS = 60.0
"""Replaying the log after a crash comes before the first connection."""

DATABASE = "signoff"
STOP_SIGNAL = signal.SIGINT  # "fast": open transactions are rolled back, the data directory is left clean
_FIRST_WITH_BUILTIN_LOCALE = 17
_RELEASE_SECONDS = 10.0
_STATUS_LINE = 7  # of postmaster.pid, counted from 0; pg_ctl reads it too

_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "max_connections": "200",
    "max_wal_size": "1GB",
    "wal_level": "minimal",  # nobody replicates a development server
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "",
    "cluster_name": "signoff",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One data directory, the programs that made it, and where it listens."""

    programs: Programs
    account: Account
    data: Path
    sockets: Path

    def url(self, database: str = DATABASE) -> str:
        """As libpq takes it."""
        return f"postgresql://postgres@/{database}?host={self.sockets}"

    @property
    def initialised(self) -> bool:
        return (self.data / "PG_VERSION").exists()

    def begin_initdb(self, output: int | IO[bytes]) -> subprocess.Popen[bytes] | None:
        """Start making the data directory, if there is none. It gets its name when it is whole:
        `finish_initdb`.
        """
        if self.initialised:
            return None
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self.data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        command: list[str | Path] = [
            *self.account.prefix,
            self.programs.initdb,
            "-D",
            self._unfinished,
            "-U",
            "postgres",
        ]
        # Without --no-sync it takes thrice as long; a machine that dies within its first seconds starts anew.
        command += ["--auth=trust", "--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C"]
        if self.programs.major >= _FIRST_WITH_BUILTIN_LOCALE:
            command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return self._launch(command, output)

    def finish_initdb(self, process: subprocess.Popen[bytes] | None) -> None:
        """Wait for `begin_initdb`. Raises Unavailable when it failed: its output says why."""
        if process is None:
            return
        if process.wait() != 0:
            raise Unavailable(f"initdb ended with {process.returncode}", fix="read the postgres log")
        self._unfinished.rename(self.data)

    def spawn(self, output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the server without waiting, after ending one that an earlier supervisor left behind."""
        self._end_leftover()
        command: list[str | Path] = [*self.account.prefix, self.programs.postgres, "-D", self.data]
        for name, value in (_SETTINGS | {"unix_socket_directories": str(self.sockets)}).items():
            command += ["-c", f"{name}={value}"]
        return self._launch(command, output)

    def start(self, output: int | IO[bytes], *, canceled: Callable[[], bool] | None = None) -> Server:
        """Start the server, wait until it takes connections, and make its database if it has none.

        Backends of a killed server hold its memory for a moment, and PostgreSQL then refuses to start: it is
        tried again for some seconds. Raises Unavailable when it doesn't come up.
        """
        give_up = time.monotonic() + _RELEASE_SECONDS
        while True:
            unclean = self._pid_file.exists()
            process = self.spawn(output)
            if wait_until(self.answers, process, seconds=READY_SECONDS, canceled=canceled):
                break
            if process.poll() is None:
                stop(process, STOP_SIGNAL, _RELEASE_SECONDS)
                raise Unavailable("PostgreSQL took no connection in time", fix="read the postgres log")
            if not unclean or time.monotonic() > give_up:
                raise Unavailable(f"PostgreSQL ended with {process.returncode}", fix="read the postgres log")
        server = Server(name="postgres", process=process, url=self.url(), stop_signal=STOP_SIGNAL)
        try:
            self.ensure_database()
        except BaseException:
            server.stop()
            raise
        return server

    def answers(self) -> bool:
        """Whether it takes a connection now."""
        if not self._says_ready():
            return False
        try:
            psycopg.connect(self.url("postgres"), port=5432, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def _unfinished(self) -> Path:
        return self.data.with_name(f"{self.data.name}.unfinished")

    @property
    def _pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    def _launch(self, command: list[str | Path], output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return launch(
            command,
            output=output,
            death_signal=STOP_SIGNAL,
            env=ours,
            user_id=self.account.user_id,
            group_id=self.account.group_id,
        )

    def _says_ready(self) -> bool:
        """What it writes of itself, so that we needn't knock while it is starting, which it would log."""
        try:
            lines = self._pid_file.read_text().splitlines()
        except OSError:
            return False
        return len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "ready"

    def ensure_database(self) -> None:
        """Make the database, if there is none. Raises Unavailable when the server goes away meanwhile."""
        try:
            with psycopg.connect(self.url("postgres"), port=5432, autocommit=True) as connection:
                if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError as error:
            raise Unavailable(
                f"PostgreSQL ended while the database was made: {str(error).strip()}",
                fix="see what it wrote above, and start again",
            ) from error

    def _is_ours(self, pid: int) -> bool:
        return str(self.data) in (command_of(pid) or "").split()

    def _end_leftover(self) -> None:
        try:
            first, _, rest = self._pid_file.read_text().partition("\n")
            pid = int(first)
        except (OSError, ValueError):
            return
        if not end_leftover(pid, self._is_ours, STOP_SIGNAL):
            raise Unavailable(f"an earlier PostgreSQL (process {pid}) still uses {self.data}", fix=f"end process {pid}")
        with suppress(FileNotFoundError):
            (self.sockets / ".s.PGSQL.5432.lock").unlink()
        if command_of(pid) is not None and self._pid_file.exists():
            # The number belongs to another program now, and PostgreSQL would take that for itself still
            # running. It knows the number of its own parent for stale, and still checks the shared memory
            # which the file names.
            self._pid_file.write_text(f"{os.getpid()}\n{rest}")


def plan_cluster(home: Path, sockets: Path) -> Cluster:
    """Where the cluster of this home lives and what runs it; nothing is started.

    Raises ConfigurationError when no PostgreSQL is found, or none of the version that made the data.
    """
    account = choose_account()
    data = home / "postgres"
    if account.user_id is not None:
        data, sockets = _reachable_directories(home, account)
    wanted = _version_of(data)
    return Cluster(programs=find_programs(account, wanted=wanted), account=account, data=data, sockets=sockets)


def start_postgres(home: Path, sockets: Path, output: int | IO[bytes]) -> Server:
    """Start the PostgreSQL of this home, making it first if need be, and wait until it answers."""
    cluster = plan_cluster(home, sockets)
    cluster.finish_initdb(cluster.begin_initdb(output))
    return cluster.start(output)


def _version_of(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{data}/PG_VERSION can't be read: {error}", fix=f"move {data} away") from error


def _reachable_directories(home: Path, account: Account) -> tuple[Path, Path]:
    """Data and socket directories outside the home, which another account may be unable to reach."""
    note = home / "postgres-directory"
    base = Path(note.read_text().strip()) if note.exists() else None
    if base is None or not base.is_dir() or base.is_symlink() or base.lstat().st_uid != account.user_id:
        assert account.user_id is not None
        assert account.group_id is not None
        base = Path(tempfile.mkdtemp(prefix="signoff-pg-", dir="/var/tmp"))
        for path in (base, base / "run"):
            path.mkdir(mode=0o700, exist_ok=True)
            os.chown(path, account.user_id, account.group_id)
        write_private(note, f"{base}\n")
    return base / "postgres", base / "run"
