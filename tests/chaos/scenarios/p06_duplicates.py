"""Duplicates and reordering are harmless: every message and callback comes one to five times, late and shuffled."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from signoff.store.callbacks import add_callback, link_person
from tests.chaos.by_hand import ByHand, by_hand
from tests.chaos.client import Client
from tests.chaos.faults import Faults
from tests.chaos.plant import FLOWS, QUICK, Plant, wait_for
from tests.chaos.post import Courier, Postman, Sorting
from tests.chaos.registry import Arena, Outcome, Size, Tier, scenario
from tests.chaos.workload import Item, Wish

SETTINGS = dict(QUICK) | {
    "SIGNOFF_MODULES": f"{FLOWS},tests.chaos.flows_drafts",
    # Whatever comes twice is the post office's doing: no lease ends meanwhile, and little is sent again.
    "SIGNOFF_LEASE_SECONDS": "30",
    "SIGNOFF_SWEEP_SECONDS": "0.5",
    "SIGNOFF_REPUBLISH_SECONDS": "3",
    "SIGNOFF_REPUBLISH_MAX_SECONDS": "10",
}
LANES = 16
MUTANT_TRIES = 60
SHARES = {Wish.APPROVE: 4, Wish.EDIT: 1, Wish.REJECT: 1, Wish.TIMEOUT: 1, Wish.CANCEL: 1}
AGAIN_EVERY = 2
"""Of those that are approved: first changes are asked for, and what is drafted again is the same to the last byte."""
DELIVERED_SECONDS = 60.0

_GATE = ("run.created", "step.completed", "gate.opened")
_DECIDED = ("decision.recorded", "gate.decided")
_PAID = ("step.completed", "step.completed", "run.completed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered(Item):
    """A run whose decisions come by callbacks."""

    again: bool = False

    @property
    def workflow(self) -> str:
        if self.again:
            return "drafted"
        return "fleeting" if self.wish is Wish.TIMEOUT else "payment"

    @property
    def log(self) -> tuple[str, ...]:
        """The types of the run's events where everything is delivered once."""
        match self.wish:
            case Wish.APPROVE | Wish.EDIT:
                drafted = (*_DECIDED, "step.completed", "gate.revised") if self.again else ()
                return (*_GATE, *drafted, *_DECIDED, *_PAID)
            case Wish.REJECT:
                return (*_GATE, *_DECIDED, "run.completed")
            case Wish.TIMEOUT:
                return (*_GATE, "gate.timed_out", "gate.decided", "run.completed")
            case Wish.CANCEL:
                return (*_GATE, "run.canceled")


@scenario(
    promise=6,
    title="duplicates and reordering are harmless",
    sizes={
        Tier.CI: Size(tries=120, faults=600),
        Tier.LONG: Size(tries=2_000, faults=10_000),
    },
)
def duplicates(arena: Arena) -> Outcome:
    """Everything between our processes and every decision goes through a post office that repeats, delays and shuffles.
    A fault is a delivery that came again, or after one that was sent later.
    """
    plant = arena.plant(SETTINGS)
    load, faults = by_hand(arena, plant), arena.faults(plant)
    with _post_office(plant, arena.draw) as postman:
        played = _Callbacks(arena, plant, load, faults)
        with load.running():
            played.play()
    for kind, count in postman.counts.items():
        if kind != "messages":
            faults.counts[kind] += count
    problems = []
    if plant.ledger.repeated():
        problems.append(f"{plant.ledger.repeated()} effects were asked for more than once")
    problems += _other_logs(plant, played.items, load)
    arena.say(f"{postman.counts['messages']} messages, {faults.counts}")
    return arena.judged([load], faults, tried=len(played.items), problems=problems)


@contextmanager
def _post_office(plant: Plant, draw: random.Random) -> Iterator[Postman]:
    """The wire to the broker leads through it meanwhile."""
    plain, socket = plant.broker_wire, plant.broker.sockets / "broker.sock"
    plain.unplug()
    sorting = Sorting(socket, port=plain.port)
    postman = Postman(socket, random.Random(draw.random()))
    try:
        yield postman
    finally:
        sorting.close()
        postman.close()
        plain.plug_in()


def _other_logs(plant: Plant, items: Sequence[Delivered], load: ByHand) -> list[str]:
    """Runs whose log is another one than that of a single delivery."""
    rows = plant.rows(
        "SELECT run_id::text, string_agg(type, ' ' ORDER BY seq) FROM events WHERE run_id = ANY(%s::uuid[])"
        " GROUP BY run_id",
        list(load.started.values()),
    )
    logs: dict[str, str] = dict(rows)
    found = []
    for item in items:
        log = logs.get(load.started.get(item.number, ""))
        if log != " ".join(item.log):
            found.append(f"the log of item {item.number} ({item.wish}) is {log}, and not {' '.join(item.log)}")
    return found[:5]


class _Callbacks:
    """The clients: they start runs, and have decisions posted for people elsewhere."""

    def __init__(self, arena: Arena, plant: Plant, load: ByHand, faults: Faults) -> None:
        self.arena, self.load, self.faults = arena, load, faults
        tries = arena.size.tries if arena.stage.mutant is None else MUTANT_TRIES
        self.items = [_delivered(item) for item in arena.items(tries, shares=SHARES)]
        engine = plant.engine()
        try:
            _, token, secret = add_callback(engine.database, f"elsewhere-{load.tag}")
            for person in ("ana", "ben"):
                link_person(engine.database, f"elsewhere-{load.tag}", person, external_id=f"U-{person}")
        finally:
            engine.close()
        self.courier = Courier(plant.api_port, token, secret, load.answers)
        self._clients = [{name: load.client(name) for name in ("portal", "ana", "admin")} for _ in range(LANES)]
        self._sent: Counter[str] = Counter()

    def play(self) -> None:
        """All of it, until the last copy was delivered and the last run has ended."""
        try:
            self.load.in_lanes(self.items, LANES, self._item)
            self.load.wait()
            if not wait_for(lambda: self.courier.done, seconds=DELIVERED_SECONDS):
                self.load.wrong.append("callbacks were not all delivered")
        finally:
            self.courier.close()
        for message_id, replies in self.courier.replies.items():
            self._judge(message_id, replies)

    def _item(self, lane: int, item: Item) -> None:
        assert isinstance(item, Delivered)
        clients = self._clients[lane]
        self.load.expect(item)
        run_id = self.load.start(clients["portal"], item)
        if item.wish is Wish.TIMEOUT:
            return
        task = self.load.task_of(clients["ana"], run_id)
        if item.wish is Wish.CANCEL:
            self._cancel(clients["admin"], run_id)
            return
        if item.again:
            self._say(item, task, "U-ben", decision="request_changes", note="once more")
            task = self.load.task_of(clients["ana"], run_id, revision=2)
        match item.wish:
            case Wish.REJECT:
                self._say(item, task, "U-ana", decision="reject", note="the plan says so")
            case Wish.EDIT:
                self._say(item, task, "U-ana", decision="approve", patch={"amount": item.edited})
            case _:
                self._say(item, task, "U-ana", decision="approve")
        if item.number % 100 == 0:
            self.arena.say(f"{len(self.load.ended)} runs ended")

    def _say(self, item: Item, task: dict[str, Any], person: str, **said: Any) -> None:
        message_id = f"{self.load.tag}-{item.number}-{task['revision']}"
        body = {"human_task_id": task["id"], "payload_sha256": task["payload_sha256"], "person": person} | said
        draw = random.Random(f"{self.arena.seed}:{item.number}:{task['revision']}")
        self._sent[message_id] = self.courier.send(message_id, body, draw)

    def _cancel(self, client: Client, run_id: str) -> None:
        reply = client.ask("POST", f"/runs/{run_id}/cancel", {"reason": "the plan says so"})
        assert reply.status == 200, f"a cancel: {reply}"

    def _judge(self, message_id: str, replies: list[tuple[int, Any]]) -> None:
        """Whatever is delivered again is given the first answer again."""
        statuses = Counter(status for status, _ in replies)
        self.faults.counts["callbacks again"] += len(replies) - 1
        if statuses != Counter({201: 1, 200: len(replies) - 1}) + Counter():
            self.load.wrong.append(f"callback {message_id} was answered {dict(statuses)}: {replies[-1]}")
            return
        ids = {answer["decision"]["id"] for _, answer in replies}
        if len(ids) > 1 or len(replies) != self._sent[message_id]:
            self.load.wrong.append(f"callback {message_id} made {len(ids)} decisions in {len(replies)} deliveries")


def _delivered(item: Item) -> Delivered:
    again = item.wish is Wish.APPROVE and item.number % AGAIN_EVERY == 0
    return Delivered(number=item.number, wish=item.wish, amount=item.amount, edited=item.edited, again=again)
