"""The embedded servers, and what `signoff dev` promises of the processes it starts."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from tests.servers import eventually

from signoff.embedded import postgres_programs
from signoff.embedded.broker import Broker, find_broker, start_broker
from signoff.embedded.dev_file import DevState, read_dev_state
from signoff.embedded.places import prepare_home, socket_directory
from signoff.embedded.postgres import Cluster, plan_cluster, start_postgres
from signoff.embedded.postgres_programs import Account, find_programs
from signoff.embedded.processes import command_of
from signoff.errors import ConfigurationError, Unavailable

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def seed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose database is made and stopped, for tests to copy: initdb is the slow part."""
    home = prepare_home(tmp_path_factory.mktemp("seed"))
    with (home / "log").open("ab") as log:
        start_postgres(home, socket_directory(home), log).stop()
    return home


@pytest.fixture
def cluster(seed_home: Path, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that was made before and doesn't run."""
    home = prepare_home(tmp_path / "home")
    shutil.copytree(seed_home / "postgres", home / "postgres")
    (home / "postgres").chmod(0o700)
    sockets = socket_directory(home)
    yield plan_cluster(home, sockets)
    if not sockets.is_relative_to(home):
        shutil.rmtree(sockets)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[int]:
    with (tmp_path / "log").open("ab") as file:
        yield file.fileno()


def query(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


class TestPostgres:
    def test_it_starts_stops_and_keeps_what_was_written(self, cluster: Cluster, log: int) -> None:
        server = cluster.start(log)
        query(server.url, "CREATE TABLE kept AS SELECT 7 AS number")
        assert server.stop() == 0
        assert command_of(server.pid) is None
        assert not (cluster.data / "postmaster.pid").exists()

        again = cluster.start(log)

        assert query(again.url, "SELECT number FROM kept") == 7
        again.stop()

    def test_it_syncs_listens_on_no_port_and_lets_nobody_else_in(self, cluster: Cluster, log: int) -> None:
        server = cluster.start(log)
        try:
            assert query(server.url, "SHOW fsync") == "on"
            assert query(server.url, "SHOW listen_addresses") == ""
            assert query(server.url, "SHOW server_encoding") == "UTF8"
            assert query(server.url, "SELECT lower('ÄÖÜ')") == "äöü"
            assert stat.S_IMODE(cluster.sockets.stat().st_mode) == 0o700
        finally:
            server.stop()

    def test_after_a_sigkill_it_recovers_what_was_committed(self, cluster: Cluster, log: int) -> None:
        server = cluster.start(log)
        query(server.url, "CREATE TABLE kept AS SELECT 7 AS number")
        server.process.kill()
        server.process.wait()

        again = cluster.start(log)

        assert query(again.url, "SELECT number FROM kept") == 7
        again.stop()

    def test_one_that_was_left_running_is_ended_before_the_next_starts(self, cluster: Cluster, log: int) -> None:
        left = cluster.start(log)

        server = cluster.start(log)

        assert left.process.wait(1) == 0
        assert query(server.url, "SELECT 1") == 1
        server.stop()

    def test_one_that_ends_before_the_database_is_made_is_an_error_that_says_so(
        self, cluster: Cluster, log: int
    ) -> None:
        cluster.start(log).stop()

        with pytest.raises(Unavailable, match="PostgreSQL ended while the database was made"):
            cluster.ensure_database()

    def test_a_stale_pid_file_that_names_another_program_does_not_keep_it_from_starting(
        self, cluster: Cluster, log: int
    ) -> None:
        server = cluster.start(log)
        server.process.kill()
        server.process.wait()
        lines = (cluster.data / "postmaster.pid").read_text().splitlines(keepends=True)
        innocent = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        try:
            (cluster.data / "postmaster.pid").write_text(f"{innocent.pid}\n{''.join(lines[1:])}")

            cluster.start(log).stop()

            assert innocent.poll() is None
        finally:
            innocent.kill()
            innocent.wait()

    def test_data_of_another_version_are_refused_with_both_versions_named(self, cluster: Cluster) -> None:
        (cluster.data / "PG_VERSION").write_text("13\n")

        with pytest.raises(ConfigurationError) as caught:
            plan_cluster(cluster.data.parent, cluster.sockets)

        assert caught.value.code == "postgres_version"
        assert "PostgreSQL 13" in caught.value.detail
        assert f"version {cluster.programs.major}" in caught.value.detail

    def test_no_installation_at_all_is_an_error_that_says_what_to_install(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError) as caught:
            find_programs(Account(), directories=[tmp_path])

        assert "signoff[embedded]" in (caught.value.fix or "")

    def test_an_initdb_that_was_interrupted_is_done_again(self, tmp_path: Path, log: int) -> None:
        home = prepare_home(tmp_path / "home")
        planned = plan_cluster(home, socket_directory(home))
        begun = planned.begin_initdb(log)
        assert begun is not None
        eventually((home / "postgres.unfinished" / "PG_VERSION").exists)
        begun.kill()
        begun.wait()
        assert not planned.initialised

        server = start_postgres(home, planned.sockets, log)

        assert query(server.url, "SELECT 1") == 1
        server.stop()

    def test_a_home_with_a_long_path_works(self, seed_home: Path, tmp_path: Path, log: int) -> None:
        home = prepare_home(tmp_path / ("deep" * 30))
        shutil.copytree(seed_home / "postgres", home / "postgres")
        sockets = socket_directory(home)
        try:
            server = start_postgres(home, sockets, log)
            assert query(server.url, "SELECT 1") == 1
            server.stop()
            start_broker(home, sockets, log).stop()
        finally:
            shutil.rmtree(sockets)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
    def test_root_without_user_namespaces_runs_it_as_nobody(
        self, tmp_path: Path, log: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_programs, "_UNSHARE", ("false",))
        home = prepare_home(tmp_path / "home")
        base: Path | None = None
        try:
            server = start_postgres(home, socket_directory(home), log)
            base = Path((home / "postgres-directory").read_text().strip())
            assert Path(f"/proc/{server.pid}").stat().st_uid == base.stat().st_uid != 0
            assert query(server.url, "SELECT 1") == 1
            server.stop()
            assert plan_cluster(home, socket_directory(home)).data == base / "postgres"
        finally:
            if base is not None:
                shutil.rmtree(base)


class TestBroker:
    def test_it_keeps_what_was_acknowledged_through_a_restart(self, tmp_path: Path, log: int) -> None:
        home = prepare_home(tmp_path / "home")
        sockets = socket_directory(home)
        first = start_broker(home, sockets, log)
        said = ask(sockets / "broker.sock", b"SET key value\r\n")
        assert said == b"+OK\r\n"
        assert first.stop() == 0

        second = start_broker(home, sockets, log)

        assert ask(sockets / "broker.sock", b"GET key\r\n") == b"$5\r\nvalue\r\n"
        assert second.stop() == 0
        assert command_of(second.pid) is None

    def test_one_that_was_left_running_is_ended_before_the_next_writes_its_file(self, tmp_path: Path, log: int) -> None:
        home = prepare_home(tmp_path / "home")
        sockets = socket_directory(home)
        left = start_broker(home, sockets, log)

        second = start_broker(home, sockets, log)

        assert left.process.wait(1) == 0
        second.stop()

    def test_a_pid_file_that_names_another_program_ends_nothing(self, tmp_path: Path, log: int) -> None:
        home = prepare_home(tmp_path / "home")
        broker = Broker(program=find_broker(), data=home / "broker", socket=socket_directory(home) / "b.sock")
        broker.data.mkdir()
        (broker.data / "broker.pid").write_text(f"{os.getpid()}\n")

        server = broker.wait_ready(broker.spawn(log))

        server.stop()


def ask(path: Path, command: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(command)
        return client.recv(100)


class Dev:
    """A `signoff dev` in a process of its own, with fake worker, beat and API."""

    def __init__(self, home: Path, *settings: str) -> None:
        self.home = home
        self.output = home.parent / f"{home.name}.out"
        self._file = self.output.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.dev_driver", str(home), *settings],
            stdout=self._file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
        )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def ready(self, *, unlike: DevState | None = None) -> DevState:
        """What dev.json says, once it says something else than `unlike`."""

        def look() -> DevState | None:
            assert self.process.poll() is None, self.said
            found = read_dev_state(self.home)
            complete = found is not None and set(found.pids) and found != unlike
            return found if complete else None

        found = eventually(look, seconds=30, why="dev.json")
        assert isinstance(found, DevState)
        return found

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._file.close()


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Callable[..., Dev]]:
    """Starts a `signoff dev`; it is stopped after the test."""
    made: list[Dev] = []

    def start(*settings: str, home: Path | None = None) -> Dev:
        made.append(Dev(home or tmp_path / "home", *settings))
        return made[-1]

    yield start
    for each in made:
        each.close()


def all_gone(state: DevState) -> bool:
    return all(command_of(pid) is None for pid in state.pids.values() if pid is not None)


class TestDev:
    def test_everything_starts_and_one_signal_stops_all_of_it(self, dev: Callable[..., Dev]) -> None:
        running = dev("servers=embedded")
        state = running.ready()

        assert all(isinstance(pid, int) and command_of(pid) for pid in state.pids.values())
        assert set(state.keys) == {"admin", "requester", "ana", "sam", "max", "uma", "cleo"}
        assert query(state.database_url, "SELECT count(*) FROM principals WHERE kind = 'service'") == 1
        assert stat.S_IMODE((running.home / "dev.json").stat().st_mode) == 0o600

        assert running.stop() == 0
        assert all_gone(state)
        assert not (running.home / "dev.json").exists()

        again = dev("servers=embedded")
        assert again.ready().keys == state.keys
        assert again.stop(signal.SIGTERM) == 0

    def test_killed_servers_come_back_and_are_named_anew(self, dev: Callable[..., Dev]) -> None:
        running = dev("servers=embedded")
        state = running.ready()
        for name in ("postgres", "broker"):
            before = running.ready()
            os.kill(pid_of(before, name), signal.SIGKILL)
            after = running.ready(unlike=before)
            assert pid_of(after, name) != pid_of(before, name)
            assert after == replace(before, pids={**before.pids, name: after.pids[name]})
        eventually(lambda: answers(state.database_url), why="PostgreSQL after a SIGKILL")
        assert "postgres was ended by SIGKILL; it is started again" in running.said

        assert running.stop() == 0
        assert all_gone(state)

    def test_a_killed_supervisor_leaves_no_process_and_the_next_start_works(self, dev: Callable[..., Dev]) -> None:
        running = dev("servers=embedded")
        state = running.ready()

        running.process.kill()
        running.process.wait()

        if sys.platform == "linux":
            eventually(lambda: all_gone(state), why=f"processes {state.pids}")
        again = dev("servers=embedded", f"port={state.api_url.rpartition(':')[2]}")
        assert again.ready(unlike=state).database_url == state.database_url
        assert again.stop() == 0

    def test_where_the_kernel_leaves_orphans_the_next_start_ends_them(self, dev: Callable[..., Dev]) -> None:
        running = dev("servers=embedded", "orphans=survive")
        state = running.ready()
        running.process.kill()
        running.process.wait()
        assert not all_gone(state)

        again = dev("servers=embedded", f"port={state.api_url.rpartition(':')[2]}")

        again.ready(unlike=state)
        assert all_gone(state)
        assert again.stop() == 0

    def test_a_killed_child_is_started_again_and_named_in_a_line(self, dev: Callable[..., Dev]) -> None:
        running = dev()
        before = running.ready()

        os.kill(pid_of(before, "worker"), signal.SIGKILL)

        after = running.ready(unlike=before)
        assert command_of(pid_of(after, "worker"))
        assert "worker was ended by SIGKILL; it is started again in 0.2 s" in running.said
        assert f"worker was started again as process {after.pids['worker']}" in running.said

    def test_a_child_that_keeps_ending_stops_everything_with_its_last_words(self, dev: Callable[..., Dev]) -> None:
        running = dev("worker=broken")

        assert running.process.wait(30) == 1

        assert "worker ended 5 times within 10 s" in running.said
        assert "because of this" in running.said
        assert not (running.home / "dev.json").exists()
        assert (running.home / "logs" / "worker.log").read_text().count("because of this") == 5

    def test_a_child_that_does_not_end_is_killed(self, dev: Callable[..., Dev]) -> None:
        running = dev("worker=stubborn")
        state = running.ready()

        assert running.stop() == 0
        assert all_gone(state)
        assert "worker did not end in time and is killed" in running.said

    def test_a_second_one_in_the_same_folder_names_the_first_and_stops(self, dev: Callable[..., Dev]) -> None:
        first = dev()
        state = first.ready()

        second = Dev(first.home)
        try:
            assert second.process.wait(30) == 1
        finally:
            second.close()

        assert f"process {first.process.pid}, at {state.api_url}" in second.said
        assert first.ready() == state

    def test_a_busy_port_is_refused_when_it_was_asked_for(self, dev: Callable[..., Dev]) -> None:
        with busy_port() as port:
            running = dev(f"port={port}")

            assert running.process.wait(30) == 1

        assert f"port {port} is in use" in running.said

    def test_a_busy_default_port_gives_way_to_the_next_and_says_so(self, dev: Callable[..., Dev]) -> None:
        with busy_port() as port:
            running = dev(f"default_port={port}")
            state = running.ready()

        assert int(state.api_url.rpartition(":")[2]) > port
        assert f"port {port} is in use, taking" in running.said

    def test_servers_from_outside_are_used_and_have_no_process_of_ours(self, dev: Callable[..., Dev]) -> None:
        state = dev().ready()

        assert state.database_url == "postgresql://elsewhere/signoff"
        assert state.broker_url == "redis://elsewhere/0"
        assert state.pids["postgres"] is None
        assert state.pids["broker"] is None


def pid_of(state: DevState, name: str) -> int:
    pid = state.pids[name]
    assert pid is not None
    return pid


def answers(url: str) -> bool:
    try:
        return query(url, "SELECT 1") == 1
    except psycopg.OperationalError:
        return False


@contextmanager
def busy_port() -> Iterator[int]:
    """A loopback port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
