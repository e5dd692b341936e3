"""The API as it is run, people with sessions, and readers of the streams it sends them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.servers import eventually, free_port

from signoff.definition.document import compile_document, parse_yaml
from signoff.embedded.processes import launch, stop
from signoff.engine import Engine, build_engine
from signoff.identity import Principal
from signoff.settings import Settings
from signoff.store.identity import create_principal
from signoff.store.sessions import start_session

GATES = {
    "to-leads": "{gate: ok, reviewers: leads, title: 'Secret {name}'}",
    "to-managers": "{gate: ok, reviewers: managers}",
    "moves-on": "{gate: ok, reviewers: leads, reroute: [[1s, managers]]}",
}
PEOPLE = {
    "ana": (["leads"], ["reviewer"]),
    "sam": (["leads"], ["reviewer"]),
    "max": (["managers"], ["reviewer"]),
    "zoe": ([], ["auditor"]),
    "req": ([], ["requester"]),
}
THREADS = 8
STREAMS = THREADS // 2


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of a stream."""

    kind: str
    cursor: str | None
    ids: tuple[UUID, ...]


class Reader:
    """A browser that reads a stream."""

    def __init__(self, port: int, token: str, query: str = "", **headers: str) -> None:
        self.raw = b""
        self.ends = time.monotonic() + 60
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._connection.request("GET", f"/live{query}", headers={"Cookie": f"signoff_session={token}"} | headers)
        self._response = self._connection.getresponse()
        self.status, self.headers = self._response.status, self._response.headers

    def __iter__(self) -> Iterator[Event]:
        found: dict[str, str] = {}
        while line := self._response.readline():
            self.raw += line
            assert time.monotonic() < self.ends, self.raw
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                found[name] = value
            elif "event" in found:
                ids = json.loads(found["data"]).get("ids", [])
                yield Event(kind=found["event"], cursor=found.get("id"), ids=tuple(map(UUID, ids)))
                found = {}

    def until(self, *wanted: UUID | str) -> list[Event]:
        """The events up to the first of one of these kinds, or with one of these ids."""
        seen = []
        self.ends = time.monotonic() + 20
        for event in self:
            seen.append(event)
            if event.kind in wanted or not set(event.ids).isdisjoint(wanted):
                return seen
        raise AssertionError(f"the stream has ended before {wanted}: {self.raw!r}")

    def close(self) -> None:
        self._response.close()
        self._connection.close()


@dataclass(kw_only=True)
class Site:
    """A running API and the engine of the test on the same database."""

    engine: Engine
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    people: dict[str, Principal]
    tokens: dict[str, str]
    readers: list[Reader] = field(default_factory=list)

    def listen(self, name: str, query: str = "", **headers: str) -> Reader:
        """A stream; those that were hung up before may hold their places a moment longer."""
        found: list[Reader] = []

        def begins() -> bool:
            reader = self.ask(name, query, **headers)
            found.append(reader)
            if reader.status != 200:
                reader.close()
            return reader.status == 200

        eventually(begins, seconds=5, why="there is a place for a stream")
        return found[-1]

    def ask(self, name: str, query: str = "", **headers: str) -> Reader:
        """One try, whatever the answer is; `name` may be a session's token."""
        reader = Reader(self.port, self.tokens.get(name, name), query, **headers)
        self.readers.append(reader)
        return reader

    def hang_up(self) -> None:
        """End all streams."""
        for reader in self.readers:
            reader.close()
        self.readers.clear()

    def get(self, path: str, name: str | None, method: str = "GET") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        cookie = {} if name is None else {"Cookie": f"signoff_session={self.tokens[name]}"}
        connection.request(method, path, headers=cookie)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        is_json = response.headers["Content-Type"] == "application/json"
        return response.status, json.loads(text) if is_json else text.decode()

    def start(self, workflow: str = "to-leads") -> UUID:
        """A new human task."""
        started = self.engine.start(workflow=workflow, input={"name": "Payroll"}, requester=self.people["req"])
        with self.engine.database.autocommit() as cursor:
            row = cursor.execute("SELECT id FROM human_tasks WHERE run_id = %s", (started.run_id,)).fetchone()
        assert row is not None
        found: UUID = row[0]
        return found

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/readyz", None)[0] == 200
        except OSError:
            return False


@contextmanager
def serve(folder: Path, database_url: str, broker_url: str, **more: str) -> Iterator[Site]:
    """A site with everybody signed in."""
    engine = build_engine(Settings(database_url=database_url, broker_url=broker_url), pool_size=3)
    people = {
        name: create_principal(engine.database, name=name, kind="user", groups=groups, roles=roles)
        for name, (groups, roles) in PEOPLE.items()
    }
    tokens = {
        name: start_session(engine.database, person, hours=1, user_agent="", key=None)
        for name, person in people.items()
    }
    for name, gate in GATES.items():
        compiled = compile_document(parse_yaml(f"workflow: {name}\nsteps: [{gate}]"))
        engine.register(compiled.graph, by=people["req"].actor)
    port, log = free_port(), folder / "api.log"
    environment = os.environ | {
        "SIGNOFF_DATABASE_URL": database_url,
        "SIGNOFF_BROKER_URL": broker_url,
        "SIGNOFF_API_PORT": str(port),
        "SIGNOFF_API_WORKERS": "1",
        "SIGNOFF_API_THREADS": str(THREADS),
        "SIGNOFF_LOG_JSON": "true",
        **more,
    }
    with log.open("wb") as output:
        process = launch([sys.executable, "-m", "signoff_api"], output=output, env=environment)
    site = Site(engine=engine, port=port, process=process, log=log, people=people, tokens=tokens)
    try:
        eventually(site.ready, seconds=30, why="the API is ready")
        yield site
    finally:
        site.hang_up()
        stop(process, signal.SIGTERM, 30)
        engine.close()
    assert not re.search(r"Traceback|internal error", log.read_text()), log.read_text()
