"""One table: bare Celery chains, four steps without a gate, refund by policy and over HTTP, latency when idle."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import UUID

from tests import servers
from tests.bench.stack import Stack, frozen, process, stack

REFUND_STEPS = 3
PLAIN_STEPS = 4
"""Steps of the workflows, and Celery tasks of the bare chains beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How fast something went: runs a second, and step transitions a second."""

    name: str
    steps: int
    runs_per_second: float

    @property
    def transitions_per_second(self) -> float:
        return self.runs_per_second * self.steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds, over so many samples."""

    name: str
    p50_ms: float
    p95_ms: float
    samples: int


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    with stack(pool=options.pool, concurrency=options.concurrency) as running:
        rates = [
            _repeat("bare Celery chain of 4", PLAIN_STEPS, options, lambda: _bare_chain(running, options, PLAIN_STEPS)),
            _repeat("four steps without a gate", PLAIN_STEPS, options, lambda: _plain(running, options.runs)),
            _repeat(
                "bare Celery chain of 3", REFUND_STEPS, options, lambda: _bare_chain(running, options, REFUND_STEPS)
            ),
            _repeat("refund, passed by policy", REFUND_STEPS, options, lambda: _by_policy(running, options.runs)),
            _repeat("refund, decided over HTTP", REFUND_STEPS, options, lambda: _decided(running, options.decisions)),
        ]
        latencies = _idle(running, options.samples)
    _report(options, rates, latencies)
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--pool", choices=["prefork", "threads"], default="prefork")
    parser.add_argument("--concurrency", type=int, default=2, help="processes or threads of each worker")
    parser.add_argument("--runs", type=int, default=1000, help="runs of one measurement")
    parser.add_argument("--decisions", type=int, default=400, help="decisions of one measurement")
    parser.add_argument("--samples", type=int, default=100, help="decisions on the idle stack")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    return parser.parse_args(arguments)


def _repeat(name: str, steps: int, options: argparse.Namespace, measure: Callable[[], float]) -> Rate:
    measured = [measure() for _ in range(options.repeats)]
    _say(f"{name}: {', '.join(f'{rate:.0f}' for rate in measured)} runs/s")
    return Rate(name=name, steps=steps, runs_per_second=statistics.median(measured))


def _bare_chain(running: Stack, options: argparse.Namespace, steps: int) -> float:
    """The worker of the bare chain is started for this alone, so that it does not compete with ours."""
    os.environ["BENCH_BROKER_URL"] = running.environment["BENCH_BROKER_URL"]
    from tests.bench import chain

    client = chain.app.connection_for_write().default_channel.client
    client.flushdb()
    command = [sys.executable, "-m", "celery", "-A", "tests.bench.chain", "worker", "--loglevel=ERROR"]
    command += [f"--concurrency={options.concurrency}"]
    with process(command, running.environment, running.logs / "chain.log") as worker:
        chain.send(steps)
        servers.eventually(lambda: client.get(chain.DONE_KEY), seconds=30, why="the chain's worker did not start")
        client.delete(chain.DONE_KEY)
        with frozen(worker):
            for _ in range(options.runs):
                chain.send(steps)
        began = time.perf_counter()
        _until(lambda: int(client.get(chain.DONE_KEY) or 0) >= options.runs, 120)
        return options.runs / (time.perf_counter() - began)


def _plain(running: Stack, count: int) -> float:
    with frozen(running.worker):
        for number in range(count):
            running.engine.start(workflow="plain", input={"number": number}, requester=running.requester)
    return _drained(running, count)


def _by_policy(running: Stack, count: int) -> float:
    with frozen(running.worker):
        _start(running, count, paid="42.00")
    return _drained(running, count)


def _drained(running: Stack, count: int) -> float:
    """Runs a second, from the moment at which the worker may begin."""
    began = time.perf_counter()
    _until(lambda: _unfinished(running) == 0, 180)
    return count / (time.perf_counter() - began)


def _decided(running: Stack, count: int) -> float:
    """From the first decision to the last completed run; the runs were parked before."""
    started = _start(running, count, paid="640.00")
    _until(lambda: _count(running, "status = 'waiting'", started) == count, 180)
    parked = _human_tasks(running, started)
    began = time.perf_counter()
    with ThreadPoolExecutor(8) as clients:
        shares = [parked[index::8] for index in range(8)]
        list(clients.map(lambda share: _decide_all(running, share), shares))
    _until(lambda: _count(running, "status = 'completed'", started) == count, 180)
    return count / (time.perf_counter() - began)


def _idle(running: Stack, samples: int) -> list[Latency]:
    """One decision at a time: from the answer, and from the request, to the first line of the next step."""
    from_request, from_answer = [], []
    connection = HTTPConnection("127.0.0.1", running.api_port, timeout=10)
    for sample in range(samples + 10):
        run_id = running.engine.start(workflow="timed", input={"amount": 500.0}, requester=running.requester).run_id
        _until(lambda: _count(running, "status = 'waiting'", [run_id]) == 1, 10)  # noqa: B023
        ((human_task_id, shown),) = _human_tasks(running, [run_id])
        asked = time.time()
        _decide(connection, running, human_task_id, shown)
        answered = time.time()
        _until(lambda: _count(running, "status = 'completed'", [run_id]) == 1, 10)  # noqa: B023
        step_began = _value(running, run_id)["began"]
        if sample >= 10:  # the first ones warm caches and prepared statements
            from_request.append((step_began - asked) * 1000)
            from_answer.append(max(0.0, step_began - answered) * 1000)
    return [
        _latency("decision sent → next step begins", from_request),
        _latency("decision answered → next step begins", from_answer),
    ]


def _latency(name: str, values: list[float]) -> Latency:
    cuts = statistics.quantiles(values, n=20)
    return Latency(name=name, p50_ms=statistics.median(values), p95_ms=cuts[18], samples=len(values))


def _start(running: Stack, count: int, *, paid: str) -> list[UUID]:
    return [
        running.engine.start(
            workflow="refund",
            input={"order_id": f"B-{number}", "text": "It arrived broken.", "paid": paid},
            requester=running.requester,
        ).run_id
        for number in range(count)
    ]


def _decide_all(running: Stack, share: list[tuple[UUID, str]]) -> None:
    connection = HTTPConnection("127.0.0.1", running.api_port, timeout=30)
    for human_task_id, shown in share:
        _decide(connection, running, human_task_id, shown)
    connection.close()


def _decide(connection: HTTPConnection, running: Stack, human_task_id: UUID, shown: str) -> None:
    body = json.dumps({"decision": "approve", "payload_sha256": shown})
    headers = {"Authorization": f"Bearer {running.reviewer_key}", "Content-Type": "application/json"}
    connection.request("POST", f"/api/v1/human-tasks/{human_task_id}/decisions", body, headers)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 201:
        raise SystemExit(f"a decision was answered {response.status}: {answer[:500]!r}")


def _human_tasks(running: Stack, run_ids: list[UUID]) -> list[tuple[UUID, str]]:
    with running.engine.database.transaction() as cursor:
        cursor.execute("SELECT id, payload_sha256 FROM human_tasks WHERE run_id = ANY(%s)", (run_ids,))
        return [(row[0], row[1]) for row in cursor.fetchall()]


def _unfinished(running: Stack) -> int:
    with running.engine.database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM runs WHERE status IN ('queued', 'running', 'retrying')")
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])


def _count(running: Stack, condition: str, run_ids: list[UUID]) -> int:
    with running.engine.database.transaction() as cursor:
        cursor.execute(f"SELECT count(*) FROM runs WHERE id = ANY(%s) AND {condition}", (run_ids,))
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])


def _value(running: Stack, run_id: UUID) -> dict[str, Any]:
    with running.engine.database.transaction() as cursor:
        cursor.execute("SELECT value FROM runs WHERE id = %s", (run_id,))
        row = cursor.fetchone()
        assert row is not None
        value: dict[str, Any] = row[0]
        return value


def _until(condition: Callable[[], bool], seconds: float) -> None:
    servers.eventually(condition, seconds=seconds, why="the measurement did not come to its end")


def _report(options: argparse.Namespace, rates: list[Rate], latencies: list[Latency]) -> None:
    bare = {rate.steps: rate.runs_per_second for rate in rates if rate.name.startswith("bare")}
    _say(f"\n{options.pool}, {options.concurrency} a worker, medians of {options.repeats}")
    _say(f"{'':38}{'runs/s':>10}{'steps/s':>10}{'× bare':>10}")
    for rate in rates:
        _say(
            f"{rate.name:38}{rate.runs_per_second:10.1f}{rate.transitions_per_second:10.1f}"
            f"{rate.runs_per_second / bare[rate.steps]:10.2f}"
        )
    _say(f"\n{'idle stack':38}{'p50 ms':>10}{'p95 ms':>10}{'samples':>10}")
    for latency in latencies:
        _say(f"{latency.name:38}{latency.p50_ms:10.1f}{latency.p95_ms:10.1f}{latency.samples:10}")
    if options.json:
        figures = {"rates": [asdict(rate) for rate in rates], "latencies": [asdict(each) for each in latencies]}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
