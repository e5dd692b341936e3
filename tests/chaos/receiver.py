"""The world outside: a process that takes effects over HTTP, once for each key, and remembers everything in SQLite.

`POST /effects` with an `Idempotency-Key` and a JSON body is answered 201 the first time and 200 afterwards. Every Nth
answer gets lost after the effect was recorded, as answers do: whoever asked has to ask again.

    python -m tests.chaos.receiver LEDGER PORT_FILE [LOSE_EVERY]
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (id INTEGER PRIMARY KEY, key TEXT NOT NULL, body TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS effects (key TEXT PRIMARY KEY, body TEXT NOT NULL, at REAL NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Something that has happened outside, once: what was asked under this key first."""

    key: str
    body: dict[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """The receiver's books, read while it writes or afterwards."""

    path: Path

    def effects(self) -> list[Effect]:
        """What has happened, in its order."""
        with self._opened() as books:
            rows = books.execute("SELECT key, body, at FROM effects ORDER BY at, key").fetchall()
        return [Effect(key=key, body=json.loads(body), at=at) for key, body, at in rows]

    def count(self) -> int:
        with self._opened() as books:
            found: int = books.execute("SELECT count(*) FROM effects").fetchone()[0]
        return found

    def repeated(self) -> int:
        """Deliveries that were none the first time: what the keys have made harmless."""
        with self._opened() as books:
            found: int = books.execute(
                "SELECT (SELECT count(*) FROM deliveries) - (SELECT count(*) FROM effects)"
            ).fetchone()[0]
        return found

    def disagreeing(self) -> list[str]:
        """Keys under which something else was asked the second time."""
        with self._opened() as books:
            rows = books.execute("SELECT key FROM deliveries GROUP BY key HAVING count(DISTINCT body) > 1").fetchall()
        return [row[0] for row in rows]

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=10)) as books:
            yield books


class ReceiverServer(ThreadingHTTPServer):
    """The receiver on a free port of its own. Every `lose_every`th answer gets lost; 0 loses none."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, ledger: Path, lose_every: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._books = sqlite3.connect(ledger, check_same_thread=False, isolation_level=None)
        self._books.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;" + SCHEMA)
        self._lock = threading.Lock()
        self._lose_every = lose_every
        self._count = 0

    def record(self, key: str, body: str) -> tuple[bool, bool]:
        """Whether it happened now, and whether the answer gets lost."""
        with self._lock:
            now = time.time()
            self._books.execute("BEGIN")
            self._books.execute("INSERT INTO deliveries (key, body, at) VALUES (?, ?, ?)", (key, body, now))
            done = self._books.execute("INSERT OR IGNORE INTO effects VALUES (?, ?, ?)", (key, body, now)).rowcount == 1
            self._books.execute("COMMIT")
            self._count += 1
            return done, bool(self._lose_every) and self._count % self._lose_every == 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ReceiverServer

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            # Whoever asked died in the middle of it, and has asked for nothing.
            self.close_connection = True
            return
        key = self.headers["Idempotency-Key"]
        if self.path != "/effects" or not key:
            self._answer(400)
            return
        done, lost = self.server.record(key, body.decode())
        if lost:
            self.close_connection = True
            return
        self._answer(201 if done else 200)

    def _answer(self, status: int) -> None:
        # Whoever asked may have been killed meanwhile.
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    ledger, port_file = Path(sys.argv[1]), Path(sys.argv[2])
    server = ReceiverServer(ledger, int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    made = port_file.with_suffix(".new")
    made.write_text(str(server.server_address[1]))
    made.rename(port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
