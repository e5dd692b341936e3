"""Restate: its server, and the handlers of `restate_service` in as many processes as are asked for.

Runs are started and decided through the server's ingress over HTTP, by some connections at once.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

from tests.bench.peers.child import Peer, Tally, complaint, serve

CLIENTS = 16


class Ingress:
    """Clients of the server, one connection a thread."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._clients = ThreadPoolExecutor(CLIENTS)
        self._service = self._begin()

    def park(self, count: int) -> list[str]:
        return list(self._clients.map(lambda number: self._start("refund", number), range(count)))

    def decide(self, runs: list[str]) -> None:
        list(self._clients.map(lambda run: self._post(f"/refund/{run}/decide", {"decision": "approve"}), runs))

    def plain(self, count: int) -> None:
        list(self._clients.map(lambda number: self._start("plain", number), range(count)))

    def close(self) -> None:
        self._service.terminate()
        try:
            self._service.wait(10)
        except subprocess.TimeoutExpired:
            self._service.kill()

    def _begin(self) -> subprocess.Popen[bytes]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "hypercorn", "tests.bench.peers.restate_service:app"]
        command += ["--bind", f"127.0.0.1:{port}", "--workers", os.environ["BENCH_WORKERS"], "--log-level", "warning"]
        service = subprocess.Popen(command)
        admin = HTTPConnection(os.environ["BENCH_ADMIN"], timeout=30)
        deadline = time.monotonic() + 30
        while True:
            said = json.dumps({"uri": f"http://127.0.0.1:{port}", "force": True})
            try:
                admin.request("POST", "/deployments", said, {"Content-Type": "application/json"})
                response = admin.getresponse()
                response.read()
                if response.status in (200, 201):
                    return service
            except OSError:
                admin.close()
            if time.monotonic() > deadline:
                raise SystemExit("the service could not be registered")
            time.sleep(0.1)

    def _start(self, workflow: str, number: int) -> str:
        run = uuid.uuid4().hex
        self._post(f"/{workflow}/{run}/run/send", complaint(number))
        return run

    def _post(self, path: str, body: object) -> None:
        if not hasattr(self._own, "connection"):
            self._own.connection = HTTPConnection(os.environ["BENCH_ADDRESS"], timeout=60)
        connection: HTTPConnection = self._own.connection
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        if response.status >= 300:
            raise SystemExit(f"POST {path} was answered {response.status}: {answer[:300]!r}")


def make(tally: Tally) -> Peer:
    return Ingress()


if __name__ == "__main__":
    serve(make)
