"""A bare Celery chain of no-op Celery tasks with Celery's own defaults: the floor that durability is measured by.

Run as a worker by `celery -A tests.bench.chain worker`; the address comes from `BENCH_BROKER_URL`.
"""

from __future__ import annotations

import os
import time

from celery import Celery, chain

app = Celery("bench", broker=os.environ["BENCH_BROKER_URL"])
# Defaults but for this: without a result backend there is nowhere for results to go.
app.conf.task_ignore_result = True

DONE_KEY = "bench:done"
STARTED_KEY = "bench:started"


def _client():  # type: ignore[no-untyped-def]
    return app.connection_for_write().default_channel.client


_redis = None


@app.task
def step(value: int) -> int:
    """A step that does nothing."""
    return value


@app.task
def last(value: int) -> int:
    """The last step: counts the chains that have ended and notes when it began."""
    global _redis  # noqa: PLW0603  # one connection a process, made after the fork
    began = time.time()
    if _redis is None:
        _redis = _client()
    _redis.set(STARTED_KEY, repr(began))
    _redis.incr(DONE_KEY)
    return value


def send(length: int) -> None:
    """Start one chain of `length` Celery tasks."""
    middle = [step.s() for _ in range(length - 2)]
    chain(step.s(1), *middle, last.s()).apply_async()
