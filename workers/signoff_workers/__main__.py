"""`python -m signoff_workers worker|beat|health`: the entry points of this package."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

# SIGTERM is the soft shutdown: finish what runs, within a bound. Celery reads this when it is imported.
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")

import structlog
from celery import signals

from signoff.definition.graph import Graph, StepNode
from signoff.engine import build_engine
from signoff.errors import SignoffError, Unavailable
from signoff.loading import Loaded, load_workflows
from signoff.logs import configure_logs
from signoff.model import SYSTEM
from signoff.settings import Settings, load_settings
from signoff.store.database import Database
from signoff.store.leases import oldest_overdue_seconds
from signoff_workers.app import make_app
from signoff_workers.tasks import Runtimes, register_tasks

log = structlog.get_logger(__name__)


def main(arguments: list[str]) -> int:
    """Run one of the processes until it is told to stop; answers its exit code."""
    if arguments not in (["worker"], ["beat"], ["health"]):
        sys.stderr.write("usage: python -m signoff_workers worker|beat|health\n")
        return 2
    try:
        settings = load_settings()
        configure_logs(settings, process=arguments[0])
        match arguments[0]:
            case "worker":
                return run_worker(settings)
            case "beat":
                return run_beat(settings)
            case _:
                return run_health(settings)
    except SignoffError as error:
        sys.stderr.write(f"{error.code}: {error.detail}\n")
        if error.fix:
            sys.stderr.write(f"  {error.fix}\n")
        return 1


def run_worker(settings: Settings) -> int:
    """Register the workflows this worker knows, then serve their queues."""
    loaded = load_workflows(settings.modules)
    _register(settings, loaded)
    queues = settings.queues or _queues_of(item.graph for item in loaded)
    app = make_app(settings, queues)
    runtimes = Runtimes(settings)
    register_tasks(app, runtimes)
    _connect_signals(runtimes)
    app.worker_main(
        [
            "worker",
            f"--pool={settings.pool}",
            f"--concurrency={settings.concurrency}",
            f"--loglevel={settings.log_level}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )
    return 0


def run_beat(settings: Settings) -> int:
    """Send the sweep every interval. The schedule is in memory: a missed sweep is made up for by the next."""
    app = make_app(settings)
    _mark_ready()
    app.Beat(scheduler_cls="celery.beat.Scheduler", loglevel=settings.log_level, quiet=True).run()
    return 0


def run_health(settings: Settings) -> int:
    """Whether runs move: 0, or 1 when one has waited to be picked up, or a sweep is missing, for too long.

    A process that is alive and consumes nothing looks well from outside; what it leaves undone shows in the database.
    """
    database = Database.connect(settings.require_database_url(), pool_size=1)
    try:
        with database.transaction() as cursor:
            late = oldest_overdue_seconds(cursor)
    finally:
        database.close()
    limit = settings.health_overdue_seconds
    sys.stdout.write(f"oldest overdue run: {late:.1f} s (limit {limit:g} s)\n")
    return 0 if late <= limit else 1


def _queues_of(graphs: Any) -> list[str]:
    found = ["default"]
    for graph in graphs:
        assert isinstance(graph, Graph)
        found += [node.queue for node in graph.nodes.values() if isinstance(node, StepNode)]
    return list(dict.fromkeys(found))


def _register(settings: Settings, loaded: list[Loaded]) -> None:
    """Register every workflow, waiting for a database that is not there yet."""
    engine = build_engine(settings, pool_size=1)
    pause = 0.2
    try:
        for item in loaded:
            for fault in item.warnings:
                log.warning("definition", workflow=item.graph.workflow, fault=str(fault))
            while True:
                try:
                    registered = engine.register(item.graph, by=SYSTEM)
                    break
                except Unavailable as error:
                    log.warning("waiting_for_database", error=error.detail)
                    time.sleep(pause)
                    pause = min(pause * 2, 5.0)
            log.info("workflow", name=registered.workflow, version=registered.number, new=registered.created)
    finally:
        engine.close()


def _connect_signals(runtimes: Runtimes) -> None:
    @signals.worker_ready.connect(weak=False)
    def _ready(**_: object) -> None:
        _mark_ready()

    @signals.worker_shutting_down.connect(weak=False)
    def _stopping(**_: object) -> None:
        runtimes.stop()

    @signals.setup_logging.connect(weak=False)
    def _keep_our_logging(**_: object) -> None:
        """Celery leaves logging alone where this signal has a receiver."""


def _mark_ready() -> None:
    """Tell whoever started this process that it is at work now."""
    path = os.environ.get("SIGNOFF_READY_FILE")
    if path:
        Path(path).write_text(str(os.getpid()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
