"""The same over HTTP, with workers and a beat: who is told that it stands is who decided, and that is executed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from tests.chaos.by_hand import ByHand, Crowd, by_hand
from tests.chaos.client import Client, Reply
from tests.chaos.registry import LOSE_EVERY, Arena, Outcome, Size, Tier, scenario
from tests.chaos.workload import Item, Wish

LANES = 6
WINNERS = ("approve", "reject", "cancel", "clock")
RACED_SHARE = 0.9
SPREAD_SECONDS = (-0.03, 0.12)
"""How long after the due time people decide. The clock is looked at every 0.1 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raced(Item):
    """A run that was raced for, and what its clients were told: `wish` is who won."""

    canceled_after: bool = False
    """It was approved, and canceled while its next step may have been on its way: once or never."""

    @property
    def workflow(self) -> str:
        return "fleeting"

    @property
    def end(self) -> tuple[str, str]:
        return ("canceled", "canceled") if self.canceled_after else Item.end.__get__(self)


@scenario(
    promise=2,
    title="one gate, one outcome over HTTP",
    sizes={
        Tier.SLICE: Size(tries=6),
        Tier.CI: Size(tries=90),
        Tier.LONG: Size(tries=1_000),
    },
)
def outcomes(arena: Arena) -> Outcome:
    """Approve, reject and cancel from a barrier on, at the moment at which the gate comes due."""
    plant = arena.plant(lose_every=LOSE_EVERY)
    load = by_hand(arena, plant)
    races = _Races(arena, load)
    with load.running():
        load.in_lanes(races.items, LANES, races.race)
        load.wait()
    races.close()
    races.settle()
    missing = [name for name in WINNERS if not races.won[name]]
    # A race in which somebody never wins is none; a handful of them shows nothing.
    problems = [f"{name} never won" for name in missing if arena.tier is not Tier.SLICE]
    if races.won.total() < RACED_SHARE * arena.size.tries:
        problems.append(f"{races.won.total()} races were run, and {arena.size.tries} are asked for")
    outcome = arena.judged([load], arena.faults(plant), tried=races.won.total(), problems=problems)
    return replace(outcome, details=", ".join(f"{name} won {count}" for name, count in sorted(races.won.items())))


class _Races:
    def __init__(self, arena: Arena, load: ByHand) -> None:
        self.arena, self.load = arena, load
        self.items = arena.items(arena.size.tries, shares={Wish.TIMEOUT: 1})
        self.after = {item.number: arena.draw.uniform(*SPREAD_SECONDS) for item in self.items}
        self.won: Counter[str] = Counter()
        self._crowds = [Crowd(load, ["ana", "ben", "admin"]) for _ in range(LANES)]
        self._portals = [load.client("portal") for _ in range(LANES)]
        self._unsettled: list[int] = []

    def race(self, lane: int, item: Item) -> None:
        """One gate; what came of it is noted as what has to be, once it is known who won."""
        crowd, load = self._crowds[lane], self.load
        run_id = load.start(self._portals[lane], item)
        load.expect(item)
        task = load.task_unless_over(crowd.clients[0], run_id)
        if task is None:
            # The machine was so slow that the clock had it to itself. That is no race.
            return
        wait = (datetime.fromisoformat(task["due_at"]) - datetime.now(UTC)).total_seconds() + self.after[item.number]
        load.pause(wait)
        path, seen = f"/human-tasks/{task['id']}/decisions", {"payload_sha256": task["payload_sha256"]}

        def decide(word: str) -> Any:
            return lambda client: client.ask("POST", path, {"decision": word, "note": "the race"} | seen)

        def cancel(client: Client) -> Reply:
            return client.ask("POST", f"/runs/{run_id}/cancel", {"reason": "the race"})

        approve, reject, canceled = crowd.ask([decide("approve"), decide("reject"), cancel])
        self._note(item, approve, reject, canceled)
        if self.won.total() % 100 == 0:
            self.arena.say(f"{self.won.total()} races")

    def _note(self, item: Item, approve: Reply, reject: Reply, canceled: Reply) -> None:
        load = self.load
        stood = {name: reply for name, reply in (("approve", approve), ("reject", reject)) if reply.status == 201}
        assert len(stood) < 2, f"both were told that it stands: {approve} {reject}"
        for reply in (approve, reject):
            assert reply.status in (201, 409), f"a decision was answered {reply}"
        assert canceled.status in (200, 409), f"the cancel was answered {canceled}"
        winners = [reply.json["winner"] for reply in (approve, reject) if reply.status == 409]
        states = {(winner["state"], winner["outcome"]) for winner in winners}
        assert len(states) == 1, f"the losers were told of several winners: {winners}"
        is_canceled = canceled.status == 200
        if stood:
            (won,) = stood
            load.note_said(item, stood[won])
        else:
            won = "cancel" if states == {("canceled", None)} else "clock"
            assert is_canceled == (won == "cancel"), f"{canceled}, and the others were told of {winners}"
        wishes: Mapping[str, Wish] = {"approve": Wish.APPROVE, "reject": Wish.REJECT, "cancel": Wish.CANCEL}
        assert not (won == "reject" and is_canceled), f"rejected and canceled: {canceled}"
        if won == "approve" and is_canceled:
            self._unsettled.append(item.number)
        raced = Raced(
            number=item.number,
            wish=wishes.get(won, Wish.TIMEOUT),
            amount=item.amount,
            edited=item.edited,
            canceled_after=won == "approve" and is_canceled,
        )
        load.expect(raced)
        self.won[won] += 1

    def close(self) -> None:
        for crowd in self._crowds:
            crowd.close()

    def settle(self) -> None:
        """What was approved and canceled at once was executed once or never, and both are as they should be."""
        paid = {effect.body["item"] for effect in self.load.plant.ledger.effects()}
        for number in set(self._unsettled) - paid:
            self.load.expect(replace(self.load.items[number], wish=Wish.CANCEL))
