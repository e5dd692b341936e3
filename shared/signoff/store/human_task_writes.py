"""The statements that write human tasks and decisions, and what a decision adds to the statement that moves its run."""

from __future__ import annotations

import re
from typing import Any

from signoff.model import Decision, HumanTask, RunState
from signoff.store.database import Cursor
from signoff.store.rows import decision_parameters, human_task_parameters

_PARAMETER = re.compile(r"%\((\w+)\)s")

INSERT_HUMAN_TASK = """
INSERT INTO human_tasks (id, run_id, workflow, version, gate, mode, state, revision, payload, payload_sha256, title,
    why, candidate_users, candidate_groups, assignee, priority, requester_id, rung, pending, outcome, decided_by,
    created_at, revised_at, due_at, not_before, wake_at, release_at, completed_at, ladder_ms, changed_at)
VALUES (%(id)s, %(run_id)s, %(workflow)s, %(version)s, %(gate)s, %(mode)s, %(state)s, %(revision)s,
    %(payload)s::json, %(payload_sha256)s, %(title)s, %(why)s, %(candidate_users)s, %(candidate_groups)s,
    %(assignee)s, %(priority)s, %(requester_id)s, %(rung)s, %(pending)s, %(outcome)s, %(decided_by)s,
    %(created_at)s, %(revised_at)s, %(due_at)s, %(not_before)s, %(wake_at)s, %(release_at)s, %(completed_at)s,
    %(ladder_ms)s::bigint[], %(changed_at)s)
"""

HUMAN_TASK_TARGET = INSERT_HUMAN_TASK.partition("VALUES (")[0]

UPDATE_HUMAN_TASK = """
UPDATE human_tasks SET state = %(state)s, revision = %(revision)s, payload = %(payload)s::json,
    payload_sha256 = %(payload_sha256)s, title = %(title)s, why = %(why)s, candidate_users = %(candidate_users)s,
    candidate_groups = %(candidate_groups)s, assignee = %(assignee)s, rung = %(rung)s, pending = %(pending)s,
    outcome = %(outcome)s, decided_by = %(decided_by)s, revised_at = %(revised_at)s, due_at = %(due_at)s,
    wake_at = %(wake_at)s, release_at = %(release_at)s, completed_at = %(completed_at)s,
    ladder_ms = %(ladder_ms)s::bigint[], changed_at = %(changed_at)s,
    claim_expires_at = CASE WHEN assignee = %(assignee)s AND (%(state)s = 'open' OR %(outcome)s = 'changes_requested')
        THEN claim_expires_at END
WHERE id = %(id)s
"""

INSERT_DECISION = """
INSERT INTO decisions (id, human_task_id, run_id, seq, revision, decision, actor, principal_id, note, reason, patch,
    payload_sha256, on_behalf_of, bulk_id, surface, reading_ms, authenticated, withdrawn, delegation_id, acts_for,
    at)
VALUES (%(id)s, %(human_task_id)s, %(run_id)s, %(seq)s, %(revision)s, %(decision)s, %(actor)s::json,
    %(principal_id)s, %(note)s, %(reason)s, %(patch)s::json, %(payload_sha256)s, %(on_behalf_of)s, %(bulk_id)s,
    %(surface)s, %(reading_ms)s, %(authenticated)s::json, %(withdrawn)s,
    %(delegation_id)s, %(acts_for)s, %(at)s)
ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, withdrawn = excluded.withdrawn
"""


def _renamed_in(prefix: str, statement: str) -> str:
    return _PARAMETER.sub(rf"%({prefix}_\1)s", statement)


def renamed(prefix: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters as `WITH_DECISION` names them: those of its human task by `task`, of its decision by `said`."""
    return {f"{prefix}_{name}": value for name, value in parameters.items()}


# A decision as it mostly is: parts of the statement that writes the run and its log.
WITH_DECISION = f"task AS ({_renamed_in('task', UPDATE_HUMAN_TASK)}), said AS ({_renamed_in('said', INSERT_DECISION)})"


def decided_once(before: HumanTask | None, task: HumanTask) -> Decision | None:
    """The one decision that was added to a human task that was there; None where it was something else."""
    if before is None or len(task.decisions) != len(before.decisions) + 1:
        return None
    same = all(now is earlier for now, earlier in zip(task.decisions, before.decisions, strict=False))
    return task.decisions[-1] if same else None


def save_human_task(cursor: Cursor, before: HumanTask | None, task: HumanTask, state: RunState) -> None:
    """Write a human task that is new or has changed, with the decisions that are."""
    parameters = human_task_parameters(task, state)
    cursor.execute(INSERT_HUMAN_TASK if before is None else UPDATE_HUMAN_TASK, parameters)
    for said in new_decisions(before, task, state):
        cursor.execute(INSERT_DECISION, said)


def new_decisions(before: HumanTask | None, task: HumanTask, state: RunState) -> list[dict[str, Any]]:
    """The rows of the decisions that are new or have changed since `before`."""
    known = before.decisions if before is not None else ()
    return [
        decision_parameters(decision, task, state)
        for decision in task.decisions
        if not any(decision is earlier for earlier in known)
    ]
