"""The beat process: sends the sweep every interval. Any number of beats is harmless."""

from __future__ import annotations

from typing import Any

from celery import signals
from celery.beat import Scheduler

from signoff.failpoints import hit
from signoff.settings import Settings
from signoff_workers.app import make_app


class SweepScheduler(Scheduler):
    """Celery's scheduler that keeps everything in memory, with failpoints around what it sends."""

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        hit("beat.before_publish")
        sent = super().apply_async(*args, **kwargs)
        hit("beat.after_publish")
        return sent


def run_beat(settings: Settings) -> int:
    """Send until told to stop. The schedule is in memory: a missed sweep is made up for by the next."""

    @signals.setup_logging.connect(weak=False)
    def _keep_our_logging(**_: object) -> None:
        """Celery leaves logging alone where this signal has a receiver."""

    app = make_app(settings)
    app.Beat(scheduler_cls="signoff_workers.beat:SweepScheduler", loglevel=settings.log_level.upper(), quiet=True).run()
    return 0
