"""Somebody who calls the API and does not give up: the same request under the same key, until there is an answer."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

PROBLEM = "application/problem+json"
SHORTEST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5
IDLE_SECONDS = 2.0
"""A connection that was not used for longer may be closed by the server at any moment, which is nobody's fault."""
KEPT = 20
"""Examples of bad answers that are kept in full."""


class NoAnswer(AssertionError):
    """The API did not answer within the client's whole patience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What was answered in the end."""

    status: int
    json: Any


@dataclass
class Answers:
    """All answers of one load, the bad ones too. Shared between threads."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    """Requests whose connection ended without an answer: the server was killed, or its wire was cut."""
    bad: list[str] = field(default_factory=list)
    """What nobody may be answered, whatever is down: anything from 500 up but a 503 with a problem that says so."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str, status: int, media_type: str, body: bytes) -> None:
        with self._lock:
            self.statuses[status] += 1
            if status >= 500 and not self._says_unavailable(status, media_type, body) and len(self.bad) < KEPT:
                self.bad.append(f"{what}: {status} {media_type} {body[:300]!r}")

    def note_broken(self, what: str, error: Exception) -> None:
        with self._lock:
            self.broken.append(f"{what}: {error!r}")

    @staticmethod
    def _says_unavailable(status: int, media_type: str, body: bytes) -> bool:
        if status != 503 or media_type != PROBLEM:
            return False
        return bool(json.loads(body).get("status") == 503)


class Client:
    """One principal's key and one kept connection; for one thread."""

    def __init__(self, port: int, key: str, answers: Answers, *, patience_seconds: float = 120.0) -> None:
        self._port = port
        self._key = key
        self._answers = answers
        self._patience = patience_seconds
        self._connection: http.client.HTTPConnection | None = None
        self._used_at = 0.0
        self.stopped = threading.Event()
        """Set, and whoever waits gives up at once."""

    def ask(self, method: str, path: str, body: Any = None, *, idempotency: str | None = None) -> Reply:
        """The first answer that is none of a server in trouble. Raises NoAnswer."""
        give_up = time.monotonic() + self._patience
        pause = SHORTEST_PAUSE_SECONDS
        while True:
            reply = self._try(method, path, body, idempotency)
            if reply is not None and reply.status < 500:
                return reply
            if time.monotonic() > give_up or self.stopped.wait(pause):
                raise NoAnswer(f"{method} {path}: {reply}")
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _try(self, method: str, path: str, body: Any, idempotency: str | None) -> Reply | None:
        if time.monotonic() - self._used_at > IDLE_SECONDS:
            self.close()
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        if idempotency is not None:
            headers["Idempotency-Key"] = idempotency
        sent = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, f"/api/v1{path}", sent, headers)
            response = self._connection.getresponse()
            found = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._answers.note_broken(f"{method} {path}", error)
            self.close()
            return None
        self._used_at = time.monotonic()
        media_type = response.headers.get("Content-Type", "")
        self._answers.note(f"{method} {path}", response.status, media_type, found)
        if response.will_close:
            self.close()
        return Reply(status=response.status, json=json.loads(found) if found and "json" in media_type else None)
