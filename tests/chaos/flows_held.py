"""Workflows whose steps stand still while a scenario says so, and that say which process is in them.

What is said goes through files beside the folder of failpoints: `hold-ITEM` keeps whoever comes to a step of that item,
but the process whose number is in it; `held-ITEM` is there once somebody is kept. `at-PID-ITEM` is there while that
process is in a step that lingers.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from signoff import Gate, Retry, Workflow, step
from tests.chaos.flows import post

Value = dict[str, Any]

LONGEST_SECONDS = 30.0
LOOK_SECONDS = 0.01


def folder() -> Path:
    """Where the scenario and its steps leave each other files."""
    return Path(os.environ["SIGNOFF_FAILPOINTS"]).parent


def stand(item: int) -> None:
    """Stand still while the scenario wants this item's steps to; not in the process that it excepts."""
    hold = folder() / f"hold-{item}"
    give_up = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < give_up:
        try:
            excepted = hold.read_text()
        except FileNotFoundError:
            return
        if excepted == str(os.getpid()):
            return
        (folder() / f"held-{item}").touch()
        time.sleep(LOOK_SECONDS)


@step
def enter(value: Value) -> Value:
    """The step before the gate; what it gives names the process that did it."""
    stand(value["item"])
    return value | {"entered": os.getpid()}


@step(irreversible=True, retry=Retry(attempts=10, backoff="0.1s", factor=1.5, jitter=0.1))
def pay(value: Value, *, idempotency_key: str) -> Value:
    """The effect, and the process that asked for it."""
    post(idempotency_key, {"kind": "pay", "item": value["item"], "amount": value["amount"]})
    stand(value["item"])
    return value | {"paid": os.getpid()}


@step
def leave(value: Value) -> Value:
    """The step behind it."""
    stand(value["item"])
    return value | {"left": os.getpid()}


@step
def prepare(value: Value) -> Value:
    """What the gate shows."""
    return value


@step(irreversible=True, retry=Retry(attempts=10, backoff="0.1s", factor=1.5, jitter=0.1))
def linger(value: Value, *, idempotency_key: str) -> Value:
    """The effect at once, and then so many milliseconds in which nobody has recorded it; none where it is repeated."""
    begun = folder() / f"begun-{value['item']}"
    again = begun.exists()
    begun.touch()
    here = folder() / f"at-{os.getpid()}-{value['item']}"
    here.touch()
    try:
        post(idempotency_key, {"kind": "pay", "item": value["item"], "amount": value["amount"]})
        time.sleep(0.0 if again else value["linger_ms"] / 1000)
    finally:
        here.unlink(missing_ok=True)
    return value


_GATE: dict[str, Any] = {"reviewers": "leads", "editable": ["amount"]}

haunted = Workflow("haunted", [enter, Gate("check", **_GATE), pay, leave])
lingering = Workflow("lingering", [prepare, Gate("check", **_GATE), linger, leave])
