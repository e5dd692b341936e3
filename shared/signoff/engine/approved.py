"""What was approved is what is executed: before a step begins on what people decided, its value is held to the log.

The run's row carries the value from the gate to the worker. A row that was changed on the way, by a hand or by a bug,
is not what anybody was shown.
"""

from __future__ import annotations

from signoff.canonical import Json, sha256_hex
from signoff.definition.graph import GateNode, Graph
from signoff.model import Event, EventType, event_hash
from signoff.store.database import Cursor
from signoff.store.evidence import UNREADABLE
from signoff.store.rows import RunRow
from signoff.store.runs import load_origin

PAYLOAD_CHANGED = "payload_changed"


def objection(cursor: Cursor, row: RunRow, graph: Graph) -> str | None:
    """Why this run's value may not be executed; None where it may, or nobody was ever asked."""
    if not row.has_human_tasks:
        return None
    before = [node.name for node in graph.nodes.values() if isinstance(node, GateNode) and node.mode == "before"]
    run_id = row.state.run_id
    try:
        stored = load_origin(cursor, run_id, gates=before)
        if stored is None or event_hash(run_id, stored.event, stored.prev_hash.hex()) != stored.hash.hex():
            return "the event that its value comes from is not the one that was written"
        if sha256_hex(row.state.value) == _expected(stored.event):
            return None
    except UNREADABLE:
        return "its value, or the event that it comes from, can't be read"
    return f"its value is not the one of event {stored.event.seq}, {stored.event.type}"


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
