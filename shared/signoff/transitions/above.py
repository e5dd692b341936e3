"""A human task that nobody asked may approve is put before those above as well. Who may is handed in, not read."""

from __future__ import annotations

from collections.abc import Iterator

from signoff.canonical import Json
from signoff.definition.graph import GateNode, Graph, Rung
from signoff.definition.policy import rules_for
from signoff.model import Candidates, EventType, HumanTask, TaskState
from signoff.transitions.fold import Fold

OVER_LIMIT = "over_limit"
"""The reason of an escalation that no rung of a ladder calls for."""

_ASKS_ANEW = (EventType.GATE_OPENED, EventType.GATE_REVISED, EventType.GATE_ESCALATED)


def asked_anew(fold: Fold) -> Iterator[tuple[GateNode, HumanTask]]:
    """The open human tasks that this batch shows to somebody for the first time, at gates that take authority."""
    seen = set()
    for event in fold.events:
        if event.type not in _ASKS_ANEW:
            continue
        gate = fold.graph.gate(event.data["gate"])
        task = next(
            (each for key, each in fold.state.human_tasks.items() if str(key) == event.data["human_task_id"]), None
        )
        if gate.authority and task is not None and task.state is TaskState.OPEN and task.id not in seen:
            seen.add(task.id)
            yield gate, task


def above_of(graph: Graph, gate: GateNode, payload: Json) -> Candidates:
    """Whom the gate names as above."""
    rung = Rung(after_ms=0, action="escalate", to=gate.above)
    users, groups = rules_for(graph, gate.name).rung_reviewers(rung, payload)
    return Candidates(users=users, groups=groups)


def put_above(fold: Fold, gate: GateNode, task: HumanTask, *, reached: bool) -> None:
    """Ask those above too; `reached` says whether enough of them may approve it. Nothing where they are asked already.

    No rung is taken by it: the gate's ladder goes on as it would.
    """
    above = above_of(fold.graph, gate, task.payload)
    if task.candidates.with_(above) == task.candidates:
        return
    fold.emit(
        EventType.GATE_ESCALATED,
        {
            "gate": gate.name,
            "human_task_id": str(task.id),
            "rung": task.rung,
            "action": "escalate",
            "to": above.to_json(),
            "alarm": None if reached else "nobody above may approve it either",
            "reason": OVER_LIMIT,
        },
    )
