"""The Celery tasks. Each parses ids and calls the engine; a message never carries more than that."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

import structlog
from celery import Celery
from kombu.exceptions import KombuError

from signoff.broker import EXECUTE, NOTIFY, NOTIFY_CHANNEL, SWEEP
from signoff.engine import Engine, build_engine
from signoff.errors import Unavailable
from signoff.settings import Settings
from signoff_workers import notifications, webhooks
from signoff_workers.consumer import Acknowledged, passing_over
from signoff_workers.in_hand import InHand
from signoff_workers.rest import Rest
from signoff_workers.runner import Runner
from signoff_workers.taken import Taken

log = structlog.get_logger(__name__)

_BROKER_IS_AWAY = (KombuError, OSError)

BELIEVED_SHARE = 0.6
"""Of the time until a message is sent again: so long it is believed that its run is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What a process needs to work, made after any fork: connections don't survive one."""

    pid: int
    engine: Engine
    runner: Runner


class Runtimes:
    """The runtime of the current process."""

    def __init__(self, settings: Settings, in_hand: InHand, queues: Iterable[str] = ()) -> None:
        self._settings = settings
        self._in_hand = in_hand
        self._queues = tuple(queues)
        # Shared by what is forked later. An entry is forgotten before a message is sent again.
        self.taken = Taken(believed_seconds=settings.republish_seconds * BELIEVED_SHARE)
        self.rest = Rest()
        self._lock = threading.Lock()
        self._runtime: Runtime | None = None

    def current(self) -> Runtime:
        """This process's runtime, made now when there is none."""
        runtime = self._runtime
        if runtime is not None and runtime.pid == os.getpid():
            return runtime
        with self._lock:
            if self._runtime is None or self._runtime.pid != os.getpid():
                threads = self._settings.concurrency if self._settings.pool == "threads" else 1
                # One connection a step, one for the watch, one for the sweep.
                engine = build_engine(self._settings, pool_size=threads + 2, by_keys=True)
                runner = Runner(engine, self._in_hand, self._queues, self.taken)
                self._runtime = Runtime(pid=os.getpid(), engine=engine, runner=runner)
            return self._runtime


def register_tasks(app: Celery, runtimes: Runtimes) -> None:
    """Give the application its Celery tasks."""

    @app.task(name=EXECUTE, Request=Acknowledged, Strategy=staticmethod(passing_over(runtimes.taken)))
    def execute(run_id: str, epoch: int) -> None:
        runtimes.current().runner.execute(UUID(run_id), epoch)

    @app.task(name=SWEEP)
    def sweep() -> None:
        with runtimes.rest.working() as may:
            if may:
                _sweep(app, runtimes.current().engine)

    @app.task(name=NOTIFY)
    def notify(endpoint_id: str) -> None:
        engine = runtimes.current().engine
        try:
            webhooks.Post.of(engine.database, engine.settings).serve(UUID(endpoint_id))
        except Unavailable as error:
            # What it had taken is due again soon.
            log.warning("webhooks_not_sent", error=error.detail)

    @app.task(name=NOTIFY_CHANNEL)
    def notify_channel(channel_id: str) -> None:
        try:
            notifications.Courier.of(runtimes.current().engine).serve(UUID(channel_id))
        except Unavailable as error:
            log.warning("notifications_not_sent", error=error.detail)


def _sweep(app: Celery, engine: Engine) -> None:
    try:
        swept = engine.sweep()
        webhooks.dispatch(app, engine.database, engine.settings)
        notifications.dispatch(app, engine.database, engine.settings)
    except (Unavailable, *_BROKER_IS_AWAY) as error:
        log.warning("sweep_failed", error=str(error))
        return
    if swept.leases_expired or swept.human_tasks or swept.resent or swept.claims_lapsed:
        log.info(
            "swept",
            resent=swept.resent,
            leases_expired=swept.leases_expired,
            human_tasks=swept.human_tasks,
            claims_lapsed=swept.claims_lapsed,
        )
