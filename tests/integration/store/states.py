"""A run in every state there is, with human tasks and decisions of every kind."""

from __future__ import annotations

from uuid import UUID

from tests.integration.engine.flows import BESIDE, CHAIN, GATE, GRACE, PAIR, REFUND
from tests.integration.engine.world import ADMIN, ANA, BEN, World

from signoff.engine import DecisionRequest


def a_run_in_every_state(world: World) -> dict[str, UUID]:
    """Runs by what is special about each."""
    # First of all, for the clock would move the others on as well.
    timed_out = world.start(GATE, {"amount": 5})
    world.later(3_601)
    world.engine.sweep()
    runs = {
        "timed out": timed_out,
        "queued": world.start(CHAIN, {"n": 1}, labels={"case": "1"}),
        "running": world.start(CHAIN, {"n": 1}),
        "retrying": world.start(CHAIN, {"n": 1}),
        "completed": world.start(CHAIN, {"n": 1, "on": True}),
        "failed": world.start(CHAIN, {"n": 1}),
        "claimed": world.start(REFUND, {"amount": 10}),
        "decided": world.start(REFUND, {"amount": 10}),
        "sent back": world.start(REFUND, {"amount": 10}),
        "canceled": world.start(GATE, {"amount": 5}),
        "half decided": world.start(PAIR, {"amount": 5}),
        "in grace": world.start(GRACE, {"amount": 5}),
        "taken back": world.start(GRACE, {"amount": 5}),
        "compensated": world.start(BESIDE, {"amount": 5}),
    }
    world.claim(runs["running"])
    world.fail(runs["retrying"])
    for _ in range(3):
        world.work(runs["completed"], {"done": True})
    world.fail(runs["failed"], retryable=False)
    _with_people(world, runs)
    return runs


def _with_people(world: World, runs: dict[str, UUID]) -> None:
    for name in ("claimed", "decided", "sent back"):
        world.work(runs[name], {"amount": 12, "text": "a draft"})
        world.engine.comment(world.task(runs[name]).id, text="is it so?", by=ANA)
    world.engine.claim(world.task(runs["claimed"]).id, by=ANA)
    read = {"surface": "inbox", "reading_ms": 1_200}
    world.decide(
        runs["decided"], ANA, "approve", note="less", reason="policy", patch={"amount": 11}, on_behalf_of="ben", **read
    )
    world.decide(runs["sent back"], ANA, "request_changes", note="again")
    world.engine.cancel(runs["canceled"], reason="enough", by=ADMIN)
    world.decide(runs["half decided"], ANA, "approve")
    world.decide(runs["taken back"], ANA, "approve", surface="inbox")
    world.engine.withdraw(world.task(runs["taken back"]).id, by=ANA)
    world.work(runs["compensated"], {"amount": 5})
    beside = world.task(runs["compensated"])
    request = DecisionRequest(decision="reject", payload_sha256=beside.payload_sha256)
    world.engine.decide(beside.id, request, by=BEN)
    world.decide(runs["in grace"], ANA, "approve")
