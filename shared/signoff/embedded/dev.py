"""`signoff dev`: PostgreSQL, broker, worker, beat and API in one terminal, started and stopped together."""

from __future__ import annotations

import errno
import fcntl
import http.client
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from signoff.embedded import broker as embedded_broker
from signoff.embedded import postgres as embedded_postgres
from signoff.embedded.broker import Broker, find_broker
from signoff.embedded.dev_file import DevState, read_dev_state, remove_dev_state, write_dev_state
from signoff.embedded.first_link import PERSON, first_link
from signoff.embedded.places import prepare_home, socket_directory
from signoff.embedded.postgres import plan_cluster
from signoff.embedded.preparation import preload, prepare
from signoff.embedded.prestart import StartGate, prestarted
from signoff.embedded.processes import end_leftover, environment_has, launch, stop
from signoff.embedded.programs import PROGRAMS, Program
from signoff.embedded.supervisor import Child, ChildBroken, StopRequested, Supervisor
from signoff.embedded.terminal import Terminal
from signoff.errors import ConfigurationError, SignoffError, Unavailable

DEFAULT_PORT = 8400
HOST = "127.0.0.1"
_PORTS_TRIED = 50
_READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DevOptions:
    """What `signoff dev` is told.

    `port` None means `default_port`, or the next free one; 0 any free one. `database_url` and `broker_url`
    name servers to use in place of embedded ones. `stdout` None is the process's own. The rest is for tests.
    """

    home: Path
    port: int | None = None
    default_port: int = DEFAULT_PORT
    modules: tuple[str, ...] = ()
    quiet: bool = False
    stdout: TextIO | None = None
    database_url: str | None = None
    broker_url: str | None = None
    programs: Mapping[str, Program] | None = None
    prepare: Callable[[str, Path], dict[str, str]] = prepare
    link: Callable[[str, str], str | None] = first_link


def run_dev(options: DevOptions) -> int:
    """Run everything until ^C or SIGTERM. Returns the exit code: 0 after a stop, 1 after a failure that it
    printed.

    To be called in the main thread: it takes over the process's signals.
    """
    terminal = Terminal(options.stdout, quiet=options.quiet)
    try:
        home = prepare_home(options.home)
        with _only_one(home):
            _end_leftovers(home)
            with Supervisor(logs=home / "logs", terminal=terminal) as supervisor:
                try:
                    _Development(options, home, terminal, supervisor).run()
                except StopRequested:
                    terminal.say("stopping", style="bold")
                finally:
                    remove_dev_state(home)
                    for mark in socket_directory(home).glob("*.ready"):
                        mark.unlink(missing_ok=True)
    except SignoffError as error:
        if isinstance(error, ChildBroken) and options.quiet:
            terminal.say("\n".join(error.tail))
        terminal.say(f"signoff dev: {error.detail}" + (f"\n  {error.fix}" if error.fix else ""), style="red")
        return 1
    terminal.say("stopped", style="bold")
    return 0


class _Development:
    """One run of `signoff dev`, from the lock being held to the signal that ends it."""

    def __init__(self, options: DevOptions, home: Path, terminal: Terminal, supervisor: Supervisor) -> None:
        self._options = options
        self._home = home
        self._terminal = terminal
        self._supervisor = supervisor
        self._sockets = socket_directory(home)
        self._programs = PROGRAMS if options.programs is None else options.programs
        self._gate = StartGate()
        self._last_gate = StartGate()
        self._cluster = None if options.database_url else plan_cluster(home, self._sockets)
        self._broker = (
            None
            if options.broker_url
            else Broker(program=find_broker(), data=home / "broker", socket=self._sockets / "broker.sock")
        )
        self._port = self._choose_port()
        self._database_url = self._cluster.url() if self._cluster else str(options.database_url)
        self._broker_url = self._broker.url if self._broker else str(options.broker_url)

    def run(self) -> None:
        """Start all of it, then look after it. Raises StopRequested, ChildBroken, Unavailable."""
        self._begin_broker()
        initdb = self._begin_initdb()
        self._begin_programs()
        self._finish_postgres(initdb)
        keys = self._options.prepare(self._database_url, self._home)
        if self._broker is not None:
            self._supervisor.run(until=self._broker.answers, seconds=embedded_broker.READY_SECONDS)
        self._gate.release()
        self._supervisor.run(until=self._is_ready, seconds=_READY_SECONDS)
        self._last_gate.release()
        state = self._publish(keys)
        self._supervisor.on_change = lambda pids: write_dev_state(
            self._home, replace(state, pids={name: pids.get(name) for name in state.pids})
        )
        self._supervisor.run()

    def _begin_broker(self) -> None:
        if self._broker is not None:
            self._supervisor.start(
                Child(
                    name="broker",
                    spawn=self._broker.spawn,
                    stop_signal=embedded_broker.STOP_SIGNAL,
                    stop_rank=3,
                )
            )

    def _begin_initdb(self) -> subprocess.Popen[bytes] | None:
        if self._cluster is None or self._cluster.initialised:
            return None
        self._terminal.say(f"making a database in {self._cluster.data}")
        with (self._home / "logs" / "initdb.log").open("wb") as log:
            return self._cluster.begin_initdb(log)

    def _finish_postgres(self, initdb: subprocess.Popen[bytes] | None) -> None:
        cluster = self._cluster
        if cluster is None:
            return
        if initdb is not None:
            try:
                preload()
                self._supervisor.run(until=lambda: initdb.poll() is not None, seconds=_READY_SECONDS)
            finally:
                stop(initdb, signal.SIGTERM, 5)
            cluster.finish_initdb(initdb)
        self._supervisor.start(
            Child(
                name="postgres",
                spawn=cluster.spawn,
                stop_signal=embedded_postgres.STOP_SIGNAL,
                stop_rank=4,
                stop_seconds=20,
            )
        )
        self._supervisor.run(until=cluster.answers, seconds=embedded_postgres.READY_SECONDS)
        cluster.ensure_database()

    def _begin_programs(self) -> None:
        env = self._environment()
        for name, program in self._programs.items():
            self._supervisor.start(
                Child(
                    name=name,
                    spawn=self._spawner(name, program, env),
                    stop_seconds=program.stop_seconds,
                    stop_rank=program.stop_rank,
                )
            )

    def _spawner(self, name: str, program: Program, env: Mapping[str, str]) -> Callable[[int], subprocess.Popen[bytes]]:
        module, *arguments = program.command
        command = prestarted(program.imports, module, *arguments)
        mark = self._mark_of(name)
        env = {**env, "SIGNOFF_READY_FILE": str(mark)}
        gate = self._last_gate if program.begins_last else self._gate
        metrics = self._home / "metrics"
        if name == "api":
            # Named from the start: prometheus_client reads it when it is imported.
            env["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)

        def spawn(output: int) -> subprocess.Popen[bytes]:
            mark.unlink(missing_ok=True)
            if name == "api":  # what an earlier one counted would be added to its own
                shutil.rmtree(metrics, ignore_errors=True)
                metrics.mkdir(mode=0o700)
            return gate.start(
                lambda stdin: launch(command, output=output, stdin=stdin, death_signal=program.death_signal, env=env)
            )

        return spawn

    def _environment(self) -> dict[str, str]:
        """Ours, without libpq's variables, which would change what the database's URL means."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return {
            # What is told by mail leads to the pages of this stack, unless they are said to be elsewhere.
            "SIGNOFF_PUBLIC_URL": f"http://{HOST}:{self._port}",
            **inherited,
            "SIGNOFF_HOME": str(self._home),
            "SIGNOFF_DATABASE_URL": self._database_url,
            "SIGNOFF_BROKER_URL": self._broker_url,
            "SIGNOFF_MODULES": ",".join(self._options.modules),
            "SIGNOFF_API_HOST": HOST,
            "SIGNOFF_API_PORT": str(self._port),
            "PYTHONUNBUFFERED": "1",
        }

    def _choose_port(self) -> int:
        wanted = self._options.port
        if wanted is not None:
            found = free_port(wanted)
            if found is None:
                raise ConfigurationError(
                    f"port {wanted} is in use",
                    code="port_in_use",
                    fix="choose another; 0 is any free one",
                )
            return found
        first = self._options.default_port
        for port in range(first, min(first + _PORTS_TRIED, 65536)):
            found = free_port(port)
            if found is not None:
                if found != first != 0:
                    self._terminal.say(f"port {first} is in use, taking {found}", style="yellow")
                return found
        raise ConfigurationError(f"ports {first} to {first + _PORTS_TRIED - 1} are in use", fix="choose one by --port")

    def _is_ready(self) -> bool:
        marks = [self._mark_of(name) for name, program in self._programs.items() if program.marks_ready]
        return all(mark.exists() for mark in marks) and answers_ready(self._port)

    def _mark_of(self, name: str) -> Path:
        return self._sockets / f"{name}.ready"

    def _publish(self, keys: Mapping[str, str]) -> DevState:
        """Write dev.json and say where everything is."""
        api_url = f"http://{HOST}:{self._port}"
        pids = self._supervisor.pids
        state = DevState(
            api_url=api_url,
            inbox_url=f"{api_url}/inbox",
            database_url=self._database_url,
            broker_url=self._broker_url,
            pids={name: pids.get(name) for name in ("api", "worker", "beat", "postgres", "broker")},
            keys=keys,
        )
        write_dev_state(self._home, state)
        self._terminal.say("\nready", style="bold green")
        self._terminal.say(f"  API    {state.api_url}/api/v1   description {state.api_url}/docs")
        self._terminal.say(f"  inbox  {state.inbox_url}")
        link = self._options.link(self._database_url, api_url)
        if link is not None:
            self._terminal.say(f"  sign in  {link}")
            self._terminal.say(f"           as {PERSON}, once; for others: signoff sign-in NAME", style="dim")
        self._terminal.say(f"  keys   {self._home / 'dev.json'}")
        if "ana" in keys:
            curl = f"curl -s {api_url}/api/v1/human-tasks -H 'Authorization: Bearer {keys['ana']}'"
            self._terminal.say(f"  try    {curl}")
        self._terminal.say("  ^C stops everything\n")
        return state


def free_port(port: int) -> int | None:
    """`port` (or any, for 0) if it can be listened on, else None. Raises ConfigurationError for a forbidden
    one.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return None
            raise ConfigurationError(f"port {port} can't be used: {error.strerror}", fix="choose another") from error
        found: int = probe.getsockname()[1]
        return found


def answers_ready(port: int) -> bool:
    """Whether the API's `/readyz` answers 200 now."""
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises ConfigurationError (code `already_running`) when another process does.

    The kernel lets go of it when we die, however that happens.
    """
    with (home / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            other = read_dev_state(home)
            where = f"at {other.api_url}" if other is not None else "still starting"
            raise ConfigurationError(
                f"signoff dev already runs in {home} as process {file.read().strip() or '?'}, {where}",
                code="already_running",
                fix="stop that one, or set SIGNOFF_HOME to another folder",
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _end_leftovers(home: Path) -> None:
    """End what a killed `signoff dev` left running where the kernel doesn't do it; see `processes`."""
    left = read_dev_state(home)
    if left is None:
        return
    for name in ("beat", "api", "worker"):
        pid = left.pids.get(name)
        if pid is not None and not end_leftover(
            pid, lambda number: environment_has(number, f"SIGNOFF_HOME={home}"), signal.SIGTERM
        ):
            raise Unavailable(f"an earlier {name} (process {pid}) still runs", fix=f"end process {pid}")
    remove_dev_state(home)
