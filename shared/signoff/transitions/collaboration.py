"""Admission of what people do around a decision: claim, release, assign, comment."""

from __future__ import annotations

from signoff.errors import Conflict, FieldError, InvalidInput
from signoff.identity import Principal
from signoff.model import Actor, EventType, HumanTask, TaskState
from signoff.transitions.decisions import winner
from signoff.transitions.fold import Fold

MAX_COMMENT = 4_000


def claim(fold: Fold, task: HumanTask, *, actor: Actor) -> None:
    """Take the human task for oneself; a second time does nothing. Raises Conflict when somebody else holds it."""
    _expect_open(fold, task)
    if task.assignee == actor.name:
        return
    if task.assignee is not None:
        raise Conflict(
            f"{task.assignee} has claimed this human task",
            winner={"by": {"name": task.assignee}},
            code="claimed",
            fix="ask them to release it, or have it assigned to you",
        )
    data = {"human_task_id": str(task.id), "gate": task.gate, "assignee": actor.name}
    fold.emit(EventType.HUMAN_TASK_CLAIMED, data, actor=actor)


def release(fold: Fold, task: HumanTask, *, actor: Actor, may_release_for_others: bool) -> None:
    """Give the human task back; when nobody holds it this does nothing. Raises Conflict when it is another's."""
    _expect_open(fold, task)
    if task.assignee is None:
        return
    if task.assignee != actor.name and not may_release_for_others:
        raise Conflict(
            f"{task.assignee} holds this human task, not you",
            winner={"by": {"name": task.assignee}},
            code="claimed",
        )
    data = {"human_task_id": str(task.id), "gate": task.gate, "assignee": task.assignee}
    fold.emit(EventType.HUMAN_TASK_RELEASED, data, actor=actor)


def lapse(fold: Fold, task: HumanTask) -> None:
    """Give back a human task whose claim nobody renewed."""
    data = {"human_task_id": str(task.id), "gate": task.gate, "assignee": task.assignee, "lapsed": True}
    fold.emit(EventType.HUMAN_TASK_RELEASED, data)


def assign(fold: Fold, task: HumanTask, *, assignee: Principal | None, name: str, actor: Actor) -> None:
    """Hand the human task to a person who may decide it. Raises InvalidInput when they may not."""
    _expect_open(fold, task)
    gate = fold.graph.gate(task.gate)
    problem = None
    if assignee is None or assignee.kind != "user":
        problem = "there is no such person"
    elif not task.candidates.admit(assignee.name, assignee.groups):
        problem = "this person is not a candidate of the human task"
    elif gate.four_eyes and str(assignee.id) == fold.state.requester.id:
        problem = "this person started the run and may not decide its gates"
    if problem is not None:
        shown = ", ".join([*task.candidates.users, *task.candidates.groups])
        raise InvalidInput(
            errors=[FieldError(path="/assignee", message=f"{name}: {problem}", fix=f"candidates: {shown}")]
        )
    if task.assignee == name:
        return
    data = {"human_task_id": str(task.id), "gate": task.gate, "assignee": name}
    fold.emit(EventType.HUMAN_TASK_ASSIGNED, data, actor=actor)


def comment(fold: Fold, task: HumanTask, *, text: str, actor: Actor) -> None:
    """Add a comment to the log. A human task that is over may still be commented on."""
    if not text.strip() or len(text) > MAX_COMMENT:
        raise InvalidInput(errors=[FieldError(path="/text", message=f"a comment has 1 to {MAX_COMMENT} characters")])
    data = {"human_task_id": str(task.id), "gate": task.gate, "text": text}
    fold.emit(EventType.HUMAN_TASK_COMMENTED, data, actor=actor)


def _expect_open(fold: Fold, task: HumanTask) -> None:
    if task.state is not TaskState.OPEN:
        raise Conflict(
            f"the human task is already {task.state}", winner=winner(task, fold.history), code="already_decided"
        )
