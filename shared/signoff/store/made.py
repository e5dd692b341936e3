"""What an operation has made of a run and its human tasks, as it is shown, from what its transaction holds.

The same as reading the rows again before the commit, which a decision and a start would wait for.
"""

from __future__ import annotations

from uuid import UUID

from signoff.canonical import Json
from signoff.definition.graph import Graph
from signoff.model import Decision, RunState, RunStatus
from signoff.store.queries_human_task_views import DecisionView, HumanTaskRow, HumanTaskView
from signoff.store.queries_runs import RunView


def run_made(state: RunState, run_input: Json, *, status: RunStatus) -> RunView:
    """The run whose row has this status, which may be `running` where the log knows of no worker."""
    return RunView(
        id=state.run_id,
        workflow=state.workflow,
        version=state.version,
        status=str(status),
        node=state.node,
        input=run_input,
        output=state.value if status is RunStatus.COMPLETED else None,
        outcome=state.outcome,
        error=None if state.error is None else state.error.to_json(),
        labels=dict(state.labels),
        requester=state.requester.to_json(),
        human_tasks=tuple(sorted(state.human_tasks)),
        created_at=state.created_at,
        updated_at=state.updated_at,
        finished_at=state.finished_at,
    )


def human_task_made(state: RunState, graph: Graph, human_task_id: UUID) -> HumanTaskView:
    """The human task, without context and comments, and without the end of a claim, which the log does not know."""
    task = state.human_tasks[human_task_id]
    row = HumanTaskRow(
        id=task.id,
        run_id=state.run_id,
        workflow=state.workflow,
        version=state.version,
        gate=task.gate,
        mode=task.mode,
        state=str(task.state),
        revision=task.revision,
        title=task.title,
        why=task.why,
        payload=task.payload,
        payload_sha256=task.payload_sha256,
        candidate_users=list(task.candidates.users),
        candidate_groups=list(task.candidates.groups),
        assignee=task.assignee,
        priority=task.priority,
        requester_id=state.requester.id,
        pending=task.pending,
        outcome=task.outcome,
        decided_by=None if task.decided_by is None else str(task.decided_by),
        created_at=task.opened_at,
        revised_at=task.revised_at,
        due_at=task.due_at,
        not_before=task.not_before,
        release_at=task.release_at,
        completed_at=task.completed_at,
        claim_expires_at=None,
    )
    return HumanTaskView(row=row, graph=graph, decisions=tuple(_said(task.id, each) for each in task.decisions))


def _said(human_task_id: UUID, decision: Decision) -> DecisionView:
    return DecisionView(
        id=UUID(decision.id),
        human_task_id=human_task_id,
        decision=decision.decision,
        note=decision.note,
        reason=decision.reason,
        patch=decision.patch,
        by=decision.actor.to_json(),
        revision=decision.revision,
        payload_sha256=decision.payload_sha256,
        bulk_id=None if decision.bulk_id is None else UUID(decision.bulk_id),
        on_behalf_of=decision.on_behalf_of,
        delegation_id=None if decision.delegation_id is None else UUID(decision.delegation_id),
        withdrawn=decision.withdrawn,
        at=decision.at,
    )
