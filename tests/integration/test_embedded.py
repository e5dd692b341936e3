"""The embedded servers: what they keep, and whom they let in."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.servers import eventually

from signoff.embedded import postgres_programs
from signoff.embedded.broker import Broker, find_broker, start_broker
from signoff.embedded.places import prepare_home, socket_directory
from signoff.embedded.postgres import Cluster, plan_cluster, start_postgres
from signoff.embedded.postgres_programs import Account, find_programs
from signoff.embedded.processes import command_of
from signoff.errors import ConfigurationError, Unavailable

pytestmark = pytest.mark.long


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
