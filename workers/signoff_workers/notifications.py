"""Sending notifications: the sweep gives what happened to channels, and a Celery task for each channel sends it.

The tasks share a queue with those of webhooks. One channel is served by one task at a time, and one message after the
other, so that a service that is slow holds up nobody but itself.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

import structlog
from celery import Celery

from signoff.broker import NOTIFY_CHANNEL, NOTIFY_QUEUE
from signoff.engine import Engine
from signoff.errors import InvalidInput
from signoff.notifications.catalogue import ASKING
from signoff.notifications.hearing import hearing, keep_quiet, without_secrets
from signoff.notifications.messages import Facts, Message, Templates
from signoff.notifications.services import MAIL, Service, plugin_of, read_url, secrets_of
from signoff.settings import Settings
from signoff.store.database import Database
from signoff.store.notification_events import expand
from signoff.store.notification_facts import read_facts
from signoff.store.notifications import Batch, due_channels, forget_notifications, record, settle, take

log = structlog.get_logger(__name__)

BUDGET_SECONDS = 10.0
"""After this a task ends and leaves the rest to the next one: others wait for the process."""
MARGIN_SECONDS = 15.0
"""What a message may take beside the sending; then it is due again."""


def address_of(engine: Engine, facts: Facts, person: str | None) -> str | None:
    """Where to look at what a message tells of; `person` is the one whom it goes to alone, None for a group.

    None where nobody has said where the pages are.
    """
    base = engine.settings.public_url
    if base is None:
        return None
    base = base.rstrip("/")
    if facts.human_task_id is None:
        return f"{base}/runs/{facts.run_id}"
    link = None
    if engine.settings.notify_task_links and person is not None and facts.kind in ASKING:
        link = engine.task_link(facts.human_task_id, person)
    return link or f"{base}/inbox/{facts.human_task_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Courier:
    """What it takes to send what is due."""

    engine: Engine
    templates: Templates
    settings: Settings = field(repr=False)

    @classmethod
    def of(cls, engine: Engine) -> Courier:
        """From the settings of an engine."""
        keep_quiet()
        settings = engine.settings
        return cls(engine=engine, templates=Templates(folder=settings.notify_templates), settings=settings)

    @property
    def lease_seconds(self) -> float:
        """How long a worker has for a message before its rows are due again."""
        return self.settings.notify_timeout_seconds + MARGIN_SECONDS

    def serve(self, channel_id: UUID) -> int:
        """Send what is due for a channel, for a while; how many rows were sent."""
        database, pace = self.engine.database, self.settings.notify_pace()
        began = time.monotonic()
        sent = 0
        failed = False
        while not failed and time.monotonic() - began < BUDGET_SECONDS:
            batch = take(database, channel_id, pace=pace, lease_seconds=self.lease_seconds)
            if batch is None:
                break
            error = self.send(batch)
            states = self._record(batch, error)
            sent += list(states.values()).count("sent")
            # The rest waits: what could not take this would most likely not take that either.
            failed = error is not None
        settle(database, channel_id, sent=sent > 0, failed=failed, pace=pace)
        return sent

    def send(self, batch: Batch) -> str | None:
        """One attempt, outside of any transaction; None when it went well, else why not, without secrets."""
        try:
            message = self._message(batch)
            # What was allowed when it was set may not be any more.
            service = read_url(batch.url, services=self.settings.notify_services)
        except InvalidInput as error:
            return f"the channel's URL is refused: {error.detail}"
        except Exception as error:  # one message that can't be written must not keep the others
            log.exception("notification_not_written", channel=str(batch.channel_id))
            return type(error).__name__
        return self._deliver(batch.url, message, service)

    def _message(self, batch: Batch) -> Message:
        found = read_facts(
            self.engine.database, self.engine.core.versions, batch.rows, with_payload=batch.include_payload
        )
        person = batch.person if batch.digest_id is None else None
        facts = [replace(each, address=address_of(self.engine, each, person)) for each in found.values()]
        if not facts:
            return self.templates.test()
        if batch.digest_id is None:
            return self.templates.message(facts[0])
        base = self.settings.public_url
        return self.templates.digest(facts, address=None if base is None else f"{base.rstrip('/')}/inbox")

    def _deliver(self, url: str, message: Message, service: Service) -> str | None:
        """Hand it to the service, and wait no longer than a message may take."""
        seconds = self.settings.notify_timeout_seconds
        outcome: list[str | None] = []
        work = threading.Thread(
            target=lambda: outcome.append(_deliver(url, message, service, seconds=seconds)),
            name="notification",
            # A service that trickles may outlive its time; it must not keep the process from ending.
            daemon=True,
        )
        work.start()
        work.join(seconds)
        return outcome[0] if outcome else f"no answer within {seconds:g} seconds"

    def _record(self, batch: Batch, error: str | None) -> dict[UUID, str]:
        states = record(
            self.engine.database,
            batch,
            error,
            give_up_after=timedelta(hours=self.settings.notify_give_up_hours),
            random=random.random(),  # noqa: S311  # it only spreads attempts
        )
        dead = [row_id for row_id, state in states.items() if state == "dead"]
        if dead:
            log.warning("notification_dead", channel=str(batch.channel_id), count=len(dead), error=error)
        return states


def _deliver(url: str, message: Message, service: Service, *, seconds: float) -> str | None:
    from apprise import NotifyFormat

    as_page = service.scheme in MAIL
    with hearing() as said:
        try:
            plugin = plugin_of(url, seconds=seconds)
            if plugin is None:
                return "Apprise does not take this URL"
            done = plugin.notify(
                title=message.title,
                body=message.html if as_page else message.text,
                body_format=NotifyFormat.HTML if as_page else NotifyFormat.TEXT,
            )
        except Exception as error:  # noqa: BLE001  # plugins raise what the libraries beneath them raise
            return type(error).__name__
    if done:
        return None
    return without_secrets(said[-1] if said else "the service did not take it", secrets_of(url, service))


def dispatch(app: Celery, database: Database, settings: Settings) -> int:
    """Give out what has happened, and send one message for each channel that has something due. Part of the sweep."""
    hold = settings.notify_timeout_seconds + MARGIN_SECONDS
    with database.transaction() as cursor:
        expand(cursor, limit=settings.sweep_batch)
    with database.autocommit() as cursor:
        due = due_channels(cursor, hold_seconds=hold)
        forget_notifications(cursor, keep_days=settings.notify_keep_days, limit=settings.sweep_batch)
    for channel_id in due:
        app.send_task(NOTIFY_CHANNEL, (str(channel_id),), queue=NOTIFY_QUEUE, expires=hold)
    return len(due)
