"""Human tasks as they are shown: the stored row, what its gate says of it, and what people said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from signoff.authorization import HumanTaskFacts, oversees, stands_for
from signoff.canonical import Json
from signoff.definition.graph import GateNode, Graph, goes_on
from signoff.definition.policy import rules_for
from signoff.identity import Mandate, Principal
from signoff.model import Candidates, TaskState, format_time


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionView:
    """What one person said of one revision."""

    id: UUID
    human_task_id: UUID
    decision: str
    note: str | None
    reason: str | None
    patch: Json
    by: dict[str, str]
    revision: int
    payload_sha256: str
    bulk_id: UUID | None
    on_behalf_of: str | None
    delegation_id: UUID | None
    withdrawn: bool
    at: datetime

    def to_json(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "human_task_id": str(self.human_task_id),
            "decision": self.decision,
            "note": self.note,
            "reason": self.reason,
            "patch": self.patch,
            "by": self.by,
            "revision": self.revision,
            "payload_sha256": self.payload_sha256,
            "bulk_id": None if self.bulk_id is None else str(self.bulk_id),
            "on_behalf_of": self.on_behalf_of,
            "delegation_id": None if self.delegation_id is None else str(self.delegation_id),
            "withdrawn": self.withdrawn,
            "at": format_time(self.at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CommentView:
    """A comment; its id is the place in the log that holds it."""

    id: str
    text: str
    by: dict[str, str]
    at: datetime

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "text": self.text, "by": self.by, "at": format_time(self.at)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextView:
    """What led here: the run's input, and what each step that came before gave last."""

    input: Json
    outputs: dict[str, Json]

    def to_json(self) -> dict[str, Any]:
        return {"input": self.input, "outputs": self.outputs}


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanTaskRow:
    """The stored columns that are shown, in the order they are selected."""

    id: UUID
    run_id: UUID
    workflow: str
    version: int
    gate: str
    mode: str
    state: str
    revision: int
    title: str
    why: str
    payload: Json
    payload_sha256: str
    candidate_users: list[str]
    candidate_groups: list[str]
    assignee: str | None
    priority: int
    requester_id: str
    pending: str | None
    outcome: str | None
    decided_by: str | None
    created_at: datetime
    revised_at: datetime
    due_at: datetime | None
    not_before: datetime | None
    release_at: datetime | None
    completed_at: datetime | None
    claim_expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanTaskView:
    """A human task as it is shown: its row, what its gate says of it, and what was said of it.

    `context` and `comments` are there only where one human task is looked up.
    """

    row: HumanTaskRow
    graph: Graph
    decisions: tuple[DecisionView, ...]
    context: ContextView | None = None
    comments: tuple[CommentView, ...] = ()
    acting_for: tuple[str, ...] = ()

    @property
    def gate(self) -> GateNode:
        return self.graph.gate(self.row.gate)

    @property
    def limited_options(self) -> tuple[str, ...]:
        """The options that take a limit of authority here."""
        return tuple(option for option in self.gate.options if self.gate.authority and goes_on(self.gate, option))

    @property
    def candidates(self) -> Candidates:
        return Candidates(users=tuple(self.row.candidate_users), groups=tuple(self.row.candidate_groups))

    @property
    def facts(self) -> HumanTaskFacts:
        """What authorization has to know of it."""
        return HumanTaskFacts(
            workflow=self.row.workflow,
            requester_id=self.row.requester_id,
            candidates=self.candidates,
            assignee=self.row.assignee,
            four_eyes=self.gate.four_eyes,
        )

    def stands_for(self, viewer: Principal) -> tuple[Mandate, ...]:
        """The mandates by which the viewer, who is not asked here, may decide."""
        if viewer.kind != "user" or self.candidates.admit(viewer.name, viewer.groups):
            return ()
        asked_for_it = self.row.requester_id if self.gate.four_eyes else ""
        return tuple(each for each in stands_for(viewer, self.facts) if str(each.principal_id) != asked_for_it)

    def facts_for(self, viewer: Principal) -> HumanTaskFacts:
        """The same for a decision of the viewer's: in whose stead it would be, where they are not asked themselves."""
        others = self.stands_for(viewer)
        return replace(self.facts, acts_for=others[0]) if others else self.facts

    def for_viewer(self, viewer: Principal) -> HumanTaskView:
        """Without what others said, while the gate is blind and open and the viewer may still decide."""
        open_and_blind = self.gate.blind and self.row.state == TaskState.OPEN
        for_others = self.stands_for(viewer)
        shown = replace(self, acting_for=tuple(each.name for each in for_others)) if for_others else self
        may_decide = viewer.kind == "user" and (for_others or self.candidates.admit(viewer.name, viewer.groups))
        if not open_and_blind or (oversees(viewer, self.row.workflow) and not may_decide):
            return shown
        own = tuple(said for said in self.decisions if said.by["id"] == str(viewer.id))
        return replace(shown, decisions=own)

    def to_json(self) -> dict[str, Any]:
        row, gate, rules = self.row, self.gate, rules_for(self.graph, self.row.gate)
        found: dict[str, Any] = {
            "id": str(row.id),
            "run_id": str(row.run_id),
            "workflow": row.workflow,
            "version": row.version,
            "gate": row.gate,
            "mode": row.mode,
            "state": row.state,
            "revision": row.revision,
            "title": row.title,
            "why": row.why,
            "payload": row.payload,
            "payload_schema": gate.payload_schema,
            "payload_sha256": row.payload_sha256,
            "editable": list(gate.editable),
            "form": gate.form,
            "options": list(gate.options),
            "require_note": list(gate.require_note),
            "consequences": rules.consequences(row.payload),
            "recommendation": rules.recommendation(row.payload),
            "candidates": self.candidates.to_json(),
            "assignee": row.assignee,
            "acting_for": list(self.acting_for),
            "priority": row.priority,
            "due_at": _time(row.due_at),
            "not_before_at": _time(row.not_before),
            "release_at": _time(row.release_at),
            "quorum": {"required": gate.approvals, "approvals": self._approvals()},
            "decisions": [said.to_json() for said in self.decisions],
            "outcome": row.outcome,
            "decided_by": row.decided_by,
            "created_at": format_time(row.created_at),
            "completed_at": _time(row.completed_at),
        }
        if self.context is not None:
            found["context"] = self.context.to_json()
            found["comments"] = [comment.to_json() for comment in self.comments]
        return found

    def _approvals(self) -> int:
        return sum(
            said.decision == "approve" and said.revision == self.row.revision and not said.withdrawn
            for said in self.decisions
        )


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at)
