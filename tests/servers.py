"""Real servers for tests: PostgreSQL, a Redis-protocol broker and RabbitMQ.

Each belongs to the pytest process that started it (with xdist: one set a worker), lives in a directory of its
own, listens on a Unix socket or an ephemeral loopback port, and is ended by its process id.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from signoff.embedded.broker import find_broker, start_broker
from signoff.embedded.places import prepare_home, socket_directory
from signoff.embedded.postgres import start_postgres
from signoff.embedded.processes import launch, stop

TEMPLATE = "signoff_template"


def under_ci() -> bool:
    """Whether a missing program is a failure instead of a reason to skip."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def eventually(condition: Callable[[], object], *, seconds: float = 10.0, why: str = "") -> object:
    """What `condition()` returns once it is true. Fails after `seconds`.

    It looks every 10 ms: use it for what a process says of itself through a file, a socket or a table.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {why or condition}"
        time.sleep(0.01)


def free_port() -> int:
    """A loopback TCP port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A running PostgreSQL that makes databases as copies of a migrated template."""

    sockets: Path
    pid: int

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.sockets}"

    def create(self, *, template: str = "template1") -> str:
        """The URL of a new database."""
        name = f"t_{secrets.token_hex(6)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected."""
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(str(name))))

    def migrate_template(self) -> None:
        """Make the template that `create(template=TEMPLATE)` copies. Once a server."""
        from signoff.store.migrations import upgrade

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        upgrade(self.url(TEMPLATE))


@contextmanager
def postgres(folder: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL in `folder`, made by the product's own launcher."""
    home = prepare_home(folder)
    sockets = socket_directory(home)
    with (home / "postgres.log").open("ab") as log:
        server = start_postgres(home, sockets, log)
    try:
        yield PostgresServer(sockets=Path(server.url.partition("host=")[2]), pid=server.pid)
    finally:
        server.stop()
        remove_outside(home, sockets)


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """The broker URL of a Valkey on a Unix socket, made by the product's own launcher."""
    home = prepare_home(folder)
    sockets = socket_directory(home)
    with (home / "broker.log").open("ab") as log:
        server = start_broker(home, sockets, log)
    try:
        yield server.url
    finally:
        server.stop()
        remove_outside(home, sockets)


@contextmanager
def valkey_tcp(folder: Path) -> Iterator[str]:
    """The broker URL of a Valkey on a loopback port, as production has it."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [find_broker(), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
    with (folder / "valkey.log").open("ab") as log:
        process = launch(command, output=log)
    try:
        eventually(lambda: _accepts(port), why=f"Valkey on port {port}: {folder}/valkey.log")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        stop(process, signal.SIGTERM, 10)


def flush(broker_url: str) -> None:
    """Empty a Redis-protocol broker, as if it had lost everything."""
    import redis

    path, _, _ = broker_url.removeprefix("redis+socket://").partition("?")
    client = (
        redis.Redis(unix_socket_path=path)
        if broker_url.startswith("redis+socket://")
        else redis.Redis.from_url(broker_url)
    )
    with client:
        client.flushall()


def rabbitmq_program() -> Path | None:
    """The server's own script, beneath Debian's wrapper, which would change the user; None when not
    installed.
    """
    for pattern in ("usr/lib/rabbitmq/bin/rabbitmq-server", "usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server"):
        for found in sorted(Path("/").glob(pattern), reverse=True):
            return found
    wrapper = shutil.which("rabbitmq-server")
    return Path(wrapper) if wrapper else None


@dataclass(kw_only=True)
class RabbitServer:
    """A RabbitMQ node that may be killed and started again on the same port, with what it had stored."""

    folder: Path
    program: Path
    port: int
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start the node and wait until it serves."""
        with (self.folder / "rabbitmq.log").open("ab") as log:
            self.process = launch([self.program], output=log, env=self.environment)
        eventually(lambda: _answers_amqp(self.port), seconds=60, why=f"RabbitMQ, see {self.folder}/rabbitmq.log")

    def kill(self) -> None:
        """SIGKILL it and what it has started, as a machine that loses its power."""
        assert self.process is not None
        self.process.kill()
        self.stop()

    def stop(self) -> None:
        """End it, however it is."""
        if self.process is not None:
            stop(self.process, signal.SIGTERM, 30)

    def queues(self) -> dict[str, int]:
        """How many messages each queue holds, those that were delivered and not acknowledged too."""
        control = self.program.with_name("rabbitmqctl")
        listed = subprocess.run(
            [control, "--silent", "list_queues", "name", "messages"],
            capture_output=True,
            text=True,
            timeout=30,
            env=self.environment,
            check=True,
        )
        lines = (line.split("\t") for line in listed.stdout.splitlines() if "\t" in line)
        return {name: int(count) for name, count in lines if count.isdigit()}


@contextmanager
def rabbitmq(folder: Path, program: Path) -> Iterator[RabbitServer]:
    """A RabbitMQ with its own port mapper, so that nothing of it survives or meets another node."""
    folder.mkdir(parents=True, exist_ok=True)
    port, mapper_port, node_port = free_port(), free_port(), free_port()
    epmd = shutil.which("epmd")
    assert epmd is not None, "rabbitmq-server is installed without Erlang's epmd"
    (folder / "plugins").write_text("[].")
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{port}\nlog.console = true\nlog.console.level = warning\n"
        "disk_free_limit.absolute = 50MB\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))} | {
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(mapper_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"signoff-{os.getpid()}-{secrets.token_hex(3)}@localhost",
        "RABBITMQ_DIST_PORT": str(node_port),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "no-such-file"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        # Two schedulers and no busy waiting: a test machine is small.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
    }
    server = RabbitServer(folder=folder, program=program, port=port, environment=env)
    with (folder / "rabbitmq.log").open("ab") as log:
        mapper = launch([epmd, "-port", str(mapper_port), "-address", "127.0.0.1"], output=log, env=env)
    try:
        eventually(lambda: _accepts(mapper_port), why="epmd")
        server.start()
        yield server
    finally:
        server.stop()
        stop(mapper, signal.SIGTERM, 5)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers_amqp(port: int) -> bool:
    """RabbitMQ listens before it serves: a connection has to be opened in full."""
    import kombu

    if not _accepts(port):
        return False
    connection = kombu.Connection(f"amqp://guest:guest@127.0.0.1:{port}//", connect_timeout=5)
    try:
        connection.connect()
    except (OSError, *connection.connection_errors):
        return False
    finally:
        connection.release()
    return True


def remove_outside(home: Path, sockets: Path) -> None:
    """What the launcher put outside of the test's directory because its path was too long, or unreachable."""
    if not sockets.is_relative_to(home):
        shutil.rmtree(sockets, ignore_errors=True)
    note = home / "postgres-directory"
    if note.exists():
        shutil.rmtree(note.read_text().strip(), ignore_errors=True)
