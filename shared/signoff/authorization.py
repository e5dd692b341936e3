"""The one place that says who may do what: `authorize(principal, action, object)`.

The API, the pages and the command line all come through here, and a decision comes through here inside the
transaction that records it. What the caller may not see is answered as if it were not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from signoff.errors import Forbidden, NotFound
from signoff.identity import Principal
from signoff.model import Candidates


class Action(StrEnum):
    """Everything that can be asked for."""

    READ_WORKFLOWS = "workflow.read"
    REGISTER_WORKFLOW = "workflow.register"
    START_RUN = "run.start"
    LIST_RUNS = "run.list"
    READ_RUN = "run.read"
    CANCEL_RUN = "run.cancel"
    RETRY_RUN = "run.retry"
    LIST_HUMAN_TASKS = "human_task.list"
    READ_HUMAN_TASK = "human_task.read"
    CLAIM = "human_task.claim"
    ASSIGN = "human_task.assign"
    COMMENT = "human_task.comment"
    DECIDE = "human_task.decide"
    READ_AUDIT = "audit.read"
    READ_INSIGHTS = "insights.read"
    MANAGE_WEBHOOKS = "webhook.manage"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What authorization has to know of a run: who started it and who was asked in it."""

    requester_id: str
    candidates: Candidates = field(default_factory=Candidates)


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanTaskFacts:
    """What authorization has to know of a human task."""

    requester_id: str
    candidates: Candidates
    assignee: str | None
    four_eyes: bool


Facts: TypeAlias = RunFacts | HumanTaskFacts | None

_BY_ROLE: Mapping[Action, frozenset[str]] = {
    Action.READ_WORKFLOWS: frozenset({"admin", "operator", "author", "requester", "reviewer", "auditor"}),
    Action.REGISTER_WORKFLOW: frozenset({"admin", "author"}),
    Action.START_RUN: frozenset({"admin", "operator", "requester"}),
    Action.LIST_RUNS: frozenset({"admin", "operator", "author", "requester", "reviewer", "auditor"}),
    Action.READ_RUN: frozenset({"admin", "operator", "auditor"}),
    Action.CANCEL_RUN: frozenset({"admin", "operator"}),
    Action.RETRY_RUN: frozenset({"admin", "operator"}),
    Action.LIST_HUMAN_TASKS: frozenset({"admin", "operator", "author", "requester", "reviewer", "auditor"}),
    Action.READ_HUMAN_TASK: frozenset({"admin", "operator", "auditor"}),
    Action.CLAIM: frozenset(),
    Action.ASSIGN: frozenset({"admin", "operator"}),
    Action.COMMENT: frozenset({"admin", "operator", "auditor"}),
    Action.DECIDE: frozenset(),
    Action.READ_AUDIT: frozenset({"admin", "operator", "auditor"}),
    Action.READ_INSIGHTS: frozenset({"admin", "operator", "auditor", "author"}),
    Action.MANAGE_WEBHOOKS: frozenset({"admin"}),
}


def sees_everything(principal: Principal) -> bool:
    """Whether lists show this principal every run and human task, not only those it has a part in."""
    return not principal.roles.isdisjoint(_BY_ROLE[Action.READ_RUN])


def authorize(principal: Principal, action: Action, facts: Facts = None) -> None:
    """Return when `principal` may do `action` on the object that `facts` describe.

    Raises NotFound where the principal may not know of the object, Forbidden (code `not_human`, `four_eyes`,
    `not_candidate` or `forbidden`) where it may know but not act.
    """
    match action:
        case Action.DECIDE | Action.CLAIM:
            assert isinstance(facts, HumanTaskFacts)
            _authorize_decider(principal, facts)
        case Action.READ_RUN | Action.READ_HUMAN_TASK | Action.COMMENT:
            if not (_has_role(principal, action) or _takes_part(principal, facts)):
                raise NotFound("there is no such object, or none that you may see")
        case Action.CANCEL_RUN | Action.RETRY_RUN:
            _authorize_own(principal, action, facts)
        case Action.ASSIGN:
            assert isinstance(facts, HumanTaskFacts)
            if not (_has_role(principal, action) or _may_hand_on(principal, facts)):
                authorize(principal, Action.READ_HUMAN_TASK, facts)
                raise Forbidden("only a candidate, an operator or an admin may assign this human task")
        case (
            Action.READ_WORKFLOWS
            | Action.REGISTER_WORKFLOW
            | Action.START_RUN
            | Action.LIST_RUNS
            | Action.LIST_HUMAN_TASKS
            | Action.READ_AUDIT
            | Action.READ_INSIGHTS
            | Action.MANAGE_WEBHOOKS
        ):
            if not _has_role(principal, action):
                needed = ", ".join(sorted(_BY_ROLE[action]))
                raise Forbidden(f"{principal.name} may not do {action}", fix=f"it takes one of these roles: {needed}")


def is_allowed(principal: Principal, action: Action, facts: Facts = None) -> bool:
    """Whether `authorize` would return: for a page that shows only what its reader may do."""
    try:
        authorize(principal, action, facts)
    except (Forbidden, NotFound):
        return False
    return True


def _has_role(principal: Principal, action: Action) -> bool:
    return not principal.roles.isdisjoint(_BY_ROLE[action])


def _takes_part(principal: Principal, facts: Facts) -> bool:
    if facts is None:
        return False
    if facts.requester_id == str(principal.id):
        return True
    if principal.kind == "user" and facts.candidates.admit(principal.name, principal.groups):
        return True
    return isinstance(facts, HumanTaskFacts) and facts.assignee == principal.name


def _may_hand_on(principal: Principal, facts: HumanTaskFacts) -> bool:
    return principal.kind == "user" and facts.candidates.admit(principal.name, principal.groups)


def _authorize_own(principal: Principal, action: Action, facts: Facts) -> None:
    authorize(principal, Action.READ_RUN, facts)
    assert isinstance(facts, RunFacts)
    if not (_has_role(principal, action) or facts.requester_id == str(principal.id)):
        raise Forbidden("only who started the run, an operator or an admin may do this")


def _authorize_decider(principal: Principal, facts: HumanTaskFacts) -> None:
    """A person, among the candidates, who did not ask for it themselves."""
    # A person who is not a candidate is told so instead of "no such human task": they were handed the id by a
    # colleague or a message, and the id is too long to guess, so this tells a stranger nothing.
    if principal.kind != "user":
        raise Forbidden(f"{principal.name} is a {principal.kind}; only a person may decide", code="not_human")
    if facts.four_eyes and facts.requester_id == str(principal.id):
        raise Forbidden("who started the run may not decide its gates", code="four_eyes")
    if not facts.candidates.admit(principal.name, principal.groups):
        raise Forbidden(f"{principal.name} is not a candidate of this human task", code="not_candidate")
