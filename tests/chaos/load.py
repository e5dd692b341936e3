"""Clients who start runs, decide on them and cancel them over HTTP, as the plan of the seed says, whatever happens."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.chaos.client import Answers, Client, NoAnswer
from tests.chaos.plant import Plant
from tests.chaos.workload import Item, Wish

LOOK_SECONDS = 0.05
PAGE = 200
FINISHED = ("completed", "failed", "canceled")


class WrongAnswer(AssertionError):
    """A client was told what the plan has no place for; nothing after it means anything."""


class NoProgress(AssertionError):
    """Nothing has moved for longer than anything may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A decision that a client was told stands."""

    item: int
    decision: str
    decision_id: str
    human_task_id: str


@dataclass(slots=True)
class _Recovering:
    """Runs that were on their way when something happened, and how far each had come."""

    over: float
    waiting: dict[str, int]


class Load:
    """One load on one plant. `started` and `said` are the clients' own notes of what they were told stands.

    Give it items at any time by `add`; at most `window` runs are on their way at once.
    """

    def __init__(
        self,
        plant: Plant,
        *,
        tag: str,
        window: int = 40,
        starters: int = 2,
        reviewers: int = 2,
        stall_seconds: float = 90.0,
    ) -> None:
        self.plant = plant
        self.items: dict[int, Item] = {}
        self.tag = tag
        """Part of every key, so that two loads of one plant are two."""
        self.answers = Answers()
        self.started: dict[int, str] = {}
        self.said: dict[int, Said] = {}
        self.wrong: list[str] = []
        """What clients were answered that the plan has no place for."""
        self.ended: set[int] = set()
        self.recoveries: list[float] = []
        """Seconds from a fault to the next progress of each run that was moving then."""
        self.stall_seconds = stall_seconds
        self._moved_at = time.monotonic()
        self._ending = threading.Event()
        self._room = threading.Semaphore(window)
        self._lock = threading.Lock()
        self._todo: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._item_of: dict[str, int] = {}
        self._recovering: list[_Recovering] = []
        self._clients: list[Client] = []
        self._threads = [
            *(self._thread(self._start_runs, at, "portal") for at in range(starters)),
            *(self._thread(self._review, at, "ana", reviewers) for at in range(reviewers)),
            threading.Thread(target=self._watch, name=f"{tag}-watch", daemon=True),
        ]

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """Clients are at it meanwhile; at the end they stop, whether or not they are done."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._ending.set()
            for client in self._clients:
                client.stopped.set()
            for thread in self._threads:
                thread.join(60)
            # What ended last may have been seen by whoever waited for the end, and not by whoever notes recoveries.
            with contextlib.suppress(psycopg.OperationalError):
                self._look()

    def add(self, items: Sequence[Item]) -> None:
        """Have these done as well."""
        self.items |= {item.number: item for item in items}
        self._moved_at = time.monotonic()
        for item in items:
            self._todo.put(item)

    def adopt(self, started: Mapping[int, str], said: Mapping[int, Said]) -> None:
        """Take these notes of another load for one's own, before it runs: the same people, who go on."""
        self.started, self.said = dict(started), dict(said)
        self._item_of = {run_id: number for number, run_id in started.items()}

    @property
    def done(self) -> bool:
        return len(self.ended) == len(self.items)

    def wait(self, until: Callable[[], object] | None = None) -> None:
        """Return once `until()` is true, or every run has ended. Raises NoProgress, WrongAnswer."""
        while not (self.done or (until is not None and until())):
            if self.wrong:
                raise WrongAnswer(self.wrong[0])
            if time.monotonic() - self._moved_at > self.stall_seconds:
                missing = sorted(set(self.items) - self.ended)
                raise NoProgress(
                    f"{self.tag}: nothing ended for {self.stall_seconds:g} s; {len(missing)} runs are left,"
                    f" among them {[(at, self.items[at].wish, self.started.get(at)) for at in missing[:5]]}"
                )
            time.sleep(LOOK_SECONDS / 2)

    def wait_ended(self, count: int) -> None:
        """Return once so many runs have ended. Raises NoProgress."""
        self.wait(lambda: len(self.ended) >= count)

    @contextlib.contextmanager
    def recovering(self) -> Iterator[None]:
        """Something happens inside: every run that is moving before has to be seen to move on, and how soon after it.

        What lasts, as a broker that is frozen, is over when this ends; until then nobody could recover from it. Who is
        hit again before that recovers from the last.
        """
        moving = dict(self._moving())
        yield
        if moving:
            with self._lock:
                for earlier in self._recovering:
                    earlier.waiting = {run: seq for run, seq in earlier.waiting.items() if run not in moving}
                self._recovering.append(_Recovering(over=time.monotonic(), waiting=moving))

    def note_recovery(self, seconds: float) -> None:
        """A recovery that was measured elsewhere."""
        with self._lock:
            self.recoveries.append(seconds)

    # The clients ------------------------------------------------------------------------------------------------------

    def client(self, name: str) -> Client:
        """Another client of this load, for one thread."""
        made = Client(self.plant.api_port, self.plant.keys[name], self.answers)
        self._clients.append(made)
        return made

    def close(self) -> None:
        """Close what its clients keep open, those that a scenario asked for itself too."""
        for client in self._clients:
            client.close()

    def _thread(self, work: Callable[..., None], at: int, name: str, *more: int) -> threading.Thread:
        client = self.client(name)

        def run() -> None:
            try:
                work(client, at, *more)
            except NoAnswer as error:
                if not self._ending.is_set():
                    self.wrong.append(f"no answer: {error}")
            except Exception as error:  # noqa: BLE001  # a client that dies is a finding, and must not go unseen
                self.wrong.append(f"a client failed: {error!r}")
            finally:
                client.close()

        return threading.Thread(target=run, name=f"{self.tag}-{name}-{at}", daemon=True)

    def _start_runs(self, client: Client, _at: int) -> None:
        while not self._ending.is_set():
            if not self._room.acquire(timeout=0.1):
                continue
            try:
                item = self._todo.get(timeout=0.1)
            except queue.Empty:
                self._room.release()
                continue
            body = {"workflow": item.workflow, "input": item.input, "labels": {"item": str(item.number)}}
            reply = client.ask("POST", "/runs", body, idempotency=f"{self.tag}-start-{item.number}")
            if reply.status not in (200, 201):
                self.wrong.append(f"start of {item.number}: {reply}")
                continue
            self.started[item.number] = reply.json["id"]
            self._item_of[reply.json["id"]] = item.number

    def _review(self, client: Client, at: int, reviewers: int) -> None:
        admin = self.client("admin")
        while not self._ending.is_set():
            page = client.ask("GET", f"/human-tasks?limit={PAGE}&sort=created_at").json["items"]
            fresh = [
                (self.items[number], task)
                for task in page
                if (number := self._item_of.get(task["run_id"])) is not None
                and number % reviewers == at
                and number not in self.said
            ]
            for item, task in fresh:
                self._act(client, admin, item, task)
            if not fresh:
                self._ending.wait(LOOK_SECONDS)
        admin.close()

    def _act(self, client: Client, admin: Client, item: Item, task: dict[str, Any]) -> None:
        match item.wish:
            case Wish.TIMEOUT:
                return
            case Wish.CANCEL:
                reply = admin.ask("POST", f"/runs/{task['run_id']}/cancel", {"reason": "the plan says so"})
                # Asked again after the answer was lost, it has been done already.
                if reply.status not in (200, 409):
                    self.wrong.append(f"cancel of {item.number}: {reply}")
            case Wish.APPROVE:
                self._decide(client, item, task, "approve", {})
            case Wish.REJECT:
                self._decide(client, item, task, "reject", {"note": "the plan says so"})
            case Wish.EDIT:
                self._decide(client, item, task, "approve", {"patch": {"amount": item.edited}})

    def _decide(self, client: Client, item: Item, task: dict[str, Any], decision: str, more: dict[str, Any]) -> None:
        body = {"decision": decision, "payload_sha256": task["payload_sha256"]} | more
        # Half of them without a key: those are decided without a lock, and asked again they stand already.
        key = None if item.number % 2 else f"{self.tag}-decide-{item.number}"
        reply = client.ask("POST", f"/human-tasks/{task['id']}/decisions", body, idempotency=key)
        if reply.status not in (200, 201):
            self.wrong.append(f"decision on {item.number}: {reply}")
            return
        stands = reply.json["decision"]
        self.said[item.number] = Said(
            item=item.number, decision=stands["decision"], decision_id=stands["id"], human_task_id=task["id"]
        )

    # Looking on -------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._ending.wait(LOOK_SECONDS):
            with contextlib.suppress(psycopg.OperationalError):
                self._look()

    def _look(self) -> None:
        with self._lock:
            recovering = list(self._recovering)
        run_ids = [run for number, run in self.started.copy().items() if number not in self.ended]
        asked = run_ids + [run for each in recovering for run in each.waiting]
        if not asked:
            return
        found = self.plant.rows("SELECT id::text, seq, status FROM runs WHERE id = ANY(%s::uuid[])", asked)
        now = time.monotonic()
        for run, seq, status in found:
            number = self._item_of.get(run)
            if number is not None and number not in self.ended and status in FINISHED:
                self.ended.add(number)
                self._moved_at = now
                self._room.release()
            for each in recovering:
                if each.waiting.get(run, seq) < seq:
                    each.waiting.pop(run, None)
                    self.note_recovery(now - each.over)
        with self._lock:
            self._recovering = [each for each in self._recovering if each.waiting]

    def _moving(self) -> list[tuple[str, int]]:
        """Runs of this load that somebody has, or should have, and how far each has come."""
        run_ids = [run for number, run in self.started.copy().items() if number not in self.ended]
        return self.plant.rows(
            "SELECT id::text, seq FROM runs WHERE id = ANY(%s::uuid[]) AND status IN ('queued', 'running', 'retrying')",
            run_ids,
        )

    def unrecovered(self) -> int:
        """Runs that have not moved since something happened to them."""
        with self._lock:
            return sum(len(each.waiting) for each in self._recovering)
