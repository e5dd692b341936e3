"""What `signoff dev` promises of the processes it starts."""

from __future__ import annotations

import os
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

from signoff.embedded.dev_file import DevState, read_dev_state
from signoff.embedded.processes import command_of

pytestmark = pytest.mark.long


ROOT = Path(__file__).parents[2]


def query(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


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
