"""How a run and its human tasks lie in their rows: reading them into the model and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from signoff.canonical import Json
from signoff.model import (
    Actor,
    Candidates,
    DecidedBy,
    Decision,
    Event,
    EventType,
    HumanTask,
    RunError,
    RunState,
    RunStatus,
    TaskState,
)

RUN_COLUMNS = (
    "id, workflow, version, status, node, epoch, attempt, lost, resends, value, outputs, feedback, outcome, error,"
    " labels, requester, has_human_tasks, seq, hash, due_at, created_at, updated_at, finished_at, worker, queue"
)

HUMAN_TASK_COLUMNS = (
    "id, gate, mode, state, revision, payload, payload_sha256, title, why, candidate_users, candidate_groups,"
    " assignee, priority, created_at, revised_at, due_at, not_before, wake_at, rung, release_at, pending, outcome,"
    " decided_by, completed_at, ladder_ms"
)

DECISION_COLUMNS = (
    "human_task_id, id, revision, decision, actor, at, note, reason, patch, payload_sha256, on_behalf_of, bulk_id,"
    " surface, reading_ms, authenticated, withdrawn, delegation_id, acts_for"
)

EVENT_COLUMNS = "seq, type, at, actor, data, prev_hash, hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run's row: the head of its log, and what the log does not know: lease, epoch, resends.

    `row_status` is the stored status, which may be `running`; `state.status` is the log's view of it.
    """

    state: RunState
    row_status: RunStatus
    epoch: int
    resends: int
    hash: bytes
    due_at: datetime | None
    worker: str | None
    queue: str | None
    has_human_tasks: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event with the two hashes that chain it."""

    event: Event
    prev_hash: bytes
    hash: bytes


def run_from_row(row: Sequence[Any], human_tasks: Mapping[UUID, HumanTask]) -> RunRow:
    """A row of RUN_COLUMNS as the model has it."""
    status = RunStatus(row[3])
    state = RunState(
        run_id=row[0],
        workflow=row[1],
        version=row[2],
        status=RunStatus.QUEUED if status is RunStatus.RUNNING else status,
        node=row[4],
        attempt=row[6],
        lost=row[7],
        value=row[9],
        outputs=row[10],
        feedback=row[11],
        outcome=row[12],
        error=None if row[13] is None else RunError.from_json(row[13]),
        labels=row[14],
        requester=Actor.from_json(row[15]),
        seq=row[17],
        retry_at=row[19] if status is RunStatus.RETRYING else None,
        created_at=row[20],
        updated_at=row[21],
        finished_at=row[22],
        human_tasks=human_tasks,
    )
    return RunRow(
        state=state,
        row_status=status,
        epoch=row[5],
        resends=row[8],
        hash=row[18],
        due_at=row[19],
        worker=row[23],
        queue=row[24],
        has_human_tasks=row[16],
    )


def human_task_from_row(row: Sequence[Any], decisions: Sequence[Decision]) -> HumanTask:
    """A row of HUMAN_TASK_COLUMNS as the model has it."""
    return HumanTask(
        id=row[0],
        gate=row[1],
        mode=row[2],
        state=TaskState(row[3]),
        revision=row[4],
        payload=row[5],
        payload_sha256=row[6],
        title=row[7],
        why=row[8],
        candidates=Candidates(users=tuple(row[9]), groups=tuple(row[10])),
        assignee=row[11],
        priority=row[12],
        opened_at=row[13],
        revised_at=row[14],
        due_at=row[15],
        not_before=row[16],
        wake_at=row[17],
        rung=row[18],
        release_at=row[19],
        pending=row[20],
        outcome=row[21],
        decided_by=None if row[22] is None else DecidedBy(row[22]),
        completed_at=row[23],
        ladder_ms=None if row[24] is None else tuple(row[24]),
        decisions=tuple(decisions),
    )


def decision_from_row(row: Sequence[Any]) -> tuple[UUID, Decision]:
    """A row of DECISION_COLUMNS: the human task it belongs to, and the decision."""
    return row[0], Decision(
        id=str(row[1]),
        revision=row[2],
        decision=row[3],
        actor=Actor.from_json(row[4]),
        at=row[5],
        note=row[6],
        reason=row[7],
        patch=row[8],
        payload_sha256=row[9],
        on_behalf_of=row[10],
        bulk_id=None if row[11] is None else str(row[11]),
        surface=row[12],
        reading_ms=row[13],
        authenticated=row[14],
        withdrawn=row[15],
        delegation_id=None if row[16] is None else str(row[16]),
        acts_for=row[17],
    )


def event_from_row(row: Sequence[Any]) -> StoredEvent:
    """A row of EVENT_COLUMNS."""
    event = Event(seq=row[0], type=EventType(row[1]), at=row[2], actor=Actor.from_json(row[3]), data=row[4])
    return StoredEvent(event=event, prev_hash=row[5], hash=row[6])


def dump(value: Json) -> str:
    """JSON text for a `json` column."""
    return orjson.dumps(value).decode()


def dump_or_null(value: Json | None) -> str | None:
    """The same for a column where SQL NULL stands for absence."""
    return None if value is None else dump(value)


def human_task_row(task: HumanTask, state: RunState) -> dict[str, Any]:
    """A human task's row by its columns; JSON in it is a text."""
    return {
        "id": task.id,
        "run_id": state.run_id,
        "workflow": state.workflow,
        "version": state.version,
        "gate": task.gate,
        "mode": task.mode,
        "state": task.state,
        "revision": task.revision,
        "payload": dump(task.payload),
        "payload_sha256": task.payload_sha256,
        "title": task.title,
        "why": task.why,
        "candidate_users": task.candidates.users,
        "candidate_groups": task.candidates.groups,
        "assignee": task.assignee,
        "priority": task.priority,
        "requester_id": state.requester.id,
        "rung": task.rung,
        "pending": task.pending,
        "outcome": task.outcome,
        "decided_by": task.decided_by,
        "created_at": task.opened_at,
        "revised_at": task.revised_at,
        "due_at": task.due_at,
        "not_before": task.not_before,
        "wake_at": task.wake_at,
        "release_at": task.release_at,
        "completed_at": task.completed_at,
        "ladder_ms": task.ladder_ms,
        "changed_at": state.updated_at,
    }


def decision_row(decision: Decision, task: HumanTask, state: RunState) -> dict[str, Any]:
    """A decision's row by its columns; JSON in it is a text."""
    return {
        "id": decision.id,
        "human_task_id": task.id,
        "run_id": state.run_id,
        "seq": state.seq,
        "revision": decision.revision,
        "decision": decision.decision,
        "actor": dump(decision.actor.to_json()),
        "principal_id": decision.actor.id,
        "note": decision.note,
        "reason": decision.reason,
        "patch": dump_or_null(decision.patch),
        "payload_sha256": decision.payload_sha256,
        "on_behalf_of": decision.on_behalf_of,
        "bulk_id": decision.bulk_id,
        "surface": decision.surface,
        "reading_ms": decision.reading_ms,
        "authenticated": dump_or_null(decision.authenticated),
        "withdrawn": decision.withdrawn,
        "delegation_id": decision.delegation_id,
        "acts_for": decision.acts_for,
        "at": decision.at,
    }
