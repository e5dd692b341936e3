"""The API as it is run: gunicorn with its worker processes, asked over real sockets."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.servers import eventually, free_port

from signoff.embedded.processes import launch, stop
from signoff.store.database import Database
from signoff.store.identity import create_api_key, create_principal

DOCUMENT = b"workflow: w\nsteps: [{gate: g, reviewers: leads}]"


class Server:
    """A running API, and a key of somebody with all rights."""

    def __init__(self, port: int, key: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.port, self.key, self.process, self.log = port, key, process, log

    def connect(self) -> closing[http.client.HTTPConnection]:
        return closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20))

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"} | headers
        with self.connect() as connection:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            text = response.read()
        is_json = "json" in (response.headers["Content-Type"] or "")
        return response.status, json.loads(text) if is_json else text.decode()

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.send("GET", "/readyz")[0] == 200
        except OSError:
            return False


def _serve(folder: Path, database_url: str, broker_url: str, **settings: str) -> Server:
    database = Database.connect(database_url, pool_size=1)
    create_principal(database, name="root", kind="user", groups=["leads"], roles=["admin"])
    key = create_api_key(database, "root")
    database.close()
    port, log = free_port(), folder / "api.log"
    environment = os.environ | {
        "SIGNOFF_DATABASE_URL": database_url,
        "SIGNOFF_BROKER_URL": broker_url,
        "SIGNOFF_API_PORT": str(port),
        "SIGNOFF_LOG_JSON": "true",
        "TMPDIR": str(folder),
        **settings,
    }
    with log.open("wb") as output:
        process = launch([sys.executable, "-m", "signoff_api"], output=output, env=environment)
    return Server(port, key, process, log)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, module_database_url: str, valkey_url: str) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("api")
    served = _serve(
        folder,
        module_database_url,
        valkey_url,
        SIGNOFF_API_WORKERS="2",
        SIGNOFF_API_THREADS="4",
        SIGNOFF_API_READ_SECONDS="2",
    )
    try:
        eventually(served.ready, seconds=30, why="the API is ready")
        yield served
    finally:
        code = stop(served.process, signal.SIGTERM, 30)
    assert code == 0
    assert list(folder.iterdir()) == [served.log], "the directory of the metrics is left behind"


def test_a_run_is_decided_over_the_wire(server: Server) -> None:
    status, _ = server.send("PUT", "/api/v1/workflows/w", DOCUMENT, **{"Content-Type": "application/yaml"})
    assert status == 201
    status, run = server.send("POST", "/api/v1/runs", json.dumps({"workflow": "w", "input": {"a": 1}}))
    assert (status, run["status"]) == (201, "waiting")
    status, body = server.send(
        "POST",
        f"/api/v1/human-tasks/{run['human_tasks'][0]}/decisions",
        json.dumps({"decision": "approve"}),
        **{"If-Match": '"1"'},
    )
    assert (status, body["code"]) == (403, "four_eyes")


def test_a_large_body_is_refused_and_the_answer_arrives(server: Server) -> None:
    status, body = server.send("POST", "/api/v1/runs", b" " * 10_000_000)
    assert (status, body["code"]) == (413, "body_too_large")


def test_a_large_body_in_chunks_is_refused_too(server: Server) -> None:
    chunks = (b" " * 65_536 for _ in range(40))
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    with server.connect() as connection:
        connection.request("POST", "/api/v1/runs", chunks, headers, encode_chunked=True)
        response = connection.getresponse()
        text = response.read()
        assert (response.status, json.loads(text)["code"]) == (413, "body_too_large"), text


def test_small_chunks_are_read(server: Server) -> None:
    chunks = iter([b'{"workflow": ', b'"none", "input": 1}'])
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    with server.connect() as connection:
        connection.request("POST", "/api/v1/runs", chunks, headers, encode_chunked=True)
        assert connection.getresponse().status == 404


@pytest.mark.parametrize("body", [b"zz\r\nab\r\n0\r\n\r\n", b"2\r\nabcd0\r\n\r\n", b"-1\r\n\r\n"])
def test_chunks_that_are_none_are_malformed(server: Server, body: bytes) -> None:
    head = (
        f"POST /api/v1/runs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(head.encode() + body)
        assert client.recv(12) == b"HTTP/1.1 400"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /healthz HTTP/9.9\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nBad Header: x\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /api/v1/runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: zip\r\n\r\n", 400),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_what_the_server_cannot_make_out_is_a_problem_too(server: Server, request_bytes: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(request_bytes)
        response = http.client.HTTPResponse(client)
        response.begin()
        found = json.loads(response.read())
    assert response.headers["Content-Type"] == "application/problem+json"
    assert (response.status, found["status"], found["code"]) == (status, status, "malformed")


def test_a_connection_is_used_again_after_a_refusal(server: Server) -> None:
    with server.connect() as connection:
        for _ in range(3):
            connection.request("POST", "/api/v1/runs", b"{" * 2_000, {"Content-Type": "application/json"})
            response = connection.getresponse()
            assert (response.status, json.load(response)["code"]) == (401, "unauthenticated")


def test_clients_that_hang_hold_up_the_others_only_for_a_moment(server: Server) -> None:
    head = b"POST /api/v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
    body = f"Authorization: Bearer {server.key}\r\n\r\n{{".encode()
    # Twice as many as there are threads: half stop in the head, half in the body.
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(16)]
    try:
        for number, one in enumerate(slow):
            one.sendall(head + (body if number % 2 else b""))
        assert server.send("GET", "/healthz") == (200, {"status": "ok"})
        assert slow[1].recv(12) == b"HTTP/1.1 400"
    finally:
        for one in slow:
            one.close()
    assert server.process.poll() is None


def test_metrics_are_summed_over_the_processes_and_outlive_them(server: Server) -> None:
    def counted() -> int:
        text = server.send("GET", "/metrics")[1]
        found = re.search(r'_total\{.*?route="/api/v1/workflows/<name>",status="404"\} (\d+)', text)
        return int(found[1]) if found is not None else 0

    for _ in range(40):
        assert server.send("GET", "/api/v1/workflows/summed")[0] == 404
    assert counted() == 40
    workers = _workers(server)
    os.kill(workers[-1], signal.SIGTERM)
    eventually(lambda: len(_workers(server)) > len(workers), seconds=20, why="another worker has come")
    assert counted() == 40


def _workers(server: Server) -> list[int]:
    return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", server.log.read_text())]


def test_the_log_has_one_line_a_request_and_no_key(server: Server) -> None:
    server.send("GET", "/api/v1/runs?q=hush", **{"X-Request-Id": "find-me"})
    text = server.log.read_text()
    (line,) = [json.loads(line) for line in text.splitlines() if "find-me" in line]
    assert (line["method"], line["path"], line["status"], line["by"]) == ("GET", "/api/v1/runs", 422, "root")
    assert server.key not in text
    assert "hush" not in text
    assert "Traceback" not in text


def test_a_request_under_way_is_answered_before_the_server_ends(
    tmp_path: Path, database_url: str, broker_url: str
) -> None:
    server = _serve(tmp_path, database_url, broker_url, SIGNOFF_API_WORKERS="1", SIGNOFF_API_THREADS="2")
    database = Database.connect(database_url, pool_size=2)
    try:
        eventually(server.ready, seconds=30, why="the API is ready")
        with server.connect() as connection:
            with database.transaction() as cursor:
                cursor.execute("LOCK TABLE workflow_versions IN ACCESS EXCLUSIVE MODE")
                headers = {"Authorization": f"Bearer {server.key}"}
                connection.request("GET", "/api/v1/workflows", headers=headers)
                with database.autocommit() as other:
                    eventually(lambda: _waiting(other), why="the request waits for the lock")
                server.process.send_signal(signal.SIGTERM)
                eventually(lambda: "term" in server.log.read_text(), why="the server has begun to stop")
            assert connection.getresponse().status == 200
        assert server.process.wait(timeout=20) == 0
    finally:
        database.close()
        stop(server.process, signal.SIGTERM, 10)


def _waiting(cursor: Any) -> bool:
    row = cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
    return bool(row[0])


def test_what_is_not_set_is_said_in_a_line(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SIGNOFF_")}
    done = subprocess.run(
        [sys.executable, "-m", "signoff_api"], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "configuration: SIGNOFF_DATABASE_URL is not set"
    assert "Traceback" not in done.stderr
