"""Temporal's development server, which keeps its state in SQLite: a workflow that waits for a signal.

Each process of the peer is a worker and a client, as the SDK's examples have it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.bench.peers.child import Peer, Tally, complaint, folder, serve

TALLY = Tally(folder())
QUEUE = "refunds"
LIMIT = timedelta(seconds=60)
PARALLEL = 64


@activity.defn
async def step(value: dict[str, Any]) -> dict[str, Any]:
    return value


@activity.defn
async def send(value: dict[str, Any]) -> dict[str, Any]:
    TALLY.done(time.time())
    return value


@workflow.defn
class Refund:
    def __init__(self) -> None:
        self._decision: dict[str, Any] | None = None

    @workflow.signal
    def decide(self, decision: dict[str, Any]) -> None:
        self._decision = decision

    @workflow.run
    async def run(self, value: dict[str, Any]) -> dict[str, Any]:
        analysed = await workflow.execute_activity(step, value, start_to_close_timeout=LIMIT)
        drafted = await workflow.execute_activity(step, analysed, start_to_close_timeout=LIMIT)
        if not workflow.unsafe.is_replaying():
            TALLY.parked()
        await workflow.wait_condition(lambda: self._decision is not None)
        return await workflow.execute_activity(send, drafted, start_to_close_timeout=LIMIT)


@workflow.defn
class Plain:
    @workflow.run
    async def run(self, value: dict[str, Any]) -> dict[str, Any]:
        for _ in range(3):
            value = await workflow.execute_activity(step, value, start_to_close_timeout=LIMIT)
        return await workflow.execute_activity(send, value, start_to_close_timeout=LIMIT)


class Loop:
    """A worker and a client on one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._limit = asyncio.Semaphore(PARALLEL)
        self._run(self._begin())

    def park(self, count: int) -> list[str]:
        started: list[str] = self._run(self._all([self._start(Refund.run, number) for number in range(count)]))
        return started

    def decide(self, runs: list[str]) -> None:
        self._run(self._all([self._signal(run) for run in runs]))

    def plain(self, count: int) -> None:
        self._run(self._all([self._start(Plain.run, number) for number in range(count)]))

    def close(self) -> None:
        os._exit(0)

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _begin(self) -> None:
        self._client = await Client.connect(os.environ["BENCH_ADDRESS"])
        worker = Worker(
            self._client,
            task_queue=QUEUE,
            workflows=[Refund, Plain],
            activities=[step, send],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        self._worker = asyncio.ensure_future(worker.run())

    async def _start(self, run: Any, number: int) -> str:
        name = str(uuid.uuid4())
        await self._client.start_workflow(run, complaint(number), id=name, task_queue=QUEUE)
        return name

    async def _signal(self, run: str) -> None:
        await self._client.get_workflow_handle(run).signal(Refund.decide, {"decision": "approve"})

    async def _all(self, coroutines: list[Any]) -> list[Any]:
        return list(await asyncio.gather(*[self._limited(each) for each in coroutines]))

    async def _limited(self, coroutine: Any) -> Any:
        async with self._limit:
            return await coroutine


def make(tally: Tally) -> Peer:
    return Loop()


if __name__ == "__main__":
    serve(make)
