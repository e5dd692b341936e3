"""The servers that peers store their state in, each from nothing in a folder of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import psycopg

from tests import servers
from tests.bench.figures import until
from tests.bench.installing import FOLDER, restate_server
from tests.bench.stack import process
from tests.bench.usage import disk_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: what a peer is told of it, and how many bytes it keeps on disk."""

    environment: dict[str, str]
    stored: Callable[[], int]


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Server]:
    """The PostgreSQL that Signoff is measured with, with the same settings."""
    with servers.postgres(folder / "pg") as running:
        url = running.create()

        def stored() -> int:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("VACUUM")
                row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            assert row is not None
            return int(row[0])

        yield Server(environment={"BENCH_DATABASE_URL": url}, stored=stored)


@contextlib.contextmanager
def temporal(folder: Path) -> Iterator[Server]:
    """Temporal's development server with a file, because without one nothing would be durable."""
    port, ui, http, metrics = (servers.free_port() for _ in range(4))
    file = folder / "temporal.db"
    command = [str(FOLDER / "temporal" / "bin" / "temporal"), "server", "start-dev", "--headless"]
    command += ["--ip", "127.0.0.1", "--port", str(port), "--ui-port", str(ui), "--http-port", str(http)]
    command += ["--metrics-port", str(metrics), "--db-filename", str(file), "--log-level", "error"]
    environment = os.environ | {"HOME": str(folder), "TEMPORAL_DISABLE_ENV_CONFIG": "1"}
    with process(command, environment, folder / "temporal.log"):
        # It listens before its default namespace is there; a client may come when HTTP says that it is.
        until(lambda: _answers(http, "/api/v1/namespaces/default"), 60, "Temporal's development server")
        yield Server(
            environment={"BENCH_ADDRESS": f"127.0.0.1:{port}"},
            stored=lambda: disk_bytes(file, *folder.glob("temporal.db-*")),
        )


@contextlib.contextmanager
def restate(folder: Path) -> Iterator[Server]:
    """Restate's server as it comes, with its own storage."""
    ingress, admin, node = (servers.free_port() for _ in range(3))
    data = folder / "restate"
    environment = os.environ | {
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "warn",
    }
    command = [str(restate_server()), "--base-dir", str(data), "--no-logo"]
    with process(command, environment, folder / "restate.log"):
        until(lambda: _answers(admin, "/health") and _answers(ingress, "/restate/health"), 60, "Restate's server")
        told = {"BENCH_ADDRESS": f"127.0.0.1:{ingress}", "BENCH_ADMIN": f"127.0.0.1:{admin}"}
        yield Server(environment=told, stored=lambda: disk_bytes(data))


def _answers(port: int, path: str) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
