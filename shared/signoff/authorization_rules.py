"""What may be asked for, of what, by which role or scope: the tables that `signoff.authorization` decides by. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from signoff.identity import Mandate
from signoff.model import Candidates


class Action(StrEnum):
    """Everything that can be asked for."""

    READ_WORKFLOWS = "workflow.read"
    REGISTER_WORKFLOW = "workflow.register"
    START_RUN = "run.start"
    START_OLD_VERSION = "run.start_old_version"
    LIST_RUNS = "run.list"
    READ_RUN = "run.read"
    CANCEL_RUN = "run.cancel"
    RETRY_RUN = "run.retry"
    LIST_HUMAN_TASKS = "human_task.list"
    READ_HUMAN_TASK = "human_task.read"
    CLAIM = "human_task.claim"
    RELEASE = "human_task.release"
    ASSIGN = "human_task.assign"
    COMMENT = "human_task.comment"
    SNOOZE = "human_task.snooze"
    DECIDE = "human_task.decide"
    DELEGATE = "delegation.manage"
    READ_DELEGATIONS = "delegation.read"
    READ_AUDIT = "audit.read"
    READ_INSIGHTS = "insights.read"
    MANAGE_WEBHOOKS = "webhook.manage"
    MANAGE_AUTHORITY = "authority.manage"
    MANAGE_NOTIFICATIONS = "notification.manage"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFacts:
    """What authorization has to know of a workflow, whether there is one of this name or not."""

    workflow: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What authorization has to know of a run: who started it and who was asked in it."""

    workflow: str
    requester_id: str
    candidates: Candidates = field(default_factory=Candidates)


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanTaskFacts:
    """What authorization has to know of a human task, and of a decision on it: for whom it is said to be made.

    `acts_for` is the mandate by which it is, read in the transaction that decides; None where it is only said.
    """

    workflow: str
    requester_id: str
    candidates: Candidates
    assignee: str | None
    four_eyes: bool
    on_behalf_of: str | None = None
    acts_for: Mandate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegationFacts:
    """What authorization has to know of a delegation: whose right it gives on, and to whom."""

    delegator_id: str
    delegate_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelFacts:
    """What authorization has to know of a channel of notifications: whose it is, `user:NAME` or `group:NAME`."""

    subject: str


Facts: TypeAlias = WorkflowFacts | RunFacts | HumanTaskFacts | DelegationFacts | ChannelFacts | None
"""What an action is about; None for all there is, which no role for one workflow and no key for some is enough for."""

NO_PART = (WorkflowFacts, DelegationFacts, ChannelFacts)
"""What nobody is a candidate of."""

Reach: TypeAlias = frozenset[str] | None
"""The workflows a list is to show; None for all of them."""

BY_ROLE: Mapping[Action, frozenset[str]] = {
    Action.READ_WORKFLOWS: frozenset({"admin", "operator", "author", "requester", "reviewer", "auditor"}),
    Action.REGISTER_WORKFLOW: frozenset({"admin", "author"}),
    Action.START_RUN: frozenset({"admin", "operator", "requester"}),
    Action.START_OLD_VERSION: frozenset({"admin", "operator", "author"}),
    Action.LIST_RUNS: frozenset({"admin", "operator", "author", "requester", "reviewer", "auditor"}),
    Action.READ_RUN: frozenset({"admin", "operator", "auditor"}),
    Action.CANCEL_RUN: frozenset({"admin", "operator"}),
    Action.RETRY_RUN: frozenset({"admin", "operator"}),
    Action.LIST_HUMAN_TASKS: frozenset({"admin", "operator", "author", "requester", "reviewer", "auditor"}),
    Action.READ_HUMAN_TASK: frozenset({"admin", "operator", "auditor"}),
    Action.CLAIM: frozenset(),
    Action.RELEASE: frozenset({"admin", "operator", "auditor"}),
    Action.ASSIGN: frozenset({"admin", "operator"}),
    Action.COMMENT: frozenset({"admin", "operator", "auditor"}),
    Action.SNOOZE: frozenset({"admin", "operator", "auditor"}),
    Action.DECIDE: frozenset(),
    Action.DELEGATE: frozenset({"admin"}),
    Action.READ_DELEGATIONS: frozenset({"admin", "operator", "auditor"}),
    Action.READ_AUDIT: frozenset({"admin", "operator", "auditor"}),
    Action.READ_INSIGHTS: frozenset({"admin", "operator", "auditor", "author"}),
    Action.MANAGE_WEBHOOKS: frozenset({"admin"}),
    Action.MANAGE_AUTHORITY: frozenset({"admin"}),
    Action.MANAGE_NOTIFICATIONS: frozenset({"admin"}),
}


FOR_ALL = (Action.MANAGE_WEBHOOKS, Action.MANAGE_AUTHORITY, Action.MANAGE_NOTIFICATIONS)
"""What is about no workflow in particular: a role for one is not enough."""

SCOPES: Mapping[Action, str] = {
    Action.READ_WORKFLOWS: "workflows:read",
    Action.REGISTER_WORKFLOW: "workflows:register",
    Action.START_RUN: "runs:start",
    Action.START_OLD_VERSION: "runs:start",
    Action.LIST_RUNS: "runs:read",
    Action.READ_RUN: "runs:read",
    Action.CANCEL_RUN: "runs:cancel",
    Action.RETRY_RUN: "runs:retry",
    Action.LIST_HUMAN_TASKS: "tasks:read",
    Action.READ_HUMAN_TASK: "tasks:read",
    Action.CLAIM: "tasks:claim",
    Action.RELEASE: "tasks:claim",
    Action.ASSIGN: "tasks:assign",
    Action.COMMENT: "tasks:comment",
    Action.SNOOZE: "tasks:claim",
    Action.DECIDE: "tasks:decide",
    Action.DELEGATE: "delegations:manage",
    Action.READ_DELEGATIONS: "delegations:read",
    Action.READ_AUDIT: "audit:read",
    Action.READ_INSIGHTS: "insights:read",
    Action.MANAGE_WEBHOOKS: "webhooks:manage",
    Action.MANAGE_AUTHORITY: "authority:manage",
    Action.MANAGE_NOTIFICATIONS: "notifications:manage",
}
"""The scope that a narrowed API key needs for each action."""

SCOPE_NAMES = tuple(sorted(set(SCOPES.values())))
