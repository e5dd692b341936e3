"""Gunicorn's thread worker, with an end to the patience for slow clients, and with problems for what it refuses.

A thread serves one client at a time. Gunicorn waits without limit for the rest of a request and for a client
that does not take its answer, so a few slow ones would hold every thread there is. A request that it can't make
out it would answer with a page of HTML, where a client of the API expects `application/problem+json`.
"""

from __future__ import annotations

import errno
import math
import socket
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from flask import Flask
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from signoff_api import problems
from signoff_api.answers import to_bytes
from signoff_api.inbox.live import end_streams


class TimedSocket:
    """A client's socket that reads only until a deadline, and writes a piece at a time within a limit."""

    def __init__(self, client: socket.socket, *, read_seconds: float, write_seconds: float) -> None:
        self._client = client
        self._read_seconds = read_seconds
        self._write_seconds = write_seconds
        self._deadline = math.inf
        self.is_last = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def expect_request(self) -> None:
        """Start the clock for one request."""
        self._deadline = time.monotonic() + self._read_seconds

    def close_after_answer(self) -> None:
        """Serve no further request of this client, and do not wait for them to hang up."""
        self.is_last = True

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Bytes of the request. Raises ConnectionResetError past the deadline."""
        # Who set a shorter limit keeps it: gunicorn does while it drains a body before closing.
        before = self._client.gettimeout()
        left = max(self._deadline - time.monotonic(), 0.001)
        self._client.settimeout(left if before is None else min(left, before))
        try:
            return self._client.recv(size, flags)
        except TimeoutError as error:
            if before is not None:
                raise
            raise ConnectionResetError(errno.ECONNRESET, "the request took too long") from error
        finally:
            self._client.settimeout(before)

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Write all of it. Raises ConnectionResetError when the client does not take it in time."""
        before = self._client.gettimeout()
        self._client.settimeout(self._write_seconds)
        try:
            self._client.sendall(data, flags)
        except TimeoutError as error:
            raise ConnectionResetError(errno.ECONNRESET, "the client does not read its answer") from error
        finally:
            self._client.settimeout(before)


class _Page:
    """Stands in for the client's socket while gunicorn writes the page it refuses a request with."""

    status = int(HTTPStatus.BAD_REQUEST)

    def gettimeout(self) -> float:
        return 0.0

    def sendall(self, data: bytes) -> None:
        self.status = int(data.split(b" ", 2)[1])


def _refusal(status: int) -> bytes:
    members = problems.unread(status)
    body = to_bytes(members)
    head = (
        f"HTTP/1.1 {members['status']} {HTTPStatus(members['status']).phrase}",
        "Connection: close",
        f"Content-Type: {problems.MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "",
        "",
    )
    return "\r\n".join(head).encode("ascii") + body


def worker_class(*, read_seconds: float, write_seconds: float) -> type[ThreadWorker]:
    """The worker with these limits; gunicorn makes its workers itself and hands them nothing of ours."""

    class TimedThreadWorker(ThreadWorker):  # type: ignore[misc]
        def handle(self, conn: TConn) -> object:
            if not isinstance(conn.sock, TimedSocket):
                conn.sock = TimedSocket(conn.sock, read_seconds=read_seconds, write_seconds=write_seconds)
            conn.sock.expect_request()
            kept = super().handle(conn)
            if conn.sock.is_last:
                # Here, in its own thread: gunicorn's would wait for the client, one after the other.
                conn.sock.close()
                return False
            return kept

        def set_accept_enabled(self, enabled: bool) -> None:
            # What a worker that stops does first, whatever made it stop. A stream would hold it up for minutes.
            if not enabled and not (self.alive and self.is_parent_alive()):
                self._end_streams()
            super().set_accept_enabled(enabled)

        def handle_quit(self, sig: int, frame: Any) -> None:
            self._end_streams()
            super().handle_quit(sig, frame)

        def _end_streams(self) -> None:
            app = getattr(self, "wsgi", None)  # not there until it is loaded
            if isinstance(app, Flask):
                end_streams(app)

        def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
            page = _Page()
            super().handle_error(req, page, addr, exc)
            # A client that is gone already needs no answer.
            with suppress(OSError):
                client.sendall(_refusal(page.status))

    return TimedThreadWorker
