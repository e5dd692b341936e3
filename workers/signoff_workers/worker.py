"""The worker process: register the workflows it knows, then serve their queues."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import structlog
from celery import Celery, signals

from signoff.definition.graph import DEFAULT_QUEUE, Graph, StepNode
from signoff.engine import Engine, Registered, build_engine
from signoff.errors import Unavailable
from signoff.loading import Loaded, load_workflows
from signoff.model import SYSTEM
from signoff.settings import Settings
from signoff_workers.app import make_app
from signoff_workers.in_hand import InHand, StoppingWorker
from signoff_workers.tasks import Runtimes, register_tasks

log = structlog.get_logger(__name__)

LONGEST_PAUSE_SECONDS = 5.0


def run_worker(settings: Settings) -> int:
    """Serve until told to stop; answers the exit code."""
    settings.webhook_policy()  # a bad one is said now, not when there is something to send
    loaded = load_workflows(settings.modules)
    _register_all(settings, loaded)
    queues = settings.queues or queues_of(item.graph for item in loaded)
    app = make_app(settings, queues)
    in_hand = InHand()
    register_tasks(app, Runtimes(settings, in_hand, queues))
    _connect_signals(settings, in_hand)
    return _serve(app, settings, in_hand)


def queues_of(graphs: Iterable[Graph]) -> list[str]:
    """The default queue and every other that a step of these graphs names."""
    found = [DEFAULT_QUEUE]
    for graph in graphs:
        found += [node.queue for node in graph.nodes.values() if isinstance(node, StepNode)]
    return list(dict.fromkeys(found))


def mark_ready() -> None:
    """Tell whoever started this process that it is at work now."""
    path = os.environ.get("SIGNOFF_READY_FILE")
    if path:
        Path(path).write_text(str(os.getpid()))


def let_go(settings: Settings, in_hand: InHand) -> None:
    """Let others have what this worker was cut off from now, not when its leases end.

    By a connection of its own: those of the pool may be in the hands of steps.
    """
    engine = build_engine(settings, pool_size=1)
    try:
        log.warning("let_go", runs=engine.let_go(in_hand.mark))
    except Unavailable as error:
        log.warning("not_let_go", error=error.detail)
    finally:
        engine.close()


def _serve(app: Celery, settings: Settings, in_hand: InHand) -> int:
    # Not `app.worker_main`: that is Celery's command line, which loads a shell with it and prints a page first.
    worker = app.subclass_with_self(StoppingWorker, name="Worker")(
        pool_cls=settings.pool,
        concurrency=settings.concurrency,
        loglevel=settings.log_level.upper(),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.in_hand = in_hand
    worker.start()
    if worker.cut_off:
        # Its pool is gone by now.
        let_go(settings, in_hand)
    code: int | None = worker.exitcode
    return code or 0


def _register_all(settings: Settings, loaded: Iterable[Loaded]) -> None:
    engine = build_engine(settings, pool_size=1)
    try:
        for item in loaded:
            for fault in item.warnings:
                log.warning("definition", workflow=item.graph.workflow, fault=str(fault))
            registered = _register(engine, item.graph)
            log.info("workflow", name=registered.workflow, version=registered.number, new=registered.created)
            if registered.number < registered.newest:
                # Somebody went back to what they had: that does not bring its version back.
                log.warning(
                    "not_the_newest_version",
                    name=registered.workflow,
                    version=registered.number,
                    newest=registered.newest,
                )
    finally:
        engine.close()


def _register(engine: Engine, graph: Graph) -> Registered:
    """Register one, waiting for a database that is not there yet."""
    pause = 0.2
    while True:
        try:
            return engine.register(graph, by=SYSTEM)
        except Unavailable as error:
            log.warning("waiting_for_database", error=error.detail)
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _connect_signals(settings: Settings, in_hand: InHand) -> None:
    @signals.worker_ready.connect(weak=False)
    def _ready(**_: object) -> None:
        log.info("ready")
        mark_ready()

    @signals.worker_shutting_down.connect(weak=False)
    def _stopping(**_: object) -> None:
        in_hand.stop()
        if settings.pool != "prefork":
            in_hand.end_after(settings.soft_shutdown_seconds, partial(let_go, settings, in_hand))

    @signals.setup_logging.connect(weak=False)
    def _keep_our_logging(**_: object) -> None:
        """Celery leaves logging alone where this signal has a receiver."""
