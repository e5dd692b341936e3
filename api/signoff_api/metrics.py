"""Metrics for Prometheus: what this server was asked, and what there is to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from signoff.errors import Unavailable
from signoff.model import RunStatus
from signoff.store.queries_counts import Counts
from signoff_api.context import wiring
from signoff_api.routing import Answer, Routes

routes = Routes(tag="health", description="For those who run this server.", prefix="")

FRESH_SECONDS = 5.0
"""How long one count of the database serves, however many scrape."""
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"})


@routes.route(
    "GET",
    "/metrics",
    answers={200: Answer(description="The Prometheus text format.", model=None, media_type="text/plain")},
    public=True,
)
def read_metrics() -> Response:
    """Read metrics."""
    return Response(wiring().metrics.exposition(), content_type=CONTENT_TYPE_LATEST)


class Metrics:
    """The metrics of one app.

    With several processes and `PROMETHEUS_MULTIPROC_DIR` set, requests are summed over all of them; what is
    counted in the database is the same whichever process counts it.
    """

    def __init__(self, count: Callable[[], Counts]) -> None:
        self._registry = CollectorRegistry()
        self._stock = _Stock(count)
        self._requests = Counter(
            "signoff_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "signoff_http_request_seconds",
            "Time to answer a request.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def observe(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Note one answered request; `route` is the path with places, not with what was in them."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(known, route).observe(seconds)

    def exposition(self) -> bytes:
        """All metrics in the text format."""
        registry = CollectorRegistry()
        # What the client library decided when it was loaded, which may have been before the variable was set.
        if values.ValueClass._multiprocess:
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry.register(self._registry)
        registry.register(self._stock)
        found: bytes = generate_latest(registry)
        return found


class _Stock:
    """What there is to do, counted at the scrape. While the database is away only that is told."""

    def __init__(self, count: Callable[[], Counts]) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._counted: Counts | None = None
        self._until = 0.0

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: registering must not ask the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        counts = self._fresh()
        yield GaugeMetricFamily(
            "signoff_database_up", "Whether the database could be counted.", value=int(counts is not None)
        )
        if counts is None:
            return
        runs = GaugeMetricFamily("signoff_runs", "Runs by status.", labels=["status"])
        for status in RunStatus:
            runs.add_metric([str(status)], counts.runs.get(str(status), 0))
        yield runs
        for name, text, value in (
            ("signoff_human_tasks_open", "Human tasks that wait for a person.", counts.open_human_tasks),
            ("signoff_human_tasks_overdue", "Open human tasks past their due time.", counts.overdue_human_tasks),
            (
                "signoff_human_tasks_without_candidates",
                "Open human tasks, among the newest, that no enabled person could decide now.",
                counts.human_tasks_without_candidates,
            ),
            (
                "signoff_oldest_overdue_run_seconds",
                "How long the oldest wake-up of a run or human task has been overdue: it grows when nobody sees to it.",
                counts.oldest_overdue_run_seconds,
            ),
            ("signoff_notifications_pending", "Notifications still to be sent.", counts.notifications_pending),
            ("signoff_notifications_dead", "Notifications that were given up.", counts.notifications_dead),
        ):
            yield GaugeMetricFamily(name, text, value=value)

    def _fresh(self) -> Counts | None:
        with self._lock:
            if time.monotonic() >= self._until:
                try:
                    self._counted = self._count()
                except Unavailable:
                    self._counted = None
                self._until = time.monotonic() + FRESH_SECONDS
            return self._counted
