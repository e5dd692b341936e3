"""One person, service or agent who talks to the API over HTTP, with nothing but the standard library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

from tests.servers import eventually

Json: TypeAlias = Any

BASE = "/api/v1"
PROBLEM = "application/problem+json"
PATIENCE_SECONDS = 30.0
"""How long a test waits for what should take a moment: other tests use the same two cores."""


@dataclass(frozen=True)
class Answer:
    """What the API answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        return json.loads(self.body)

    def ok(self, status: int = 200) -> Json:
        """The body, when the status is the expected one."""
        assert self.status == status, f"{self.status} instead of {status}: {self.body.decode(errors='replace')}"
        return self.json

    def problem(self, status: int, code: str) -> Json:
        """The problem, when it is the expected one."""
        found = self.ok(status)
        assert self.headers["Content-Type"] == PROBLEM
        assert (found["code"], found["status"]) == (code, status), found
        return found

    @property
    def replayed(self) -> bool:
        return self.headers.get("Idempotent-Replayed") == "true"


@dataclass(frozen=True)
class Caller:
    """Somebody with a key (or without one)."""

    api_url: str
    key: str | None

    def send(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        base: str = BASE,
        seconds: float = 20.0,
    ) -> Answer:
        """One request. `body` is sent as JSON, `data` as it is."""
        sent = {"Content-Type": "application/json"} if body is not None else {}
        sent |= headers or {}
        if self.key is not None:
            sent["Authorization"] = f"Bearer {self.key}"
        if body is not None:
            data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.api_url}{base}{path}", data=data, headers=sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as response:
                return Answer(status=response.status, headers=response.headers, body=response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(status=error.code, headers=error.headers, body=error.read())

    def get(self, path: str, **query: object) -> Answer:
        return self.send("GET", f"{path}?{urlencode(query)}" if query else path)

    def post(self, path: str, body: Json = None, *, headers: Mapping[str, str] | None = None) -> Answer:
        return self.send("POST", path, body, headers=headers)

    def put(self, path: str, body: Json = None) -> Answer:
        return self.send("PUT", path, body)

    def delete(self, path: str) -> Answer:
        return self.send("DELETE", path)

    def answers(self, path: str = "/readyz") -> bool:
        """Whether the API answers this with 200 right now."""
        try:
            return self.send("GET", path, base="", seconds=5).status == 200
        except (OSError, HTTPException):
            return False

    # What tests do all the time.

    def register(self, document: str) -> Json:
        """Register a workflow written in YAML under the name it has inside."""
        name = document.split("workflow:", 1)[1].split("\n", 1)[0].strip()
        answer = self.send(
            "PUT",
            f"/workflows/{quote(name)}",
            data=document.encode(),
            headers={"Content-Type": "application/yaml"},
        )
        assert answer.status in (200, 201), answer.body
        return answer.json

    def start(self, workflow: str, input: Json, **more: Json) -> Json:
        """Start a run; the run."""
        answer = self.post("/runs", {"workflow": workflow, "input": input, **more})
        run = answer.ok(201)
        assert answer.headers["Location"] == f"{BASE}/runs/{run['id']}"
        return run

    def run(self, run: Json) -> Json:
        """The run as it is now."""
        return self.get(f"/runs/{run['id']}").ok()

    def until(self, run: Json, *statuses: str, seconds: float = PATIENCE_SECONDS) -> Json:
        """The run once it has one of these statuses."""
        last: Json = None

        def look() -> Json:
            nonlocal last
            last = self.run(run)
            return last if last["status"] in statuses else None

        try:
            return eventually(look, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{statuses} not reached within {seconds} s by {last}") from error

    def task(self, run: Json, at: int = -1) -> Json:
        """The newest human task of a run (or another of them) as it is now."""
        human_tasks = self.run(run)["human_tasks"]
        assert human_tasks, "the run has no human task"
        return self.get(f"/human-tasks/{human_tasks[at]}").ok()

    def parked(self, run: Json) -> Json:
        """The human task that the run waits at, once it is in this caller's inbox."""

        def look() -> Json:
            found = self.get("/human-tasks", run=run["id"]).ok()["items"]
            return found[0] if found else None

        return self.get(f"/human-tasks/{eventually(look, seconds=PATIENCE_SECONDS, why='no human task')['id']}").ok()

    def decide(self, task: Json, decision: str, *, headers: Mapping[str, str] | None = None, **more: Json) -> Answer:
        """Decide on what `task` shows."""
        body = {"decision": decision, "payload_sha256": task["payload_sha256"], **more}
        return self.post(f"/human-tasks/{task['id']}/decisions", body, headers=headers)

    def events(self, run: Json) -> list[Json]:
        """The whole log of a run, page by page."""
        found: list[Json] = []
        while True:
            page = self.get(f"/runs/{run['id']}/events", after=len(found), limit=50).ok()
            found += page["items"]
            if page["next_cursor"] is None:
                return found

    def types(self, run: Json) -> list[str]:
        """The types of a run's events in their order."""
        return [event["type"] for event in self.events(run)]

    def event(self, run: Json, kind: str) -> Json:
        """The only event of this type in a run's log."""
        found = [event for event in self.events(run) if event["type"] == kind]
        assert len(found) == 1, f"{len(found)} events {kind}"
        return found[0]

    def labelled(self, label: str, *statuses: str) -> list[Json]:
        """Up to 200 runs with this label, newest first; only those of these statuses where some are given."""
        found = self.get("/runs", label=label, limit=200).ok()["items"]
        return [run for run in found if not statuses or run["status"] in statuses]

    def inbox(self, **query: object) -> list[Json]:
        """All human tasks that a query finds, page by page."""
        found: list[Json] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get("/human-tasks", limit=200, **query, **cursor).ok()
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    def until_labelled(self, label: str, count: int, status: str) -> list[Json]:
        """The runs with this label once so many of them have this status."""

        def look() -> list[Json] | None:
            found = self.labelled(label, status)
            return found if len(found) >= count else None

        found: list[Json] = eventually(look, seconds=60, why=f"{count} runs {label} {status}")  # type: ignore[assignment]
        assert len(found) == count
        return found

    def until_event(self, run: Json, kind: str, *, count: int = 1) -> None:
        """Wait until a run's log has so many events of this type."""
        eventually(lambda: self.types(run).count(kind) >= count, seconds=PATIENCE_SECONDS, why=f"{kind} in the log")
