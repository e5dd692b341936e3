"""What was approved is what is executed: before a step begins on what people decided, its value is held to the log.

The run's row carries the value from the gate to the worker. A row that was changed on the way, by a hand or by a bug,
is not what anybody was shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from signoff.canonical import Json, sha256_hex
from signoff.definition.graph import GateNode, Graph
from signoff.model import Event, EventType, event_hash
from signoff.store.database import Cursor
from signoff.store.evidence import UNREADABLE
from signoff.store.rows import RunRow
from signoff.store.runs import load_origin

PAYLOAD_CHANGED = "payload_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """`objection` is why this run's value may not be executed; None where it may, or nobody was ever asked.

    `settled` says that no event of a step could touch any of the run's human tasks: they are over, or there are none.
    """

    objection: str | None
    settled: bool = False


def examined(cursor: Cursor, row: RunRow, graph: Graph) -> Examined:
    """What there is to say of a run that has been claimed, before its step begins."""
    if not row.has_human_tasks:
        return Examined(objection=None, settled=not row.has_human_tasks)
    before = [node.name for node in graph.nodes.values() if isinstance(node, GateNode) and node.mode == "before"]
    run_id = row.state.run_id
    try:
        found = load_origin(cursor, run_id, gates=before)
        if found is None:
            return _CHANGED
        stored, settled = found
        if event_hash(run_id, stored.event, stored.prev_hash.hex()) != stored.hash.hex():
            return _CHANGED
        if sha256_hex(row.state.value) == _expected(stored.event):
            return Examined(objection=None, settled=settled)
    except UNREADABLE:
        return Examined(objection="its value, or the event that it comes from, can't be read")
    return Examined(objection=f"its value is not the one of event {stored.event.seq}, {stored.event.type}")


_CHANGED = Examined(objection="the event that its value comes from is not the one that was written")


def _expected(event: Event) -> str:
    """The hash of the value that the run has had since this event."""
    data = event.data
    value: Json
    match event.type:
        case EventType.GATE_DECIDED if "value" not in data:
            return str(data["output_sha256"] if "output" in data else data["payload_sha256"])
        case EventType.GATE_PASSED:
            return str(data["payload_sha256"])
        case EventType.STEP_COMPLETED:
            value = data["output"]
        case EventType.RUN_CREATED:
            value = data["value"] if "value" in data else data["input"]
        case _:
            value = data["value"]
    return sha256_hex(value)
