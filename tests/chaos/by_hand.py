"""A load whose requests a scenario makes itself, one after the other or several at once; the judge asks it as any."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tests.chaos.client import Client, Reply
from tests.chaos.load import LOOK_SECONDS, Load, NoProgress, Said
from tests.chaos.plant import Plant
from tests.chaos.registry import MUTANT_STALL_SECONDS, STALL_SECONDS, Arena
from tests.chaos.workload import Item

T = TypeVar("T")

OPEN_SECONDS = 60.0
SAID = 300
"""Characters of what was wrong: an answer may be long."""


class ByHand(Load):
    """Clients of a scenario's own. What they were told stands is noted here, as by those of other loads."""

    def __init__(self, plant: Plant, *, tag: str, stall_seconds: float) -> None:
        super().__init__(plant, tag=tag, starters=0, reviewers=0, stall_seconds=stall_seconds)

    def note_started(self, item: Item, run_id: str) -> None:
        """A client was told that this run was started for the item."""
        self._item_of[run_id] = item.number
        self.started[item.number] = run_id
        self._moved_at = time.monotonic()

    def expect(self, item: Item) -> None:
        """What has to come of this item."""
        self.items[item.number] = item

    def note_said(self, item: Item, reply: Reply) -> None:
        """A client was told that this decision stands."""
        stands = reply.json["decision"]
        self.said[item.number] = Said(
            item=item.number,
            decision=stands["decision"],
            decision_id=stands["id"],
            human_task_id=reply.json["human_task"]["id"],
        )

    def start(self, client: Client, item: Item) -> str:
        """A run for this item; its id."""
        reply = client.ask("POST", "/runs", body_of(item), idempotency=f"{self.tag}-start-{item.number}")
        assert reply.status in (200, 201), f"start of {item.number}: {reply}"
        run_id: str = reply.json["id"]
        self.note_started(item, run_id)
        return run_id

    def task_of(self, client: Client, run_id: str, *, revision: int = 1) -> dict[str, Any]:
        """The open human task of a run, once it shows this revision. Raises NoProgress."""
        found = self.task_unless_over(client, run_id, revision=revision)
        assert found is not None, f"run {run_id} is over, and asks nobody"
        return found

    def task_unless_over(self, client: Client, run_id: str, *, revision: int = 1) -> dict[str, Any] | None:
        """The same; None when the run has ended before anybody has seen it."""
        give_up = time.monotonic() + min(OPEN_SECONDS, self.stall_seconds)
        while True:
            found = client.ask("GET", f"/human-tasks?run={run_id}&state=open").json["items"]
            if found and found[0]["revision"] >= revision:
                task: dict[str, Any] = found[0]
                return task
            if self._item_of[run_id] in self.ended:
                return None
            if time.monotonic() > give_up:
                raise NoProgress(f"run {run_id} has no open human task of revision {revision}: {found}")
            self._ending.wait(LOOK_SECONDS)

    def pause(self, seconds: float) -> None:
        """Wait, unless the load has ended."""
        if seconds > 0:
            self._ending.wait(seconds)

    def in_lanes(self, items: Sequence[Item], lanes: int, work: Callable[[int, Item], None]) -> None:
        """`work(lane, item)` for each item, so many at once. What one of them raises is noted and ends all lanes."""
        todo: queue.SimpleQueue[Item] = queue.SimpleQueue()
        for item in items:
            todo.put(item)

        def lane(at: int) -> None:
            while not self.wrong:
                try:
                    item = todo.get_nowait()
                except queue.Empty:
                    return
                try:
                    work(at, item)
                except (AssertionError, KeyError, TypeError) as error:
                    self.wrong.append(f"item {item.number}: {type(error).__name__}: {str(error)[:SAID]}")

        threads = [threading.Thread(target=lane, args=(at,), name=f"{self.tag}-lane-{at}") for at in range(lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def body_of(item: Item) -> dict[str, Any]:
    """What a run for this item is started with."""
    return {"workflow": item.workflow, "input": item.input, "labels": {"item": str(item.number)}}


def by_hand(arena: Arena, plant: Plant) -> ByHand:
    """A load of this arena whose requests the scenario makes."""
    stall = STALL_SECONDS if arena.stage.mutant is None else MUTANT_STALL_SECONDS
    made = ByHand(plant, tag=f"p{arena.scenario.promise}-{arena.stage.numbers(1)}", stall_seconds=stall)
    arena.stage.loads.append(made)
    return made


class Crowd:
    """Several clients of one principal who ask at the same moment."""

    def __init__(self, load: Load, names: Sequence[str]) -> None:
        self.clients = [load.client(name) for name in names]
        self._pool = ThreadPoolExecutor(len(names))
        self._barrier = threading.Barrier(len(names))

    def ask(self, calls: Sequence[Callable[[Client], T]]) -> list[T]:
        """Each client its call, from a barrier on; what each was given."""

        def one(client: Client, call: Callable[[Client], T]) -> T:
            self._barrier.wait(OPEN_SECONDS)
            return call(client)

        jobs = [self._pool.submit(one, client, call) for client, call in zip(self.clients, calls, strict=True)]
        return [job.result() for job in jobs]

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for client in self.clients:
            client.close()
