"""DBOS Transact on PostgreSQL: a workflow that receives the decision as a message.

`threads` has workflows that are functions, and so hold a thread while they wait; `async` has coroutines. By default
the pool of connections is as DBOS has it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dbos import DBOS, DBOSConfig

from tests.bench.peers.child import Peer, Tally, complaint, folder, serve, setting

TALLY = Tally(folder())
DAY = 86_400.0
STARTERS = 8
PARALLEL = 64


@DBOS.step()
def step(value: dict[str, Any]) -> dict[str, Any]:
    return value


@DBOS.step()
def send(value: dict[str, Any]) -> dict[str, Any]:
    TALLY.done(time.time())
    return value


@DBOS.workflow()
def refund(value: dict[str, Any]) -> dict[str, Any]:
    drafted = step(step(value))
    TALLY.parked()
    decision = DBOS.recv("decision", timeout_seconds=DAY)
    return send(drafted) if decision["decision"] == "approve" else drafted


@DBOS.workflow()
def plain(value: dict[str, Any]) -> dict[str, Any]:
    return send(step(step(step(value))))


@DBOS.step()
async def async_step(value: dict[str, Any]) -> dict[str, Any]:
    return value


@DBOS.step()
async def async_send(value: dict[str, Any]) -> dict[str, Any]:
    TALLY.done(time.time())
    return value


@DBOS.workflow()
async def async_refund(value: dict[str, Any]) -> dict[str, Any]:
    drafted = await async_step(await async_step(value))
    TALLY.parked()
    decision = await DBOS.recv_async("decision", timeout_seconds=DAY)
    return await async_send(drafted) if decision["decision"] == "approve" else drafted


@DBOS.workflow()
async def async_plain(value: dict[str, Any]) -> dict[str, Any]:
    return await async_send(await async_step(await async_step(await async_step(value))))


APPROVE = {"decision": "approve"}


class Threads:
    """Functions, started and decided by a few threads."""

    def __init__(self) -> None:
        launch()
        self._clients = ThreadPoolExecutor(STARTERS)

    def park(self, count: int) -> list[str]:
        return list(self._clients.map(self._start, range(count)))

    def decide(self, runs: list[str]) -> None:
        list(self._clients.map(lambda run: DBOS.send(run, APPROVE, "decision"), runs))

    def plain(self, count: int) -> None:
        list(self._clients.map(lambda number: DBOS.start_workflow(plain, complaint(number)), range(count)))

    def close(self) -> None:
        # Parked workflows hold their threads for a day; nobody waits for them.
        os._exit(0)

    def _start(self, number: int) -> str:
        return str(DBOS.start_workflow(refund, complaint(number)).get_workflow_id())


class Coroutines:
    """The same on one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._limit = asyncio.Semaphore(PARALLEL)
        self._run(self._launch())

    def park(self, count: int) -> list[str]:
        started: list[str] = self._run(self._all([self._start(number) for number in range(count)]))
        return started

    def decide(self, runs: list[str]) -> None:
        self._run(self._all([DBOS.send_async(run, APPROVE, "decision") for run in runs]))

    def plain(self, count: int) -> None:
        self._run(self._all([DBOS.start_workflow_async(async_plain, complaint(number)) for number in range(count)]))

    def close(self) -> None:
        os._exit(0)

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _launch(self) -> None:
        launch()

    async def _start(self, number: int) -> str:
        return str((await DBOS.start_workflow_async(async_refund, complaint(number))).get_workflow_id())

    async def _all(self, coroutines: list[Any]) -> list[Any]:
        return list(await asyncio.gather(*[self._limited(each) for each in coroutines]))

    async def _limited(self, coroutine: Any) -> Any:
        async with self._limit:
            return await coroutine


def launch() -> None:
    """Connect, migrate, begin."""
    config: DBOSConfig = {
        "name": "refunds",
        "system_database_url": os.environ["BENCH_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://"),
        "application_version": "1",
        "executor_id": os.environ["BENCH_NUMBER"],
        "log_level": "WARNING",
    }
    # Each parked function holds a thread: the default number of them would end the measurement at 32 parked runs.
    config["max_executor_threads"] = 20_000
    DBOS(config=config)
    DBOS.launch()


def make(tally: Tally) -> Peer:
    return Coroutines() if setting() == "async" else Threads()


if __name__ == "__main__":
    serve(make)
