"""What each event makes of the one human task it names; the part of the transition function that knows gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from signoff.canonical import Json
from signoff.definition.graph import GateNode, Rung
from signoff.model import (
    Candidates,
    DecidedBy,
    Decision,
    Event,
    HumanTask,
    TaskState,
)

WITHDRAW = "withdraw"
"""The decision that takes one's own decision back while it is in grace."""


def next_rung(gate: GateNode, task: HumanTask) -> tuple[datetime, Rung | None] | None:
    """What happens next to an undecided human task and when: a rung of the ladder, or None for the due time itself.

    Rungs at or after the due time never come: the due time ends the ladder.
    """
    if task.rung < len(gate.ladder):
        rung = gate.ladder[task.rung]
        after_ms = task.ladder_ms[task.rung] if task.ladder_ms is not None else rung.after_ms
        at = task.revised_at + timedelta(milliseconds=after_ms)
        if task.due_at is None or at < task.due_at:
            return at, rung
    if task.due_at is not None and task.rung <= len(gate.ladder):
        return task.due_at, None
    return None


def opened(gate: GateNode, value: Json, event: Event) -> HumanTask:
    data = event.data
    task = HumanTask(
        id=UUID(data["human_task_id"]),
        gate=gate.name,
        mode=gate.mode,
        state=TaskState.OPEN,
        revision=1,
        payload=value,
        payload_sha256=data["payload_sha256"],
        title=data["title"],
        why=data["why"],
        candidates=Candidates.from_json(data["candidates"]),
        assignee=data["assignee"],
        priority=gate.priority,
        opened_at=event.at,
        revised_at=event.at,
        due_at=_later(event.at, data["due_ms"]),
        not_before=_later(event.at, gate.not_before_ms or None),
        wake_at=None,
        ladder_ms=_ladder(data),
    )
    return _rescheduled(gate, task)


def revised(gate: GateNode, task: HumanTask, value: Json, event: Event) -> HumanTask:
    """The human task with its next revision. A new draft starts the clock again, an edit by a reviewer does not."""
    data = event.data
    carried = set(data["carried"])
    shown = replace(
        task,
        state=TaskState.OPEN,
        revision=data["revision"],
        payload=value,
        payload_sha256=data["payload_sha256"],
        title=data["title"],
        why=data["why"],
        outcome=None,
        decided_by=None,
        completed_at=None,
        pending=None,
        release_at=None,
        decisions=tuple(
            replace(decision, revision=data["revision"]) if decision.id in carried else decision
            for decision in task.decisions
        ),
    )
    if "candidates" in data:
        shown = replace(shown, candidates=Candidates.from_json(data["candidates"]))
    if data["restarted"]:
        due_at = _later(event.at, data["due_ms"])
        shown = replace(shown, rung=0, revised_at=event.at, due_at=due_at, ladder_ms=_ladder(data))
    return _rescheduled(gate, shown)


def assigned(_gate: GateNode, task: HumanTask, event: Event) -> HumanTask:
    return replace(task, assignee=event.data["assignee"])


def released(_gate: GateNode, task: HumanTask, _event: Event) -> HumanTask:
    return replace(task, assignee=None)


def decision_recorded(gate: GateNode, task: HumanTask, event: Event) -> HumanTask:
    data = event.data
    if data["decision"] == WITHDRAW:
        return _withdrawn(gate, task, data["withdraws"])
    decision = Decision(
        id=data["decision_id"],
        revision=data["revision"],
        decision=data["decision"],
        actor=event.actor,
        at=event.at,
        note=data["note"],
        reason=data["reason"],
        patch=data["patch"],
        payload_sha256=data["payload_sha256"],
        on_behalf_of=data["on_behalf_of"],
        bulk_id=data["bulk_id"],
        surface=data.get("surface"),
        reading_ms=data.get("reading_ms"),
        authenticated=data.get("authenticated"),
        delegation_id=data.get("delegation_id"),
        acts_for=data.get("acts_for"),
    )
    task = replace(task, decisions=(*task.decisions, decision))
    if data["release_ms"] is None:
        return task
    release_at = _later(event.at, data["release_ms"])
    return replace(task, pending=decision.decision, release_at=release_at, wake_at=release_at)


def decided(task: HumanTask, event: Event) -> HumanTask:
    by = DecidedBy(event.data["decided_by"])
    return replace(
        task,
        state=TaskState.TIMED_OUT if by is DecidedBy.TIMEOUT else TaskState.COMPLETED,
        outcome=event.data["outcome"],
        decided_by=by,
        completed_at=event.at,
        wake_at=None,
        release_at=None,
        pending=None,
    )


def reminded(gate: GateNode, task: HumanTask, event: Event) -> HumanTask:
    # An overdue human task without on_timeout stays open and is not looked at again: nothing is left to do.
    rung = len(gate.ladder) + 1 if event.data["overdue"] else task.rung + 1
    return _rescheduled(gate, replace(task, rung=rung))


def escalated(gate: GateNode, task: HumanTask, event: Event) -> HumanTask:
    to = Candidates.from_json(event.data["to"])
    if event.data["action"] == "reroute":
        task = replace(task, candidates=to, assignee=None)
    else:
        task = replace(task, candidates=task.candidates.with_(to))
    if event.data.get("reason") is not None:
        # Asked beside the ladder, which goes on as it would.
        return task
    return _rescheduled(gate, replace(task, rung=task.rung + 1))


def timed_out(_gate: GateNode, task: HumanTask, _event: Event) -> HumanTask:
    # What follows from it is in the event after this one, `gate.decided`.
    return replace(task, wake_at=None)


def canceled(task: HumanTask, event: Event) -> HumanTask:
    return replace(task, state=TaskState.CANCELED, completed_at=event.at, wake_at=None, release_at=None, pending=None)


def _withdrawn(gate: GateNode, task: HumanTask, decision_id: str) -> HumanTask:
    kept = tuple(
        replace(decision, withdrawn=True) if decision.id == decision_id else decision for decision in task.decisions
    )
    task = replace(task, decisions=kept)
    if task.pending is not None and any(d.decision == task.pending for d in kept if d.id == decision_id):
        task = replace(task, pending=None, release_at=None)
    return task if task.pending is not None else _rescheduled(gate, task)


def _rescheduled(gate: GateNode, task: HumanTask) -> HumanTask:
    coming = next_rung(gate, task)
    return replace(task, wake_at=coming[0] if coming else None)


def _ladder(data: Mapping[str, Any]) -> tuple[int, ...] | None:
    found = data.get("ladder_ms")
    return None if found is None else tuple(found)


def _later(at: datetime, ms: int | None) -> datetime | None:
    return None if ms is None else at + timedelta(milliseconds=ms)
