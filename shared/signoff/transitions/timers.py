"""Admission of what time does to a human task: reminder, escalation, the due time, release after grace."""

from __future__ import annotations

from typing import Any

from signoff.definition.graph import End, GateNode, Rung, TakeOption
from signoff.definition.policy import rules_for
from signoff.model import OUTCOMES, TIMED_OUT, Candidates, DecidedBy, EventType, HumanTask, TaskState
from signoff.transitions.advance import NewId, alarm_of, said_of_stand_ins, with_stand_ins
from signoff.transitions.decisions import Conclusion, conclude, conclusion_of
from signoff.transitions.fold import Fold
from signoff.transitions.human_task_events import next_rung


def fire(fold: Fold, task: HumanTask, new_id: NewId) -> Conclusion | None:
    """Do everything that has come due on this human task by now, in order; nothing that has not.

    Returns the conclusion when the gate was decided by it. Doing it again at the same moment does nothing.
    """
    gate = fold.graph.gate(task.gate)
    for _ in range(len(gate.ladder) + 2):
        task = fold.state.human_tasks[task.id]
        if task.state is not TaskState.OPEN or task.wake_at is None or task.wake_at > fold.now:
            return None
        if task.release_at is not None:
            conclusion = conclusion_of(gate, task)
            conclude(fold, gate, task, conclusion, new_id)
            return conclusion
        coming = next_rung(gate, task)
        if coming is None:
            return None
        if coming[1] is None:
            return _due(fold, gate, task, new_id)
        _climb(fold, gate, task, coming[1])
    return None


def _climb(fold: Fold, gate: GateNode, task: HumanTask, rung: Rung) -> None:
    data: dict[str, Any] = {"gate": gate.name, "human_task_id": str(task.id), "rung": task.rung}
    if rung.action == "remind":
        fold.emit(EventType.GATE_REMINDED, data | {"overdue": False})
        return
    users, groups = rules_for(fold.graph, gate.name).rung_reviewers(rung, task.payload)
    to = Candidates(users=users, groups=groups)
    alarm = alarm_of(to)
    if alarm is not None and rung.action == "reroute":
        # Handed to nobody it would wait for ever; so it stays with those who have it.
        to = task.candidates
    to, standing_in = with_stand_ins(fold, gate, to)
    data |= {"action": rung.action, "to": to.to_json(), "alarm": alarm} | said_of_stand_ins(standing_in)
    fold.emit(EventType.GATE_ESCALATED, data)


def _due(fold: Fold, gate: GateNode, task: HumanTask, new_id: NewId) -> Conclusion | None:
    data: dict[str, Any] = {"gate": gate.name, "human_task_id": str(task.id)}
    match gate.on_timeout:
        case None:
            # Silence decides nothing: the human task stays open, and everybody can see that it is overdue.
            fold.emit(EventType.GATE_REMINDED, data | {"rung": task.rung, "overdue": True})
            return None
        case TakeOption(option=option):
            fold.emit(EventType.GATE_TIMED_OUT, data | {"action": option})
            conclusion = Conclusion(option=option, outcome=OUTCOMES.get(option, option), decided_by=DecidedBy.TIMEOUT)
        case target:
            action = target.status if isinstance(target, End) else target.node
            fold.emit(EventType.GATE_TIMED_OUT, data | {"action": action})
            conclusion = Conclusion(option=None, outcome=TIMED_OUT, decided_by=DecidedBy.TIMEOUT)
    conclude(fold, gate, fold.state.human_tasks[task.id], conclusion, new_id)
    return conclusion
