"""Approved is what was shown, and executed is what was approved: the payload changes before and after the decision."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.chaos.by_hand import ByHand, by_hand
from tests.chaos.client import Client, Reply
from tests.chaos.faults import Faults
from tests.chaos.load import FINISHED
from tests.chaos.plant import FLOWS, QUICK, Plant, wait_for
from tests.chaos.registry import Arena, Outcome, Size, Tier, scenario
from tests.chaos.workload import Item, Wish

SETTINGS = dict(QUICK) | {"SIGNOFF_MODULES": f"{FLOWS},tests.chaos.flows_drafts"}
LANES = 4
BATCH = 25
"""Runs that are approved while no worker moves."""
KINDS = ("redrafted", "edited", "overwritten", "overwritten_after")
MUTANT_TRIES = 24
SECONDS = 60.0
TABLES = (
    "UPDATE human_tasks SET payload = %s::json WHERE run_id = %s",
    "UPDATE runs SET value = %s::json WHERE id = %s",
)
"""What a reviewer is shown, and what goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changing(Item):
    """A run whose payload changes. `edited` is the amount that it ends with where that was shown."""

    kind: str

    @property
    def workflow(self) -> str:
        return {"redrafted": "drafted", "edited": "paired"}.get(self.kind, "payment")


@scenario(
    promise=20,
    title="approved = shown = executed",
    sizes={
        Tier.CI: Size(tries=100, faults=100),
        Tier.LONG: Size(tries=1_000, faults=1_000),
    },
)
def payloads(arena: Arena) -> Outcome:
    """By quarters: another draft, somebody's edit, and the rows overwritten, while somebody looks; and the row
    overwritten when it was approved. A fault is a change that has been seen to be made.
    """
    plant = arena.plant(SETTINGS)
    load = by_hand(arena, plant)
    return _Changes(arena, plant, arena.faults(plant), load).played()


class _Changes:
    def __init__(self, arena: Arena, plant: Plant, faults: Faults, load: ByHand) -> None:
        self.arena, self.plant, self.faults, self.load = arena, plant, faults, load
        tries = arena.size.tries if arena.stage.mutant is None else MUTANT_TRIES
        self.items = [
            Changing(number=item.number, wish=_wish(kind), amount=item.amount, edited=item.edited, kind=kind)
            for at, item in enumerate(arena.items(tries))
            for kind in [KINDS[at % len(KINDS)]]
        ]
        self._portals = [load.client("portal") for _ in range(LANES)]
        self._ana = [load.client("ana") for _ in range(LANES)]
        self._ben = [load.client("ben") for _ in range(LANES)]
        self._admins = [load.client("admin") for _ in range(LANES)]
        self._tasks: dict[int, dict[str, Any]] = {}
        self.refused = 0

    def played(self) -> Outcome:
        while_shown = [item for item in self.items if item.kind != "overwritten_after"]
        approved = [item for item in self.items if item.kind == "overwritten_after"]
        with self.load.running():
            self.load.in_lanes(while_shown, LANES, self._while_shown)
            self.load.wait()
            self.arena.say(f"{self.refused} of {len(while_shown)} decisions on what was no longer shown were refused")
            for first in range(0, len(approved), BATCH):
                if not self.load.wrong:
                    self._after(approved[first : first + BATCH])
                    self.arena.say(f"{self.refused} refused")
        problems = []
        if self.refused != len(self.items):
            problems.append(f"{self.refused} of {len(self.items)} were refused")
        return self.arena.judged([self.load], self.faults, tried=len(self.items), problems=problems)

    # While somebody looks ------------------------------------------------------------------------------------------

    def _while_shown(self, lane: int, item: Item) -> None:
        assert isinstance(item, Changing)
        self.load.expect(item)
        run_id = self.load.start(self._portals[lane], item)
        seen = self.load.task_of(self._ana[lane], run_id)
        change: Callable[[int, Changing, dict[str, Any]], dict[str, Any]] = getattr(self, f"_{item.kind}")
        now = change(lane, item, seen)
        client = self._ben[lane] if item.kind == "edited" else self._ana[lane]
        reply = _approve(client, now)
        assert reply.status == 201, f"what is shown now was approved, and that was answered {reply}"
        if item.kind == "overwritten":
            self.load.note_said(item, reply)

    def _redrafted(self, lane: int, item: Changing, seen: dict[str, Any]) -> dict[str, Any]:
        words = {"decision": "request_changes", "note": str(item.edited), "payload_sha256": seen["payload_sha256"]}
        reply = self._ben[lane].ask("POST", f"/human-tasks/{seen['id']}/decisions", words)
        assert reply.status == 201, f"request_changes: {reply}"
        now = self.load.task_of(self._ana[lane], seen["run_id"], revision=2)
        self._refused(_approve(self._ana[lane], seen), now)
        return now

    def _edited(self, lane: int, item: Changing, seen: dict[str, Any]) -> dict[str, Any]:
        reply = _approve(self._ana[lane], seen, patch={"amount": item.edited})
        assert reply.status == 201, f"an edit: {reply}"
        now = self.load.task_of(self._ben[lane], seen["run_id"], revision=2)
        self._refused(_approve(self._ben[lane], seen), now)
        return now

    def _overwritten(self, lane: int, item: Changing, seen: dict[str, Any]) -> dict[str, Any]:
        table = TABLES[item.number // len(KINDS) % 2]
        self._overwrite(table, seen["run_id"], item.input | {"amount": item.edited})
        shown = self.load.task_of(self._ana[lane], seen["run_id"])
        self._refused(_approve(self._ana[lane], seen), None)
        self._refused(_approve(self._ana[lane], shown), None, again=True)
        self._overwrite(table, seen["run_id"], item.input, counts=False)
        return seen

    def _refused(self, reply: Reply, now: dict[str, Any] | None, *, again: bool = False) -> None:
        assert reply.status == 412, f"the payload has changed, and a decision was answered {reply}"
        if now is not None:
            self.faults.counts["another revision"] += 1
            current = {"revision": now["revision"], "payload_sha256": now["payload_sha256"]}
            assert reply.json["current"] == current, f"{reply.json['current']} and not {current}"
        self.refused += not again

    # When it was approved ------------------------------------------------------------------------------------------

    def _after(self, items: Sequence[Changing]) -> None:
        """Approve while no worker moves, overwrite, and see that nothing is done until it is as it was approved."""
        self.load.in_lanes(items, LANES, self._shown)
        with self._workers_stopped():
            self.load.in_lanes(items, LANES, self._approved)
            for item in items:
                self._overwrite(TABLES[1], self.load.started[item.number], item.input | {"amount": item.edited})
        self._see_that(items, lambda found: found[0] in FINISHED)
        paid = {effect.body["item"] for effect in self.plant.ledger.effects()}
        for item in items:
            ((status, code),) = self._ends([item])
            assert (status, code) == ("failed", "payload_changed"), f"item {item.number} is {status}, {code}"
            assert item.number not in paid, f"item {item.number} was paid"
            self.refused += 1
            self._overwrite(TABLES[1], self.load.started[item.number], item.input, counts=False)
        self.load.in_lanes(items, LANES, self._retried)
        self._see_that(items, lambda found: found[0] == "completed")

    def _shown(self, lane: int, item: Item) -> None:
        self.load.expect(item)
        self._tasks[item.number] = self.load.task_of(self._ana[lane], self.load.start(self._portals[lane], item))

    def _approved(self, lane: int, item: Item) -> None:
        reply = _approve(self._ana[lane], self._tasks[item.number])
        assert reply.status == 201, f"an approval: {reply}"
        self.load.note_said(item, reply)

    def _retried(self, lane: int, item: Item) -> None:
        reply = self._admins[lane].ask("POST", f"/runs/{self.load.started[item.number]}/retry", {})
        assert reply.status == 200, f"a retry: {reply}"

    def _ends(self, items: Sequence[Changing]) -> list[tuple[Any, ...]]:
        run_ids = [self.load.started[item.number] for item in items]
        return self.plant.rows("SELECT status, error ->> 'code' FROM runs WHERE id = ANY(%s::uuid[])", run_ids)

    def _see_that(self, items: Sequence[Changing], holds: Callable[[tuple[Any, ...]], bool]) -> None:
        if not wait_for(lambda: all(map(holds, self._ends(items))), seconds=min(SECONDS, self.load.stall_seconds)):
            raise AssertionError(f"runs did not move: {[each for each in self._ends(items) if not holds(each)][:5]}")

    @contextmanager
    def _workers_stopped(self) -> Iterator[None]:
        pids = [pid for watched in self.plant.of_kind("worker") for pid in (watched.pid, *watched.children())]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def _overwrite(self, statement: str, run_id: str, value: Any, *, counts: bool = True) -> None:
        """Behind the back of everybody, as who has the database may."""
        with psycopg.connect(self.plant.direct_url, autocommit=True) as connection:
            changed = connection.execute(statement, (json.dumps(value), run_id)).rowcount
        assert changed == 1, f"{changed} rows of {run_id} were overwritten"
        self.faults.counts[statement.split()[1] + " overwritten"] += counts


def _wish(kind: str) -> Wish:
    """Paid is what was shown last: another amount where somebody has changed it for everybody to see."""
    return Wish.EDIT if kind in ("redrafted", "edited") else Wish.APPROVE


def _approve(client: Client, seen: dict[str, Any], **more: Any) -> Reply:
    body = {"decision": "approve", "payload_sha256": seen["payload_sha256"]} | more
    return client.ask("POST", f"/human-tasks/{seen['id']}/decisions", body)
