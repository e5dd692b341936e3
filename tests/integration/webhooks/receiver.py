"""Receivers of webhooks on loopback, each a server of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from uuid import UUID

import orjson
from standardwebhooks import Webhook
from tests.integration.engine.world import World

from signoff.model import SYSTEM
from signoff.settings import Settings
from signoff.store.webhook_deliveries import Delivery, due_endpoints, list_deliveries
from signoff.store.webhooks import Endpoint, add_endpoint
from signoff_workers.webhooks import Post

Responder: TypeAlias = Callable[[BaseHTTPRequestHandler, int], None]
"""Answers a request; the number counts from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """The body, once the package of the scheme has verified it."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """What came, in its order."""

    port: int
    got: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?from=signoff"

    def kinds(self) -> list[str]:
        return sorted(orjson.loads(each.body)["type"] for each in self.got)


def answer(status: int, **headers: str) -> Responder:
    """Always this."""

    def respond(handler: BaseHTTPRequestHandler, _number: int) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return respond


def answers(*statuses: int) -> Responder:
    """One after the other, the last one for ever."""
    return lambda handler, number: answer(statuses[min(number, len(statuses)) - 1])(handler, number)


@contextmanager
def receiver(respond: Responder | None = None) -> Iterator[Receiver]:
    """A receiver that answers in this way; 204 where none is given."""
    reply = respond or answer(204)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                made.got.append(Received(path=self.path, headers=dict(self.headers.items()), body=body))
                number = len(made.got)
            try:
                reply(self, number)
            except OSError:  # the sender has hung up, as it may
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = Receiver(port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@dataclass
class Sender:
    """A world, and a worker's way of sending what is due there."""

    world: World
    options: dict[str, Any] = field(default_factory=dict)

    def add(self, to: Receiver, *events: str, include_payload: bool = False) -> tuple[Endpoint, str]:
        database = self.world.engine.database
        return add_endpoint(database, url=to.url, events=events, include_payload=include_payload, by=SYSTEM)

    def post(self, *receivers: Receiver, **options: Any) -> Post:
        ports = [str(each.port) for each in receivers]
        settings = Settings(
            database_url=self.world.url,
            webhook_ports=ports,
            webhook_allow=("127.0.0.0/8",),
            webhook_http=True,
            **({"webhook_timeout_seconds": 5} | self.options | options),
        )
        return Post.of(self.world.engine.database, settings)

    def due(self) -> list[UUID]:
        with self.world.engine.database.autocommit() as cursor:
            return due_endpoints(cursor, hold_seconds=30)

    def send(self, *receivers: Receiver, **options: Any) -> int:
        """What the sweep and the tasks that it starts do."""
        post = self.post(*receivers, **options)
        return sum(post.serve(endpoint_id) for endpoint_id in self.due())

    def deliveries(self, endpoint: Endpoint) -> Sequence[Delivery]:
        return list_deliveries(self.world.engine.database, endpoint.id)

    def until_dead(self, endpoint: Endpoint, to: Receiver) -> timedelta:
        """Move the clock from attempt to attempt; how long the only delivery was tried."""
        began = self.world.now()
        while True:
            (one,) = self.deliveries(endpoint)
            if one.due_at is None:
                return self.world.now() - began
            self.world.later((one.due_at - self.world.now()).total_seconds() + 31)
            self.send(to)
