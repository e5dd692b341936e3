"""Asking a provider something by HTTP, with an end to the patience: a time, a size, and no redirects."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from signoff.errors import Unavailable

MAX_BYTES = 262_144
"""The largest answer that is read. Discovery, keys and tokens together are a few kilobytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    body: bytes


def is_safe(url: str) -> bool:
    """Whether secrets may travel there: by https, or to this machine itself."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises for one that is none
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or not url.isascii() or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))


def fetch(url: str, *, seconds: float, form: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """GET, or POST a form. Raises Unavailable when it takes longer than `seconds`, or says more than MAX_BYTES."""
    parts = urlsplit(url)
    if not is_safe(url):
        raise Unavailable("the sign-in provider has an address that is not safe")
    connection = _connection(parts, seconds)
    late = threading.Event()
    timer = threading.Timer(seconds, late.set)
    try:
        connection.connect()
        # A timeout of the socket is one for each piece; who sends a byte a second would never be late.
        timer = threading.Timer(seconds, _cut, (connection.sock, late))
        timer.daemon = True
        timer.start()
        answer = _ask(connection, parts, form, headers or {})
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable("the sign-in provider is not reachable, or takes too long") from error
    finally:
        timer.cancel()
        connection.close()
    if late.is_set():
        raise Unavailable("the sign-in provider takes too long")
    if len(answer.body) > MAX_BYTES:
        raise Unavailable("the sign-in provider answers with more than is read")
    return answer


def _ask(
    connection: http.client.HTTPConnection, parts: SplitResult, form: bytes | None, headers: Mapping[str, str]
) -> Answer:
    sent = {"Accept": "application/json", "Connection": "close", "User-Agent": "signoff", **headers}
    if form is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request("GET" if form is None else "POST", path, body=form, headers=sent)
    response = connection.getresponse()
    return Answer(status=response.status, body=response.read(MAX_BYTES + 1))


def _connection(parts: SplitResult, seconds: float) -> http.client.HTTPConnection:
    assert parts.hostname is not None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=seconds, context=context)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)


def _cut(connected: socket.socket, late: threading.Event) -> None:
    late.set()
    try:
        # Not the method of a TLS socket, which takes its state away from the thread that reads.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
    except OSError:
        return


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
