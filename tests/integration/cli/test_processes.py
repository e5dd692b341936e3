"""The commands that run servers: they become the process they name, with the settings that flags give."""

from __future__ import annotations

import fcntl
import os
import re
import signal
from pathlib import Path
from urllib.parse import urlsplit

import redis
from tests.integration.cli.stack import Stack
from tests.servers import eventually, free_port

from signoff.broker import CONTROL_QUEUE
from signoff.cli.client import Client
from signoff.errors import SignoffError


def answers(url: str) -> bool:
    try:
        with Client(url, None) as client:
            return bool(client.get("/readyz"))
    except SignoffError:
        return False


def test_api_listens_where_flags_say_and_ends_with_its_signal(stack: Stack) -> None:
    port = free_port()
    with stack.spawned("api", "--port", str(port), "--workers", "1", SIGNOFF_API_PORT="1") as process:
        eventually(lambda: answers(f"http://127.0.0.1:{port}"), seconds=30)
        assert b"signoff_api" in Path(f"/proc/{process.pid}/cmdline").read_bytes()

        process.send_signal(signal.SIGTERM)

        assert process.wait(20) == 0


def test_a_worker_registers_the_modules_it_is_given_with_the_settings_of_its_flags(
    stack: Stack, tmp_path: Path
) -> None:
    (tmp_path / "tale.yaml").write_text("workflow: tale\nsteps: [{gate: g, reviewers: leads}]\n")
    command = ["worker", str(tmp_path / "tale.yaml"), "--queues", "x,y", "--pool", "solo", "--concurrency", "1"]
    with stack.spawned(*command, SIGNOFF_MODULES="nonsense") as process:
        eventually(lambda: stack("graph", "tale").exit_code == 0, seconds=30)

        settings = Path(f"/proc/{process.pid}/environ").read_text().split("\0")

    assert {"SIGNOFF_QUEUES=x,y", "SIGNOFF_POOL=solo", "SIGNOFF_CONCURRENCY=1"} <= set(settings)
    assert f"SIGNOFF_DATABASE_URL={stack.database_url}" in settings


def test_beat_sends_sweeps_and_ends_with_its_signal(stack: Stack) -> None:
    with (
        redis.Redis(unix_socket_path=urlsplit(stack.broker_url).path) as broker,
        stack.spawned("beat", SIGNOFF_SWEEP_SECONDS="0.05") as process,
    ):
        eventually(lambda: broker.llen(CONTROL_QUEUE), seconds=30)
        assert b"signoff_workers\0beat" in Path(f"/proc/{process.pid}/cmdline").read_bytes()

        process.send_signal(signal.SIGTERM)

        assert process.wait(20) in (0, -signal.SIGTERM)
        broker.delete(CONTROL_QUEUE)


def test_a_second_dev_in_the_same_folder_says_so_and_stops(stack: Stack, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("a") as lock:
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)

        with stack.spawned("dev", "--home", str(tmp_path), "--port", "0") as process:
            out, err = process.communicate(timeout=30)

    assert process.returncode == 1
    assert re.search(rf"already runs in {tmp_path}", (out + err).replace("\n", ""))
