"""The beat process: sends the sweep every interval. Any number of beats is harmless."""

from __future__ import annotations

from celery import signals

from signoff.settings import Settings
from signoff_workers.app import make_app


def run_beat(settings: Settings) -> int:
    """Send until told to stop. The schedule is in memory: a missed sweep is made up for by the next."""

    @signals.setup_logging.connect(weak=False)
    def _keep_our_logging(**_: object) -> None:
        """Celery leaves logging alone where this signal has a receiver."""

    app = make_app(settings)
    app.Beat(scheduler_cls="celery.beat.Scheduler", loglevel=settings.log_level.upper(), quiet=True).run()
    return 0
