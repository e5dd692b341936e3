"""One POST to an address that was judged: no redirects, no proxies, bounded in time and in what is read.

Written on sockets, because an HTTP client would resolve the name once more, follow where it is sent, or read for as
long as bytes trickle in.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from signoff.webhooks.targets import Address, Policy, Target, TargetRefused, judge, read_url

Resolver: TypeAlias = Callable[[str, int], Sequence[str]]
"""The addresses of a host, as text. Raises OSError when there are none."""

MAX_HEAD_BYTES = 16_384
"""What is read of an answer, at most: only its status counts."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?:[ \r\n]|$)")
_ENOUGH_FOR_STATUS = 64


class Failed(Exception):
    """There was no answer. The message is short and says nothing of what was received."""


def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system, once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """How deliveries are sent. `seconds` bounds everything together: the name, the connection, the answer."""

    policy: Policy
    seconds: float
    tls: ssl.SSLContext
    resolver: Resolver = field(default=resolve)
    user_agent: str = "signoff"

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer. Raises TargetRefused, Failed."""
        deadline = time.monotonic() + self.seconds
        target = read_url(url, self.policy)
        addresses = self._addresses(target, deadline)
        try:
            with _connected(addresses, target.port, deadline) as plain:
                if not target.tls:
                    return _exchange(plain, self._request(target, headers, body), deadline)
                plain.settimeout(_left(deadline))
                with self.tls.wrap_socket(plain, server_hostname=target.host) as secured:
                    return _exchange(secured, self._request(target, headers, body), deadline)
        except ssl.SSLCertVerificationError as error:
            raise Failed(f"its certificate is not accepted: {error.verify_message}"[:200]) from error
        except TimeoutError as error:
            raise Failed(f"no answer within {self.seconds:g} s") from error
        except (OSError, ssl.SSLError) as error:
            raise Failed(f"the connection failed: {type(error).__name__}") from error

    def _addresses(self, target: Target, deadline: float) -> list[Address]:
        """All addresses of the host. One that is refused is enough to send nothing: the next look-up may give it."""
        found = _within(deadline, lambda: self.resolver(target.host, target.port))
        if not found:
            raise Failed("the name has no address")
        return [judge(each, target, self.policy) for each in found]

    def _request(self, target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = {
            "Host": target.authority,
            "User-Agent": self.user_agent,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST {target.path} HTTP/1.1\r\n{head}\r\n".encode("ascii") + body


def _connected(addresses: Sequence[Address], port: int, deadline: float) -> socket.socket:
    failure: OSError | None = None
    for address in addresses:
        try:
            return socket.create_connection((str(address), port), timeout=_left(deadline))
        except TimeoutError:
            raise
        except OSError as error:
            failure = error
    assert failure is not None
    raise failure


def _exchange(connection: socket.socket, request: bytes, deadline: float) -> int:
    at = 0
    while at < len(request):
        connection.settimeout(_left(deadline))
        at += connection.send(request[at : at + 65_536])
    received = b""
    while len(received) < MAX_HEAD_BYTES:
        connection.settimeout(_left(deadline))
        piece = connection.recv(4096)
        if not piece:
            break
        received += piece
        status = _status(received)
        if status is not None:
            return status
    raise Failed("the answer is no HTTP")


def _status(received: bytes) -> int | None:
    """The final status in what has been received, None while it may still come. Raises Failed."""
    while True:
        found = _STATUS.match(received)
        if found is None:
            if b"\n" in received or len(received) > _ENOUGH_FOR_STATUS:
                raise Failed("the answer is no HTTP")
            return None
        status = int(found.group(1))
        if status >= 200:
            return status
        # What comes before the answer: 100 Continue, 103 Early Hints.
        _, ended, received = received.partition(b"\r\n\r\n")
        if not ended or not received:
            return None


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _within(deadline: float, ask: Callable[[], Sequence[str]]) -> Sequence[str]:
    """What `ask` answers. The system's resolver knows no time limit, so it is left behind in a thread of its own."""
    answers: list[Sequence[str]] = []
    failures: list[Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # noqa: BLE001  # whatever it is, there is no address
            failures.append(error)

    thread = threading.Thread(target=run, name="webhook-resolver", daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
    if failures:
        raise Failed("the name can't be resolved") from failures[0]
    if not answers:
        raise Failed("the name was not resolved in time")
    return answers[0]


__all__ = ["Failed", "Outgoing", "Resolver", "TargetRefused", "resolve"]
