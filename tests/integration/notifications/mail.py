"""A real SMTP server on loopback, and a worker's way of sending what is due."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from uuid import UUID

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from tests.integration.engine.world import World

from signoff.engine import Engine, channels
from signoff.identity import Principal
from signoff.settings import Settings
from signoff.store.identity import create_principal
from signoff.store.notification_channels import Channel
from signoff.store.notification_events import expand
from signoff.store.notifications import Notification, due_channels
from signoff_workers.notifications import Courier

OPERATOR = Principal(id=UUID(int=0), name="signoff", kind="system", roles=frozenset({"admin"}))
PUBLIC_URL = "https://signoff.example.com"


@dataclass
class Mailbox:
    """What came, in its order. While `refusing`, nothing is taken."""

    refusing: bool = False
    got: list[EmailMessage] = field(default_factory=list)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        if self.refusing:
            return "451 not now"
        assert isinstance(envelope.content, bytes)
        found = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(found, EmailMessage)
        with self.lock:
            self.got.append(found)
        return "250 OK"

    def url(self, to: str = "ana@example.com") -> str:
        return f"mailto://127.0.0.1:{self.port}/{to}?from=signoff@example.com&mode=insecure"

    def subjects(self) -> list[str]:
        return [str(each["Subject"]) for each in self.got]

    def recipients(self) -> set[str]:
        return {str(each["To"]) for each in self.got}


class _Server(Controller):
    """On a free port, which is known only once it is taken."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def smtp() -> Iterator[Mailbox]:
    """A server on a free port of loopback."""
    made = Mailbox()
    controller = _Server(made, hostname="127.0.0.1", port=0)
    controller.start()
    made.port = controller.port
    try:
        yield made
    finally:
        controller.stop()


def texts(message: EmailMessage) -> tuple[str, str]:
    """What it says as plain text, and as a page."""
    plain, page = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert page is not None
    return plain.get_content(), page.get_content()


@dataclass
class Office:
    """A world with people in it, and a worker that tells them."""

    world: World
    people: dict[str, Principal] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def person(self, name: str, *groups: str, roles: tuple[str, ...] = ("reviewer",)) -> Principal:
        made = create_principal(self.world.engine.database, name=name, kind="user", groups=groups, roles=roles)
        self.people[name] = made
        return made

    def settings(self) -> Settings:
        given = {"public_url": PUBLIC_URL, "notify_timeout_seconds": 5, "notify_burst": 100} | self.options
        return Settings(database_url=self.world.url, **given)

    def add(self, subject: str, to: Mailbox | str, *events: str, payload: bool = False) -> Channel:
        url = to if isinstance(to, str) else to.url(f"{subject.partition(':')[2]}@example.com")
        return channels.add(
            self.world.engine.database,
            self.settings(),
            subject=subject,
            url=url,
            events=events,
            include_payload=payload,
            by=OPERATOR,
        )

    def courier(self) -> Courier:
        core = self.world.engine
        return Courier.of(Engine(database=core.database, publisher=core.publisher, settings=self.settings()))

    def due(self) -> list[UUID]:
        """What the sweep does: give out what has happened, and find who has something due."""
        with self.world.engine.database.transaction() as cursor:
            expand(cursor, limit=1000)
        with self.world.engine.database.autocommit() as cursor:
            return due_channels(cursor, hold_seconds=30)

    def send(self) -> int:
        """What the sweep and the tasks that it starts do."""
        courier = self.courier()
        return sum(courier.serve(channel_id) for channel_id in self.due())

    def rows(self, channel: Channel | None = None) -> list[Notification]:
        return channels.sent(
            self.world.engine.database, None if channel is None else channel.id, limit=200, by=OPERATOR
        )

    def until_settled(self) -> None:
        """Move the clock from attempt to attempt until nothing waits any more."""
        while waiting := [each.due_at for each in self.rows() if each.due_at is not None]:
            self.world.later(max((min(waiting) - self.world.now()).total_seconds(), 0) + 31)
            self.send()
