"""Which events are told, and what is said of each: ids, and by choice what the people concerned see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from signoff.canonical import Json
from signoff.model import EventType, format_time

TOLD: tuple[EventType, ...] = (
    EventType.GATE_OPENED,
    EventType.GATE_REVISED,
    EventType.GATE_DECIDED,
    EventType.GATE_REMINDED,
    EventType.GATE_ESCALATED,
    EventType.GATE_TIMED_OUT,
    EventType.RUN_COMPLETED,
    EventType.RUN_FAILED,
    EventType.RUN_CANCELED,
)
"""The events an endpoint can ask for."""

TOLD_NAMES = frozenset(str(each) for each in TOLD)

TEST = "webhook.test"
"""What is sent by hand to try an endpoint; it is about no run."""

MAX_BODY_BYTES = 65_536
"""A body with more than this is sent without its `payload`; without one it never comes near."""

# What of an event's data is said to everybody. Titles, reasons and messages of errors are not among it: people and
# steps write values into them.
_SAID = {
    EventType.GATE_OPENED: ("gate", "human_task_id", "mode", "payload_sha256", "candidates", "assignee"),
    EventType.GATE_REVISED: ("gate", "human_task_id", "revision", "payload_sha256"),
    EventType.GATE_DECIDED: ("gate", "human_task_id", "revision", "outcome", "decided_by", "payload_sha256"),
    EventType.GATE_REMINDED: ("gate", "human_task_id", "rung", "overdue"),
    EventType.GATE_ESCALATED: ("gate", "human_task_id", "rung", "action", "to"),
    EventType.GATE_TIMED_OUT: ("gate", "human_task_id", "action"),
    EventType.RUN_COMPLETED: ("outcome",),
    EventType.RUN_FAILED: ("code", "step", "attempt"),
    EventType.RUN_CANCELED: ("outcome",),
}
# And what only endpoints that want payloads are told beside.
_SAID_WITH_PAYLOAD = ("title", "why", "message", "reason", "feedback", "edited")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event with what never changes of its run. `payload` is the value it is about, where that is still known."""

    type: EventType
    at: datetime
    seq: int
    data: Mapping[str, Json]
    run_id: UUID
    workflow: str
    version: int
    labels: Mapping[str, str]
    payload: Json = None
    has_payload: bool = False


def body_of(told: Told, *, include_payload: bool) -> bytes:
    """The body of a delivery: `type`, `timestamp`, and `data` with the ids; the same bytes at every attempt."""
    data: dict[str, Any] = {
        "run_id": str(told.run_id),
        "seq": told.seq,
        "workflow": told.workflow,
        "version": told.version,
        "labels": dict(told.labels),
    }
    data |= {name: told.data[name] for name in _SAID[told.type] if name in told.data}
    whole = {"type": str(told.type), "timestamp": format_time(told.at), "data": data}
    bare = orjson.dumps(whole)
    if not include_payload:
        return bare
    data |= {name: told.data[name] for name in _SAID_WITH_PAYLOAD if name in told.data}
    if told.has_payload:
        data["payload"] = told.payload
    full = orjson.dumps(whole)
    return full if len(full) <= MAX_BODY_BYTES else bare


def test_body(delivery_id: UUID, at: datetime) -> bytes:
    """The body of a delivery that only tries an endpoint."""
    return orjson.dumps({"type": TEST, "timestamp": format_time(at), "data": {"delivery_id": str(delivery_id)}})


def unknown_events(names: tuple[str, ...]) -> list[str]:
    """Those of `names` that no endpoint can ask for."""
    return [name for name in names if name not in TOLD_NAMES]
