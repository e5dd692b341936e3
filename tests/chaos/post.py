"""A post office that is not to be trusted: it delivers everything one to five times, late, and in another order.

Messages between our processes: `Sorting` is a wire to the broker on which what is put into a queue goes into another
one, and `Postman` takes it there and delivers it. Callbacks: `Courier` posts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from signoff.webhooks import signing
from tests.chaos.client import Answers
from tests.chaos.proxy import CHUNK, Proxy, _Wire

QUEUES = tuple(f"signoff.{name}" for name in ("default", "resume", "control", "notify"))
HELD = "held."
MOST = 5
LONGEST_SECONDS = 1.5
LOOK_SECONDS = 0.005
BATCH = 100
PAUSE_SECONDS = 0.1
AT_ONCE = 0.4
"""The share of copies that come in the same moment as the one before."""


def times(draw: random.Random) -> list[float]:
    """In how many seconds each copy is delivered, the first first."""
    found = [draw.uniform(0, LONGEST_SECONDS / 3)]
    for _ in range(draw.randint(1, MOST) - 1):
        found.append(found[-1] if draw.random() < AT_ONCE else draw.uniform(0, LONGEST_SECONDS))
    return sorted(found)


class Sorting(Proxy):
    """A wire to a Redis-protocol broker that puts aside what is pushed into our queues."""

    async def _pump(self, wire: _Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if writer is not wire.far:
            await super()._pump(wire, reader, writer)
            return
        held = bytearray()
        with contextlib.suppress(OSError):
            while piece := await reader.read(CHUNK):
                held += piece
                for command in commands(held):
                    writer.write(put_aside(command))
                await writer.drain()


def commands(held: bytearray) -> Iterator[list[bytes]]:
    """The whole commands at the beginning of `held`, taken out of it: arrays of strings, as every client sends them."""
    while True:
        end = held.find(b"\r\n")
        if end < 0:
            return
        at, parts = end + 2, []
        for _ in range(int(held[1:end])):
            end = held.find(b"\r\n", at)
            if end < 0:
                return
            size = int(held[at + 1 : end])
            if len(held) < end + 2 + size + 2:
                return
            parts.append(bytes(held[end + 2 : end + 2 + size]))
            at = end + 2 + size + 2
        del held[:at]
        yield parts


def put_aside(command: list[bytes]) -> bytes:
    """The command's bytes, with another list where it pushes into a queue of ours."""
    if command[0].upper() == b"LPUSH" and command[1].decode() in QUEUES:
        command = [command[0], HELD.encode() + command[1], *command[2:]]
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in command)


class Postman:
    """Delivers what was put aside in this broker. `counts` has what it did."""

    def __init__(self, socket: Path, draw: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self._client = redis.Redis(unix_socket_path=str(socket))
        self._draw = draw
        self._due: list[tuple[float, int, str, bytes]] = []
        self._number = itertools.count()
        self._latest = -1
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="postman", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Deliver what is left, and stop."""
        self._ending.set()
        self._thread.join(30)
        self._client.close()

    def _run(self) -> None:
        while not (self._ending.wait(LOOK_SECONDS) and not self._due):
            now = time.monotonic()
            for queue in QUEUES:
                taken: Any = self._client.rpop(HELD + queue, BATCH)
                for message in taken or ():
                    number = next(self._number)
                    for seconds in times(self._draw):
                        heapq.heappush(self._due, (now + seconds, number, queue, message))
            self._deliver(now)

    def _deliver(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            _, number, queue, message = heapq.heappop(self._due)
            self._client.lpush(queue, message)
            again = number <= self._latest
            self.counts["messages"] += 1
            self.counts["messages late or again"] += again
            self._latest = max(self._latest, number)


class Courier:
    """Posts signed callbacks for people elsewhere, each as often as the draw says. `replies` has every answer."""

    def __init__(self, port: int, token: str, secret: str, answers: Answers, *, threads: int = 4) -> None:
        self.replies: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        self._path = f"/api/v1/callbacks/{token}"
        self._port, self._secret, self._answers = port, secret, answers
        self._due: list[tuple[float, int, str, bytes, dict[str, str]]] = []
        self._number = itertools.count()
        self._open = 0
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, name=f"courier-{at}", daemon=True) for at in range(threads)]
        for thread in self._threads:
            thread.start()

    def send(self, message_id: str, body: dict[str, Any], draw: random.Random) -> int:
        """Have this delivered; how often it will be."""
        data, now = json.dumps(body).encode(), time.monotonic()
        headers = signing.headers(message_id, int(time.time()), data, [self._secret])
        delays = times(draw)
        with self._lock:
            self._open += len(delays)
            for seconds in delays:
                heapq.heappush(self._due, (now + seconds, next(self._number), message_id, data, headers))
        return len(delays)

    @property
    def done(self) -> bool:
        return not self._open

    def close(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._ending.is_set():
            with self._lock:
                due = heapq.heappop(self._due) if self._due and self._due[0][0] <= time.monotonic() else None
            if due is None:
                self._ending.wait(LOOK_SECONDS)
                continue
            _, _, message_id, data, headers = due
            answer = self._post(connection, data, headers)
            with self._lock:
                self.replies[message_id].append(answer)
                self._open -= 1
        connection.close()

    def _post(self, connection: http.client.HTTPConnection, data: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        """The answer. A kept connection may have been closed meanwhile, and then it is delivered once more."""
        while not self._ending.is_set():
            try:
                connection.request("POST", self._path, data, {"Content-Type": "application/json"} | headers)
                response = connection.getresponse()
                found = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._answers.note_broken("POST callback", error)
                self._ending.wait(PAUSE_SECONDS)
                continue
            self._answers.note("POST callback", response.status, response.headers.get("Content-Type", ""), found)
            return response.status, json.loads(found)
        return 0, None
