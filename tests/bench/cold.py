"""How long `signoff dev` takes from its command to the first decided run: from nothing, and when started again."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from signoff.embedded.dev_file import DevState, read_dev_state
from tests.bench.figures import Subject, until
from tests.bench.product import Api
from tests.bench.stack import ROOT

SIGNOFF = (sys.executable, "-c", "from signoff.cli.main import run; run()")


def measure(repeats: int) -> Subject:
    """First and second start, each in a home that is new at every repeat."""
    subject = Subject(who="signoff", setting="signoff dev", workers=4)
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
            home = Path(name) / "home"
            subject.add("startup", "s", _first_run(home))
            subject.add("second startup", "s", _first_run(home))
    return subject


def _first_run(home: Path) -> float:
    began = time.perf_counter()
    with _dev(home) as process:
        state: list[DevState] = []

        def described() -> bool:
            if process.poll() is not None:
                raise SystemExit(f"signoff dev has ended: {(home.parent / 'out').read_text(errors='replace')[-500:]}")
            found = read_dev_state(home)
            if found is not None:
                state.append(found)
            return bool(state)

        until(described, 60, "signoff dev")
        port = int(state[0].api_url.rpartition(":")[2].strip("/"))
        starter, reviewer = Api(port, state[0].keys["requester"]), Api(port, state[0].keys["ana"])
        complaint = {"order_id": "A-1", "text": "It arrived broken.", "paid": "640"}
        run_id = starter.post("/runs", {"workflow": "refund", "input": complaint})["id"]
        found: list[dict[str, Any]] = []
        path = f"/api/v1/human-tasks?run={run_id}"
        until(lambda: found.extend(_get(port, state[0].keys["ana"], path)["items"]) or found, 30, "a parked run")
        said = {"decision": "approve", "payload_sha256": found[0]["payload_sha256"]}
        reviewer.post(f"/human-tasks/{found[0]['id']}/decisions", said)
        run = f"/api/v1/runs/{run_id}"
        until(lambda: _get(port, state[0].keys["requester"], run)["status"] == "completed", 30, "a decided run")
        return time.perf_counter() - began


@contextlib.contextmanager
def _dev(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SIGNOFF_", "OPENAI_"))}
    environment = inherited | {
        "SIGNOFF_HOME": str(home),
        "SIGNOFF_MODULES": "refund",
        "PYTHONPATH": str(ROOT / "examples"),
    }
    with (home.parent / "out").open("wb") as out:
        process = subprocess.Popen(
            [*SIGNOFF, "dev", "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=ROOT,
            env=environment,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _get(port: int, key: str, path: str) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
    response = connection.getresponse()
    answer: dict[str, Any] = json.loads(response.read())
    connection.close()
    return answer
