"""Measures the bare Celery chains: four Celery tasks in a row, and one hop of a chain that has the worker to itself."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from tests.bench.figures import WARM_UP, Subject, percentile, sized, until
from tests.bench.stack import Stack, frozen, process
from tests.bench.timed import STEPS
from tests.bench.usage import cpu_seconds

SETTINGS = ("default", "tuned")
_DATABASE = {"default": 1, "tuned": 2}
_GUESS = 150.0
"""Chains a second before anything is known."""


@dataclass(slots=True, kw_only=True)
class Chain:
    """Running workers of one setting, and the process that sends to them."""

    subject: Subject
    workers: list[subprocess.Popen[bytes]]
    sender: Sender
    rate: float = _GUESS


@contextlib.contextmanager
def chain(running: Stack, setting: str, *, pool: str, workers: int) -> Iterator[Chain]:
    """The workers of a bare chain on the same broker, in a database of its own."""
    broker_url = running.broker_url.replace("virtual_host=0", f"virtual_host={_DATABASE[setting]}")
    environment = running.environment | {"BENCH_BROKER_URL": broker_url, "BENCH_CHAIN": setting}
    command = [sys.executable, "-m", "celery", "-A", "tests.bench.chain", "worker", "--loglevel=ERROR"]
    command += [f"--pool={pool}", f"--concurrency={workers if pool == 'prefork' else running.threads}"]
    count = 1 if pool == "prefork" else workers
    with contextlib.ExitStack() as undo:
        sender = undo.enter_context(_sender(environment))
        sender.ask(do="empty")
        started = [
            undo.enter_context(
                process([*command, f"-n{setting}{number}@bench"], environment, running.logs / f"chain-{number}.log")
            )
            for number in range(count)
        ]
        subject = Subject(who="chain", setting=f"{setting}, {pool}", workers=workers)
        made = Chain(subject=subject, workers=started, sender=sender)
        _run(made, 20)
        yield made


def throughput(made: Chain, seconds: float) -> None:
    """Chains that were waiting, from the moment at which the workers may begin."""
    count = sized(made.rate, seconds, least=20, most=10_000)
    used = cpu_seconds()
    with frozen(*made.workers):
        made.sender.ask(do="send", count=count)
    began = time.perf_counter()
    made.sender.ask(do="wait", count=count)
    made.rate = count / (time.perf_counter() - began)
    made.subject.add("steps", "steps/s", made.rate * STEPS)
    made.subject.add("steps cpu", "ms/step", (cpu_seconds() - used) * 1000 / (count * STEPS))


def hops(made: Chain, samples: int) -> None:
    """One chain of two at a time: from the end of the first Celery task to the first line of the second."""
    taken = made.sender.ask(do="hops", count=samples + WARM_UP)["hops"][WARM_UP:]
    made.subject.add("hop p50", "ms", percentile(taken, 0.5))
    made.subject.add("hop p95", "ms", percentile(taken, 0.95))


def _run(made: Chain, count: int) -> None:
    began = time.perf_counter()
    made.sender.ask(do="send", count=count)
    made.sender.ask(do="wait", count=count)
    made.rate = max(_GUESS, count / (time.perf_counter() - began))


class Sender:
    """A process that sends chains: a Celery application reads its settings once, so each setting has its own."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._to: IO[str] = child.stdin
        self._from: IO[str] = child.stdout

    def ask(self, **said: object) -> dict[str, Any]:
        self._to.write(json.dumps(said) + "\n")
        self._to.flush()
        answer = self._from.readline()
        if not answer:
            raise SystemExit("the process that sends bare chains has ended")
        told: dict[str, Any] = json.loads(answer)
        return told


@contextlib.contextmanager
def _sender(environment: dict[str, str]) -> Iterator[Sender]:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.bare"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Sender(child)
    finally:
        assert child.stdin is not None
        child.stdin.close()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _serve() -> None:
    from tests.bench import chain as sent

    redis = sent.client()
    for line in sys.stdin:
        said = json.loads(line)
        answer: dict[str, Any] = {}
        match said["do"]:
            case "empty":
                redis.flushdb()
            case "send":
                redis.delete(sent.DONE_KEY)
                for _ in range(said["count"]):
                    sent.send(STEPS)
            case "wait":
                wanted = said["count"]
                until(lambda: int(redis.get(sent.DONE_KEY) or 0) >= wanted, 180, "bare chains")  # noqa: B023
            case "hops":
                answer["hops"] = [_hop(sent, redis) for _ in range(said["count"])]
        print(json.dumps(answer), flush=True)


def _hop(sent: Any, redis: Any) -> float:
    sent.send_hop()
    found = redis.blpop(sent.HOPS_KEY, timeout=10)
    if found is None:
        raise SystemExit("a hop of a bare chain took more than 10 s")
    return float(found[1])


if __name__ == "__main__":
    _serve()
