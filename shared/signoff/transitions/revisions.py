"""What a human task showed at each of its revisions, found again by replaying the run's log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from signoff.canonical import Json
from signoff.definition.graph import Graph
from signoff.model import Actor, Event, EventType, RunState
from signoff.transitions.fold import transition


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One payload as it was shown. `by` made it what it is: the engine for a draft, a person for an edit."""

    number: int
    payload: Json
    payload_sha256: str
    at: datetime
    by: Actor


def revisions(graph: Graph, run_id: UUID, history: Iterable[Event], human_task_id: UUID) -> tuple[Revision, ...]:
    """The revisions of one human task, oldest first; none when the log does not have it."""
    found: list[Revision] = []
    state: RunState | None = None
    for event in history:
        state = transition(graph, state, run_id, event)
        if event.type not in (EventType.GATE_OPENED, EventType.GATE_REVISED):
            continue
        if event.data.get("human_task_id") != str(human_task_id):
            continue
        task = state.human_tasks[human_task_id]
        found.append(
            Revision(
                number=task.revision,
                payload=task.payload,
                payload_sha256=task.payload_sha256,
                at=event.at,
                by=event.actor,
            )
        )
    return tuple(found)
