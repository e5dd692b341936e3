"""The workflows of the fault suite. Their effects go to the receiver that `CHAOS_RECEIVER` names."""

from __future__ import annotations

import http.client
import json
import os
from typing import Any

from signoff import Gate, Retry, Workflow, step

Value = dict[str, Any]

SECONDS = 10.0


def post(key: str, body: Value) -> None:
    """Let it happen outside. Raises OSError or HTTPException when nobody can say whether it did."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["CHAOS_RECEIVER"]), timeout=SECONDS)
    try:
        connection.request("POST", "/effects", json.dumps(body, sort_keys=True), {"Idempotency-Key": key})
        status = connection.getresponse().status
    finally:
        connection.close()
    if status not in (200, 201):
        raise ConnectionError(f"the receiver answers {status}")


@step
def prepare(value: Value) -> Value:
    """What the gate shows."""
    return value


@step(irreversible=True, retry=Retry(attempts=10, backoff="0.1s", factor=1.5, jitter=0.1))
def pay(value: Value, *, idempotency_key: str) -> Value:
    """The effect that nobody may see without an approval, or twice."""
    post(idempotency_key, {"kind": "pay", "item": value["item"], "amount": value["amount"]})
    return value


@step
def note(value: Value) -> Value:
    """One more step behind the effect."""
    return value


_GATE: dict[str, Any] = {"reviewers": "leads", "editable": ["amount"]}

payment = Workflow("payment", [prepare, Gate("check", **_GATE), pay, note])
"""Waits until somebody decides."""

_BY_NAME: dict[str, Any] = _GATE | {"reviewers": ["leads", "user:ana"]}

fleeting = Workflow("fleeting", [prepare, Gate("check", due="1s", on_timeout="reject", **_BY_NAME), pay, note])
"""Is rejected by the clock after a second. Its gate asks somebody by name, so that it opens under the run's lock."""
