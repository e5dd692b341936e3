"""A human task that nobody asked may approve is put before those above as well. Who may is handed in, not read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from uuid import UUID

from signoff.canonical import Json
from signoff.definition.graph import GateNode, Graph, Rung
from signoff.definition.policy import rules_for
from signoff.identity import Principal
from signoff.model import Candidates, Event, EventType, HumanTask, TaskState
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


def standing_in(events: Iterable[Event], task_id: UUID) -> dict[str, frozenset[str]]:
    """Whom this human task asks only because they stand in for others, and for whom. `events` is its run's log."""
    own: set[str] = set()
    lent: dict[str, set[str]] = {}
    for event in events:
        data = event.data
        asked = data.get("candidates") or data.get("to")
        if event.type not in _ASKS_ANEW or data.get("human_task_id") != str(task_id) or asked is None:
            continue
        reroutes = data.get("action") == "reroute"
        if reroutes and data.get("alarm") is not None:
            continue  # handed on to nobody, it stayed with those who had it
        if "candidates" in data or reroutes:
            own, lent = set(), {}
        added = [each for each in data.get("stand_ins", ()) if not each.get("asked")]
        own |= set(asked["users"]) - {each["name"] for each in added}
        for each in added:
            lent.setdefault(each["name"], set()).add(each["for"])
    return {name: frozenset(of) for name, of in lent.items() if name not in own}


def stood_for(
    events: Callable[[], Iterable[Event]], task_id: UUID, asked: Candidates, person: Principal
) -> frozenset[str] | None:
    """In whose stead a person decides who says nothing of it; None where it is in a right of their own."""
    if not person.groups.isdisjoint(asked.groups) or person.name not in asked.users:
        return None
    return standing_in(events(), task_id).get(person.name)


def in_own_right(fold: Fold, task: HumanTask) -> Candidates:
    """Those it asks, without those who only stand in: what they may approve is not more than what it is lent for."""
    lent = standing_in(chain(fold.history(), fold.events), task.id)
    return Candidates(
        users=tuple(name for name in task.candidates.users if name not in lent), groups=task.candidates.groups
    )


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
