"""Measures Signoff: steps, runs parked, decisions, latency, CPU, and what a parked run takes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, TypeVar
from uuid import UUID

from tests.bench.figures import ROUNDS, WARM_UP, Subject, percentile, sized, until
from tests.bench.stack import Stack, frozen
from tests.bench.timed import STEPS, complaint
from tests.bench.usage import cpu_seconds, own_memory, own_memory_alone

CLIENTS = 16
"""Connections that start runs or decide at once; as many as the other clients that speak HTTP have."""

Parked = tuple[UUID, str]
"""A human task and the hash of what it shows."""

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Product:
    """A running stack, what was found of it, and how fast it was last seen to be."""

    running: Stack
    subject: Subject
    steps_rate: float = 200.0
    park_rate: float = 100.0
    decide_rate: float = 100.0


class Api:
    """One connection with a key."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def post(self, path: str, body: object) -> dict[str, Any]:
        self._connection.request("POST", f"/api/v1{path}", json.dumps(body), self._headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status not in (200, 201, 202):
            raise SystemExit(f"POST {path} was answered {response.status}: {answer[:500]!r}")
        told: dict[str, Any] = json.loads(answer)
        return told

    def start(self, number: int) -> UUID:
        told = self.post("/runs", {"workflow": "bench-refund", "input": complaint(number)})
        return UUID(told["id"])

    def decide(self, parked: Parked) -> None:
        human_task_id, shown = parked
        self.post(f"/human-tasks/{human_task_id}/decisions", {"decision": "approve", "payload_sha256": shown})

    def close(self) -> None:
        self._connection.close()


def warm_up(product: Product) -> None:
    """Every path once or twice, in every process; and a first idea of how fast each is."""
    seen = []
    for _ in range(2):
        began = time.perf_counter()
        parked = _park(product, 60)
        between = time.perf_counter()
        _decide(product, parked)
        seen.append((60 / (between - began), 60 / (time.perf_counter() - between)))
    product.park_rate, product.decide_rate = seen[-1]
    product.steps_rate = _steps(product, 60)


def steps(product: Product, seconds: float) -> None:
    """Runs of four steps that were waiting, from the moment at which the workers may begin."""
    count = sized(product.steps_rate, seconds, least=20, most=10_000)
    used = cpu_seconds()
    product.steps_rate = _steps(product, count)
    product.subject.add("steps", "steps/s", product.steps_rate * STEPS)
    product.subject.add("steps cpu", "ms/step", (cpu_seconds() - used) * 1000 / (count * STEPS))


def refunds(product: Product, seconds: float) -> None:
    """Refunds by the API: started until all are parked, then decided until all are done; and the CPU of both."""
    count = sized(min(product.park_rate, product.decide_rate), seconds, least=20, most=6_000)
    before = _cpu(product.running)
    began = time.perf_counter()
    parked = _park(product, count)
    product.park_rate = count / (time.perf_counter() - began)
    between = _cpu(product.running)
    began = time.perf_counter()
    _decide(product, parked)
    product.decide_rate = count / (time.perf_counter() - began)
    after = _cpu(product.running)
    product.subject.add("park", "runs/s", product.park_rate)
    product.subject.add("decide", "runs/s", product.decide_rate)
    for name, used in after.items():
        product.subject.add(name, "ms/run", (used - before[name]) * 1000 / count)
    product.subject.add("cpu to park", "ms/run", (between["cpu"] - before["cpu"]) * 1000 / count)


def parked_behind(product: Product, seconds: float) -> None:
    """Runs that were waiting when the workers may begin, until all are parked: what workers and database can do."""
    count = sized(product.park_rate, seconds, least=20, most=6_000)
    running = product.running
    with frozen(*running.workers):
        for number in range(count):
            running.engine.start(workflow="bench-refund", input=complaint(number), requester=running.requester)
    began = time.perf_counter()
    until(lambda: not unfinished(running), 180, "the runs were not parked")
    product.subject.add("park backlog", "runs/s", count / (time.perf_counter() - began))


def at_rest(product: Product, count: int) -> None:
    """What a parked run takes on disk and in the memory of all processes.

    In rounds, because a process that grows once by what it loads then is not to be taken for one that holds runs.
    """
    running = product.running
    stored, each_round = database_bytes(running), max(1, count // ROUNDS)
    for _ in range(ROUNDS):
        held = _memory(running)
        _park(product, each_round)
        for name, size in _memory(running).items():
            product.subject.add(name, "bytes/run", max(0.0, (size - held[name]) / each_round))
    product.subject.add("disk", "bytes/run", (database_bytes(running) - stored) / (each_round * ROUNDS))


def idle(product: Product, samples: int) -> None:
    """One decision at a time: from the request, and from its answer, to the first line of the next step."""
    running = product.running
    requests, answers = [], []
    api = Api(running.api_port, running.reviewer_key)
    for number in range(samples + WARM_UP):
        run_id = _started(running, number)
        parked = wait_parked(running, run_id)
        asked = time.time()
        api.decide(parked)
        answered = time.time()
        began = wait_began(running, run_id)
        if number >= WARM_UP:
            requests.append((began - asked) * 1000)
            answers.append(max(0.0, began - answered) * 1000)
    product.subject.add("hop p50", "ms", percentile(requests, 0.5))
    product.subject.add("hop p95", "ms", percentile(requests, 0.95))
    product.subject.add("answer p50", "ms", percentile(answers, 0.5))
    product.subject.add("answer p95", "ms", percentile(answers, 0.95))


def database_bytes(running: Stack) -> int:
    """The whole database with its indexes, once nothing dead is in it."""
    with running.engine.database.autocommit() as cursor:
        cursor.execute("VACUUM")
    return int(value(running, "SELECT pg_database_size(current_database())"))


def wait_parked(running: Stack, run_id: UUID) -> Parked:
    """The human task of a run, as soon as there is one."""
    found: list[Parked] = []
    until(lambda: found.extend(human_tasks(running, [run_id])) or found, 10, "a run was not parked", every=0.003)
    return found[0]


def wait_began(running: Stack, run_id: UUID) -> float:
    """When the step behind the gate began, as soon as the run is done."""
    done = "SELECT 1 FROM runs WHERE id = %s AND status = 'completed'"
    # It waits first: asking at once would take the processor from the step whose beginning is measured.
    time.sleep(0.01)
    until(lambda: value(running, done, run_id), 10, "a run was not completed", every=0.005)
    output: dict[str, Any] = value(running, "SELECT value FROM runs WHERE id = %s", run_id)
    return float(output["began"])


def human_tasks(running: Stack, run_ids: list[UUID]) -> list[Parked]:
    """What may be decided on of these runs."""
    with running.engine.database.transaction() as cursor:
        cursor.execute(
            "SELECT id, payload_sha256 FROM human_tasks WHERE run_id = ANY(%s) AND state = 'open'", (run_ids,)
        )
        return [(row[0], row[1]) for row in cursor.fetchall()]


def value(running: Stack, query: str, *parameters: object) -> Any:
    """The first column of the first row; None where there is none."""
    with running.engine.database.transaction() as cursor:
        cursor.execute(query.encode(), parameters)
        row = cursor.fetchone()
        return None if row is None else row[0]


def each(items: Iterable[T], call: Callable[[Api, T], object], *, port: int, key: str) -> list[Any]:
    """What the call answers for each item, on some connections at once."""
    listed = list(items)

    def share(part: list[T]) -> list[Any]:
        api = Api(port, key)
        try:
            return [call(api, item) for item in part]
        finally:
            api.close()

    with ThreadPoolExecutor(CLIENTS) as clients:
        parts = clients.map(share, [listed[index::CLIENTS] for index in range(CLIENTS)])
        return [answer for part in parts for answer in part]


def _cpu(running: Stack) -> dict[str, float]:
    """Seconds of all processes, and of each part; what is left is the client's and the broker's."""
    parts = {f"cpu, {name}": sum(map(cpu_seconds, pids)) for name, pids in running.parts.items()}
    whole = cpu_seconds()
    return {"cpu": whole, **parts, "cpu, client and broker": whole - sum(parts.values())}


def _memory(running: Stack) -> dict[str, int]:
    parts = {f"memory, {name}": sum(map(own_memory, pids)) for name, pids in running.parts.items()}
    return {"memory": own_memory() - own_memory_alone(), **parts}


def _started(running: Stack, number: int) -> UUID:
    return running.engine.start(workflow="bench-refund", input=complaint(number), requester=running.requester).run_id


def _park(product: Product, count: int) -> list[Parked]:
    running = product.running
    run_ids = each(range(count), Api.start, port=running.api_port, key=running.requester_key)
    until(lambda: not unfinished(running), 180, "the runs were not parked")
    found = human_tasks(running, run_ids)
    assert len(found) == count, f"{len(found)} of {count} runs were parked"
    return found


def _decide(product: Product, parked: list[Parked]) -> None:
    running = product.running
    each(parked, Api.decide, port=running.api_port, key=running.reviewer_key)
    until(lambda: not unfinished(running), 180, "the decided runs were not completed")


def _steps(product: Product, count: int) -> float:
    running = product.running
    with frozen(*running.workers):
        for number in range(count):
            running.engine.start(workflow="bench-plain", input=complaint(number), requester=running.requester)
    began = time.perf_counter()
    until(lambda: not unfinished(running), 180, "the runs of four steps were not completed")
    return count / (time.perf_counter() - began)


def unfinished(running: Stack) -> bool:
    """Whether any run is under way. In one statement: between two, a run could go from the second to the first."""
    # True at once while there are any: counting them all would cost more than what is measured.
    return bool(value(running, "SELECT EXISTS (SELECT 1 FROM runs WHERE status IN ('queued', 'running', 'retrying'))"))
