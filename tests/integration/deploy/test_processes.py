"""The commands of compose.yaml, run as they are written against real servers."""

from __future__ import annotations

import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests import servers
from tests.integration.deploy.definitions import (
    OURS,
    ROOT,
    UNITS,
    Host,
    command_of_the_image,
    exec_start,
    service,
)

from signoff.definition.document import compile_document, parse_yaml
from signoff.embedded.broker import find_broker
from signoff.engine import build_engine
from signoff.model import SYSTEM
from signoff.settings import Settings
from signoff.store.identity import ensure_principal

pytestmark = pytest.mark.long


def host_with(database_url: str, broker_url: str, folder: Path) -> Host:
    """A machine as signoff.env.example sets it up, with these servers."""
    servers.flush(broker_url)
    return Host(
        folder,
        {
            "SIGNOFF_DATABASE_URL": database_url,
            "SIGNOFF_BROKER_URL": broker_url,
            "SIGNOFF_API_HOST": "127.0.0.1",
            "SIGNOFF_API_PORT": str(servers.free_port()),
        },
    )


@pytest.fixture
def empty(empty_database_url: str, valkey_tcp_url: str, tmp_path: Path) -> Host:
    """A machine whose database has nothing in it."""
    return host_with(empty_database_url, valkey_tcp_url, tmp_path)


@pytest.fixture
def host(database_url: str, valkey_tcp_url: str, tmp_path: Path) -> Host:
    """A machine whose database is host."""
    return host_with(database_url, valkey_tcp_url, tmp_path)


def asked(host: Host, question: Any) -> Any:
    with psycopg.connect(host.environment["SIGNOFF_DATABASE_URL"], autocommit=True) as connection:
        cursor = connection.execute(question)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def healthcheck(name: str) -> list[str]:
    """The command of a health check."""
    kind, *command = service(name)["healthcheck"]["test"]
    assert kind == "CMD"
    return command


def status(host: Host, path: str) -> int:
    """What the API answers; 0 when nobody does."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{host.port}{path}", timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_migrate_brings_an_empty_database_up_and_does_nothing_the_second_time(empty: Host) -> None:
    command = service("migrate")["command"]
    assert asked(empty, "SELECT to_regclass('runs')") is None

    first = empty.run(command)
    second = empty.run(command)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert asked(empty, "SELECT count(*) FROM runs") == 0
    assert empty.run(["signoff", "db", "status"]).returncode == 0
    assert "migrated from empty" in first.stdout
    assert "already" in second.stdout


def test_migrate_fails_where_there_is_no_database_so_that_nothing_starts_after_it(empty: Host) -> None:
    nowhere = f"postgresql://signoff@127.0.0.1:{servers.free_port()}/signoff?connect_timeout=2"
    done = empty.run(service("migrate")["command"], SIGNOFF_DATABASE_URL=nowhere)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_the_api_is_ready_and_its_health_check_tells_when_it_is_not(host: Host) -> None:
    check = healthcheck("api")
    assert host.run(check).returncode != 0

    with host.running("api", service("api")["command"]):
        servers.eventually(lambda: status(host, "/readyz") == 200, seconds=30, why="/readyz")
        found = host.run(check)
        assert found.returncode == 0, found.stderr
        assert status(host, "/api/v1/runs") == 401
        # As many processes as the environment says count together, in a directory that goes with them.
        page = _page(host, "/metrics")
        assert "signoff_database_up 1.0" in page
        assert 'signoff_http_requests_total{method="GET",route="/readyz",status="200"}' in page
        measured = set(re.findall(r"^# TYPE (\w+)", page, flags=re.MULTILINE))
        page_of_ours = (ROOT / "docs" / "operations.md").read_text()
        documented = set(re.findall(r"^\| `(signoff_[a-z_]+)`", page_of_ours, flags=re.MULTILINE))
        assert documented == {name.removesuffix("_total") for name in measured}

    assert host.run(check).returncode != 0
    assert "Traceback" not in host.log("api")


def _page(host: Host, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{host.port}{path}", timeout=5) as response:
        return str(response.read().decode())


def test_the_first_administrator_comes_from_the_command_line(host: Host) -> None:
    """The first steps of docs/operations.md."""
    key = host.run(["signoff", "key", "create", "--admin", "root"]).stdout.strip()
    assert re.fullmatch(r"so_[a-z2-7]{8}_[\w-]{43}", key)
    with host.running("api", service("api")["command"]):
        servers.eventually(lambda: status(host, "/readyz") == 200, seconds=30, why="/readyz")
        url = f"http://127.0.0.1:{host.port}"
        listed = host.run(["signoff", "runs", "--json"], SIGNOFF_API_URL=url, SIGNOFF_API_KEY=key)
        assert listed.returncode == 0, listed.stderr
        wrong = host.run(["signoff", "runs"], SIGNOFF_API_URL=url, SIGNOFF_API_KEY=key[:-1] + "!")
        assert wrong.returncode == 1


def test_the_api_without_its_broker_is_not_healthy(host: Host) -> None:
    nowhere = f"redis://127.0.0.1:{servers.free_port()}/0"
    with host.running("api", service("api")["command"], SIGNOFF_BROKER_URL=nowhere):
        servers.eventually(lambda: status(host, "/readyz") == 503, seconds=30, why="/readyz")
        assert status(host, "/healthz") == 200
        assert host.run(healthcheck("api")).returncode != 0


def test_the_api_says_what_is_missing_instead_of_a_trace(empty: Host) -> None:
    for name in ("SIGNOFF_DATABASE_URL", "SIGNOFF_BROKER_URL"):
        del empty.environment[name]
    done = empty.run(service("api")["command"])
    assert done.returncode != 0
    assert "SIGNOFF_DATABASE_URL is not set" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def started(host: Host) -> Iterator[Host]:
    """A worker and a beat."""
    with (
        host.running("worker", service("worker")["command"]),
        host.running("beat", service("beat")["command"]),
    ):
        servers.eventually(
            lambda: asked(host, "SELECT count(*) FROM workflow_versions"), seconds=30, why="refund is registered"
        )
        yield host


def test_worker_and_beat_serve_runs_and_are_healthy(started: Host) -> None:
    start(started, "refund", {"order_id": "A-1", "text": "broken", "paid": "40"})

    servers.eventually(
        lambda: asked(started, "SELECT count(*) FROM runs WHERE status = 'completed'") == 1,
        seconds=30,
        why="the run completes",
    )
    for name in ("worker", "beat"):
        found = started.run(healthcheck(name))
        assert found.returncode == 0, found.stderr
    # The sweep goes through both: what is due is seen to.
    asked(started, "UPDATE runs SET due_at = now() - interval '1 hour', status = 'queued', node = 'analyse'")
    servers.eventually(
        lambda: not asked(started, "SELECT count(*) FROM runs WHERE due_at < now() - interval '1 minute'"),
        seconds=30,
        why="the sweep",
    )


def test_the_health_check_fails_when_a_run_is_overdue_and_nobody_sweeps(host: Host) -> None:
    check = healthcheck("worker")
    assert host.run(check).returncode == 0, "nothing to do is no failure"
    start(host, "patient", "", document=PATIENT_GRAPH)
    asked(host, "UPDATE runs SET due_at = now() - interval '30 s'")
    assert host.run(check).returncode == 0, "late, and within the limit"

    asked(host, "UPDATE runs SET due_at = now() - interval '61 s'")

    found = host.run(check)
    assert found.returncode == 1
    assert "limit 60 s" in found.stdout


def test_the_health_check_fails_when_a_due_time_has_passed_and_nobody_sweeps(host: Host) -> None:
    start(host, "gate", {}, document=GATE)
    assert host.run(healthcheck("worker")).returncode == 0

    asked(host, "UPDATE human_tasks SET wake_at = now() - interval '61 s'")

    assert host.run(healthcheck("worker")).returncode == 1


def test_the_health_check_fails_without_a_database(host: Host) -> None:
    nowhere = f"postgresql://signoff@127.0.0.1:{servers.free_port()}/signoff"
    found = host.run(healthcheck("worker"), SIGNOFF_DATABASE_URL=nowhere)
    assert found.returncode == 1
    assert "Traceback" not in found.stderr


def test_a_pool_that_serves_only_the_sweep_keeps_time_while_the_other_is_busy(host: Host) -> None:
    """The unit signoff-worker@control of docs/operations.md."""
    (host.folder / "patient.py").write_text(PATIENT)
    busy = {
        "SIGNOFF_MODULES": "patient",
        "PYTHONPATH": _with(host, host.folder),
        "SIGNOFF_CONCURRENCY": "1",
    }
    timekeeper = {"SIGNOFF_QUEUES": "control", "SIGNOFF_POOL": "solo", "SIGNOFF_MODULES": ""}
    start(host, "patient", str(host.folder), document=PATIENT_GRAPH)
    start(host, "gate", {}, document=GATE)
    with (
        host.running("worker", service("worker")["command"], **busy),
        host.running("beat", service("beat")["command"]),
    ):
        servers.eventually((host.folder / "begun").exists, seconds=30, why="the only process is busy")
        asked(host, "UPDATE human_tasks SET wake_at = now() - interval '1 minute', due_at = now()")
        with host.running("control", service("worker")["command"], **timekeeper):
            servers.eventually(
                lambda: asked(host, "SELECT state FROM human_tasks") == "timed_out", seconds=30, why="the sweep"
            )
        (host.folder / "go").touch()


def test_the_brokers_command_starts_a_broker(host: Host) -> None:
    program, *arguments = service("broker")["command"]
    assert program == "valkey-server"
    port = servers.free_port()
    # It does not stop with code 0 on SIGTERM only because nothing is saved: that is what is wanted.
    with host.running("broker", [str(find_broker()), *arguments, "--port", str(port), "--bind", "127.0.0.1"]):
        servers.eventually(lambda: servers._accepts(port), why="the broker's port")


def test_the_units_run_what_compose_runs() -> None:
    found = {path.stem.removeprefix("signoff-").rstrip("@"): exec_start(path) for path in UNITS}
    assert set(found) == set(OURS)
    for name, (program, *arguments) in found.items():
        assert [program.removeprefix("/opt/signoff/bin/"), *arguments] == service(name)["command"]
    assert command_of_the_image() == service("api")["command"]


def start(host: Host, workflow: str, value: Any, *, document: str | None = None) -> None:
    """Start a run without an API in between; `document` is registered first."""
    variables = {name: host.environment[f"SIGNOFF_{name.upper()}"] for name in ("database_url", "broker_url")}
    engine = build_engine(Settings(**variables), pool_size=1)  # type: ignore[arg-type]
    try:
        if document is not None:
            engine.register(compile_document(parse_yaml(document)).graph, by=SYSTEM)
        requester = ensure_principal(engine.database, name="portal", kind="service", roles=["requester"])
        engine.start(workflow=workflow, input=value, requester=requester)
    finally:
        engine.close()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_that_is_told_to_stop_finishes_its_step_and_is_gone(host: Host, pool: str) -> None:
    """What TimeoutStopSec and stop_grace_period are for."""
    (host.folder / "patient.py").write_text(PATIENT)
    settings = {"SIGNOFF_MODULES": "patient", "PYTHONPATH": _with(host, host.folder), "SIGNOFF_POOL": pool}
    start(host, "patient", str(host.folder), document=PATIENT_GRAPH)
    with host.running("worker", service("worker")["command"], **settings) as worker:
        servers.eventually((host.folder / "begun").exists, seconds=30, why="the step begins")

        os.kill(worker.pid, signal.SIGTERM)
        heard = "worker: Hitting Ctrl+C again" if pool == "prefork" else "worker: Warm shutdown"
        servers.eventually(lambda: heard in host.log("worker"), seconds=10, why="it hears the signal")
        assert asked(host, "SELECT status FROM runs") == "running"
        (host.folder / "go").touch()

        # Not the whole time it might have taken: that is 20 seconds.
        worker.wait(10)
        # And not the step after it, which another worker begins at once.
        assert asked(host, "SELECT status || ' ' || node FROM runs") == "queued last"


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_does_not_wait_for_a_step_longer_than_it_is_told_to(host: Host, pool: str) -> None:
    (host.folder / "patient.py").write_text(PATIENT)
    settings = {"SIGNOFF_MODULES": "patient", "PYTHONPATH": _with(host, host.folder), "SIGNOFF_POOL": pool}
    start(host, "patient", str(host.folder), document=PATIENT_GRAPH)
    with host.running(
        "worker", service("worker")["command"], **settings, SIGNOFF_SOFT_SHUTDOWN_SECONDS="0.5"
    ) as worker:
        servers.eventually((host.folder / "begun").exists, seconds=30, why="the step begins")

        worker.terminate()

        worker.wait(10)
        assert "stopped_mid_step" in host.log("worker")
        # Its lease is left to run out: nobody can know how far the step came.
        assert asked(host, "SELECT status || ' ' || node FROM runs") == "running wait"


def _with(host: Host, folder: Path) -> str:
    return os.pathsep.join(part for part in (str(folder), host.environment.get("PYTHONPATH")) if part)


GATE = "workflow: gate\nsteps:\n  - {gate: check, reviewers: leads, due: 1h, on_timeout: reject}\n"
PATIENT_GRAPH = "workflow: patient\nsteps:\n  - step: patient:wait\n  - step: patient:last\n"
PATIENT = """
import time
from pathlib import Path
from signoff import Workflow, step

@step
def wait(folder: str) -> str:
    Path(folder, "begun").touch()
    for _ in range(1000):
        if Path(folder, "go").exists():
            break
        time.sleep(0.02)
    return folder

@step
def last(folder: str) -> str:
    return folder

patient = Workflow("patient", [wait, last])
"""
