"""Sending webhooks: the sweep finds endpoints that something is due for, and a Celery task each sends it.

The tasks have a queue of their own, `signoff.notify`, which the workers of the default queue serve; a worker of
`SIGNOFF_QUEUES=notify` takes them away from the steps. One endpoint is served by one task at a time, so that a
receiver that is slow holds up nobody but itself.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from celery import Celery

from signoff.broker import NOTIFY, NOTIFY_QUEUE
from signoff.errors import ConfigurationError
from signoff.settings import Settings
from signoff.store.database import Database
from signoff.store.webhook_deliveries import (
    Answer,
    Letter,
    due_endpoints,
    forget_deliveries,
    record,
    settle,
    take,
)
from signoff.webhooks.signing import headers
from signoff.webhooks.targets import TargetRefused
from signoff_workers.outgoing import Failed, Outgoing

log = structlog.get_logger(__name__)

ROUND = 8
"""Deliveries that one task sends at the same time."""
BUDGET_SECONDS = 10.0
"""After this a task ends and leaves the rest to the next one: others wait for the process."""
MARGIN_SECONDS = 15.0
"""What a round may take beside the sending; then its deliveries are due again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What it takes to send what is due."""

    database: Database
    outgoing: Outgoing
    settings: Settings

    @classmethod
    def of(cls, database: Database, settings: Settings) -> Post:
        """From the settings. Raises ConfigurationError."""
        tls = ssl.create_default_context()
        if settings.webhook_ca_file is not None:
            try:
                tls.load_verify_locations(settings.webhook_ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(f"SIGNOFF_WEBHOOK_CA_FILE can't be read: {error}") from error
        outgoing = Outgoing(policy=settings.webhook_policy(), seconds=settings.webhook_timeout_seconds, tls=tls)
        return cls(database=database, outgoing=outgoing, settings=settings)

    @property
    def lease_seconds(self) -> float:
        """How long a worker has for a round before its deliveries are due again."""
        return self.settings.webhook_timeout_seconds + MARGIN_SECONDS

    def serve(self, endpoint_id: UUID) -> int:
        """Send what is due for an endpoint, for a while; how many were delivered."""
        began = time.monotonic()
        states: list[str | None] = []
        failed = False
        while not failed and time.monotonic() - began < BUDGET_SECONDS:
            letters = take(self.database, endpoint_id, limit=ROUND, lease_seconds=self.lease_seconds)
            if not letters:
                break
            latest = self._round(letters)
            states += latest
            # The rest waits: what could not take these would most likely not take those either.
            failed = not {"pending", "dead"}.isdisjoint(latest)
        settle(self.database, endpoint_id, delivered="delivered" in states, failed=failed)
        return states.count("delivered")

    def _round(self, letters: Sequence[Letter]) -> list[str | None]:
        with ThreadPoolExecutor(max_workers=len(letters), thread_name_prefix="webhook") as threads:
            answers = list(threads.map(self.send, letters))
        return [self._record(letter, answer) for letter, answer in zip(letters, answers, strict=True)]

    def send(self, letter: Letter) -> Answer:
        """One attempt, outside of any transaction."""
        try:
            # Receivers refuse what is more than minutes old, by their clocks: an attempt is stamped when it is made.
            signed = headers(str(letter.id), int(time.time()), letter.body, letter.secrets)
            status = self.outgoing.post(letter.url, signed, letter.body)
        except TargetRefused as error:
            log.warning("webhook_refused", endpoint=str(letter.endpoint_id), why=str(error))
            return Answer(status=None, error=str(error)[:300])
        except Failed as error:
            return Answer(status=None, error=str(error)[:300])
        except Exception as error:  # one delivery that can't be sent must not keep the others
            log.exception("webhook_failed", delivery=str(letter.id))
            return Answer(status=None, error=type(error).__name__)
        return Answer(status=status)

    def _record(self, letter: Letter, answer: Answer) -> str | None:
        state = record(
            self.database,
            letter,
            answer,
            give_up_after=timedelta(hours=self.settings.webhook_give_up_hours),
            random=random.random(),  # noqa: S311  # it only spreads attempts
        )
        if state == "dead":
            log.warning(
                "webhook_dead",
                delivery=str(letter.id),
                endpoint=str(letter.endpoint_id),
                attempts=letter.attempts,
                status=answer.status,
                error=answer.error,
            )
        return state


def dispatch(app: Celery, database: Database, settings: Settings) -> int:
    """Send one message for each endpoint that something is due for; how many. Part of the sweep."""
    hold = settings.webhook_timeout_seconds + MARGIN_SECONDS
    with database.autocommit() as cursor:
        due = due_endpoints(cursor, hold_seconds=hold)
        forget_deliveries(cursor, keep_days=settings.webhook_keep_days, limit=settings.sweep_batch)
    for endpoint_id in due:
        app.send_task(NOTIFY, (str(endpoint_id),), queue=NOTIFY_QUEUE, expires=hold)
    return len(due)
