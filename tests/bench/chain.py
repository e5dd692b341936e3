"""Bare Celery chains of Celery tasks that do nothing: the floor that durability is measured by.

Run as a worker by `celery -A tests.bench.chain worker`; the address comes from `BENCH_BROKER_URL`. `BENCH_CHAIN` is
`default` for Celery's own settings, or `tuned` for those of Signoff's workers that a chain can have too.
"""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery, chain

TUNED = {
    "broker_transport_options": {"ack_emulation": False, "queue_order_strategy": "priority"},
    "worker_prefetch_multiplier": 1,
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
}
"""Without ack emulation a killed worker loses what it had fetched. A chain has nobody to bring it back."""

app = Celery("bench", broker=os.environ["BENCH_BROKER_URL"])
# Defaults but for this: without a result backend there is nowhere for results to go.
app.conf.task_ignore_result = True
if os.environ.get("BENCH_CHAIN", "default") == "tuned":
    app.conf.update(TUNED)

DONE_KEY = "bench:done"
HOPS_KEY = "bench:hops"


def client() -> Any:
    """The broker's own client, for counting."""
    return app.connection_for_write().default_channel.client  # type: ignore[attr-defined]


_counter: Any = None


def _count() -> Any:
    global _counter  # noqa: PLW0603  # one connection a process, made after the fork
    if _counter is None:
        _counter = client()
    return _counter


@app.task
def step(value: float) -> float:
    """A step that does nothing."""
    return value


@app.task
def last(value: float) -> float:
    """The last step: counts the chains that have ended."""
    _count().incr(DONE_KEY)
    return value


@app.task
def leave(value: float) -> float:
    """The step before a hop: says when it ended."""
    return time.time()


@app.task
def arrive(left: float) -> float:
    """The step behind a hop: notes how many milliseconds it took."""
    _count().rpush(HOPS_KEY, (time.time() - left) * 1000)
    return left


def send(length: int) -> None:
    """Start one chain of `length` Celery tasks."""
    middle = [step.s() for _ in range(length - 2)]
    chain(step.s(1.0), *middle, last.s()).apply_async()


def send_hop() -> None:
    """Start one chain of two that notes its one hop."""
    chain(leave.s(1.0), arrive.s()).apply_async()
