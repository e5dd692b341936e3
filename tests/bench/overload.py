"""Decisions while the workers get twice the load that they can carry: how late does the next step begin?

The load is refunds that policy lets pass. What is offered within the measurement is twice what the workers did when
nobody decided: three quarters of it wait when the measurement begins, a quarter comes at an even pace meanwhile.
"""

from __future__ import annotations

import threading
import time
from uuid import UUID

from tests.bench.figures import percentile, sized, until
from tests.bench.product import Api, Parked, Product, human_tasks, unfinished, value
from tests.bench.stack import Stack, frozen
from tests.bench.timed import complaint

PACE_SECONDS = 0.03
"""A decision every so often: what a large team of reviewers does together."""


def measure(product: Product, seconds: float) -> None:
    """p50 and p99 from the answer of a decision to the first line of the next step."""
    running = product.running
    capacity = _capacity(running, 400)
    samples = int(seconds / PACE_SECONDS)
    deciding = _parked(running, samples)
    waiting = sized(capacity * 1.5, seconds, least=100, most=20_000)
    with frozen(*running.workers):
        for number in range(waiting):
            _start_passing(running, number)
    stop = threading.Event()
    feeder = threading.Thread(target=_feed, args=(running, capacity / 2, seconds * 2, stop))
    feeder.start()
    try:
        answered = _decide(running, deciding, seconds)
    finally:
        stop.set()
        feeder.join()
    left = int(value(running, "SELECT count(*) FROM runs WHERE status = 'queued'"))
    until(lambda: not unfinished(running), 240, "the load was not carried", every=0.1)
    late = [max(0.0, _began(running, run_id) - at) * 1000 for run_id, at in answered]
    product.subject.add("load p50", "ms", percentile(late, 0.5))
    product.subject.add("load p99", "ms", percentile(late, 0.99))
    product.subject.add("load offered", "× capacity", 1.5 + 0.5)
    product.subject.add("load left", "runs", float(left))


def _capacity(running: Stack, count: int) -> float:
    with frozen(*running.workers):
        for number in range(count):
            _start_passing(running, number)
    began = time.perf_counter()
    until(lambda: not unfinished(running), 120, "runs that pass by policy")
    return count / (time.perf_counter() - began)


def _start_passing(running: Stack, number: int) -> None:
    running.engine.start(workflow="bench-refund", input=complaint(number, amount=42.0), requester=running.requester)


def _parked(running: Stack, count: int) -> list[tuple[UUID, Parked]]:
    run_ids = [
        running.engine.start(workflow="bench-refund", input=complaint(number), requester=running.requester).run_id
        for number in range(count)
    ]
    until(lambda: not unfinished(running), 120, "runs to be parked")
    return [(run_id, human_tasks(running, [run_id])[0]) for run_id in run_ids]


def _feed(running: Stack, rate: float, seconds: float, stop: threading.Event) -> None:
    began, number = time.monotonic(), 0
    while not stop.is_set() and time.monotonic() - began < seconds:
        _start_passing(running, number)
        number += 1
        stop.wait(max(0.0, number / rate - (time.monotonic() - began)))


def _decide(running: Stack, deciding: list[tuple[UUID, Parked]], seconds: float) -> list[tuple[UUID, float]]:
    api = Api(running.api_port, running.reviewer_key)
    answered: list[tuple[UUID, float]] = []
    began = time.monotonic()
    for number, (run_id, parked) in enumerate(deciding):
        if time.monotonic() - began > seconds:
            break
        api.decide(parked)
        answered.append((run_id, time.time()))
        time.sleep(max(0.0, (number + 1) * PACE_SECONDS - (time.monotonic() - began)))
    return answered


def _began(running: Stack, run_id: UUID) -> float:
    return float(value(running, "SELECT value FROM runs WHERE id = %s", run_id)["began"])
