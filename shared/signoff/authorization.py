"""The one place that says who may do what: `authorize(principal, action, object)`.

The API, the pages and the command line all come through here, and a decision comes through here inside the
transaction that records it. What the caller may not see is answered as if it were not there.
"""

from __future__ import annotations

from signoff.authorization_rules import (
    BY_ROLE,
    FOR_ALL,
    NO_PART,
    SCOPE_NAMES,
    SCOPES,
    Action,
    ChannelFacts,
    DelegationFacts,
    Facts,
    HumanTaskFacts,
    Reach,
    RunFacts,
    WorkflowFacts,
)
from signoff.errors import Forbidden, NotFound
from signoff.identity import Mandate, Principal

__all__ = [
    "SCOPES",
    "SCOPE_NAMES",
    "Action",
    "ChannelFacts",
    "DelegationFacts",
    "Facts",
    "HumanTaskFacts",
    "Reach",
    "RunFacts",
    "WorkflowFacts",
    "authorize",
    "authorize_list",
    "is_allowed",
    "may_list",
    "may_release_for_others",
    "oversees",
    "reach",
    "stands_for",
]


def reach(principal: Principal, action: Action) -> Reach:
    """The workflows in which the principal's roles let it do this, and its key reaches; None for all of them."""
    allowed = BY_ROLE[action]
    if not principal.roles.isdisjoint(allowed):
        return principal.workflows
    granted = frozenset(grant.workflow for grant in principal.grants if grant.role in allowed)
    return granted if principal.workflows is None else granted & principal.workflows


def oversees(principal: Principal, workflow: str | None = None) -> bool:
    """Whether lists show this principal what it has no part in: of this workflow, or of any."""
    found = reach(principal, Action.READ_RUN)
    return found is None or (bool(found) if workflow is None else workflow in found)


def authorize(principal: Principal, action: Action, facts: Facts = None) -> None:
    """Return when `principal` may do `action` on the object that `facts` describe.

    Raises NotFound where the principal may not know of the object, Forbidden (code `not_human`, `four_eyes`,
    `not_candidate`, `scope` or `forbidden`) where it may know but not act.
    """
    _allow(principal, action, facts)
    # Last, so that a narrowed key learns of nothing that its principal may not know of.
    _expect_scope(principal, action)


def authorize_list(principal: Principal, action: Action) -> Reach:
    """Return the workflows that a list may show to this principal by its roles. Raises Forbidden where it is none."""
    found = reach(principal, action)
    if found is not None and not found:
        raise _lacks_role(principal, action)
    _expect_scope(principal, action)
    return found


def may_list(principal: Principal, action: Action) -> bool:
    """Whether `authorize_list` would return: for a page that leads on to what its reader may see."""
    try:
        authorize_list(principal, action)
    except Forbidden:
        return False
    return True


def may_release_for_others(principal: Principal, facts: HumanTaskFacts) -> bool:
    """Whether it may give back what somebody else holds."""
    return _has_role(principal, Action.ASSIGN, facts)


def _allow(principal: Principal, action: Action, facts: Facts) -> None:
    match action:
        case Action.DECIDE | Action.CLAIM:
            assert isinstance(facts, HumanTaskFacts)
            _authorize_decider(principal, facts, action)
        case Action.READ_RUN | Action.READ_HUMAN_TASK | Action.COMMENT | Action.RELEASE | Action.SNOOZE:
            if not (_has_role(principal, action, facts) or _takes_part(principal, facts)):
                raise NotFound("there is no such object, or none that you may see")
        case Action.DELEGATE | Action.READ_DELEGATIONS:
            assert facts is None or isinstance(facts, DelegationFacts)
            _authorize_delegation(principal, action, facts)
        case Action.CANCEL_RUN | Action.RETRY_RUN:
            _authorize_own(principal, action, facts)
        case Action.ASSIGN:
            assert isinstance(facts, HumanTaskFacts)
            if not (_has_role(principal, action, facts) or _may_hand_on(principal, facts)):
                _allow(principal, Action.READ_HUMAN_TASK, facts)
                raise Forbidden("only a candidate, an operator or an admin may assign this human task")
        case Action.START_OLD_VERSION:
            _authorize_old_version(principal, facts)
        case Action.MANAGE_NOTIFICATIONS:
            _authorize_channel(principal, facts)
        case Action.LIST_RUNS | Action.LIST_HUMAN_TASKS:
            authorize_list(principal, action)
        case (
            Action.READ_WORKFLOWS
            | Action.REGISTER_WORKFLOW
            | Action.START_RUN
            | Action.READ_AUDIT
            | Action.READ_INSIGHTS
            | Action.MANAGE_WEBHOOKS
            | Action.MANAGE_AUTHORITY
        ):
            if not _has_role(principal, action, facts):
                raise _lacks_role(principal, action)


def is_allowed(principal: Principal, action: Action, facts: Facts = None) -> bool:
    """Whether `authorize` would return: for a page that shows only what its reader may do."""
    try:
        authorize(principal, action, facts)
    except (Forbidden, NotFound):
        return False
    return True


def _has_role(principal: Principal, action: Action, facts: Facts) -> bool:
    found = reach(principal, action)
    if action in FOR_ALL:
        return found is None
    about = None if facts is None or isinstance(facts, (DelegationFacts, ChannelFacts)) else facts.workflow
    return found is None or about in found


def _authorize_channel(principal: Principal, facts: Facts) -> None:
    """One's own channels are one's own; those of groups and of others are an administrator's."""
    own = isinstance(facts, ChannelFacts) and principal.kind == "user" and facts.subject == f"user:{principal.name}"
    if not (own or _has_role(principal, Action.MANAGE_NOTIFICATIONS, None)):
        raise _lacks_role(principal, Action.MANAGE_NOTIFICATIONS)


def _authorize_old_version(principal: Principal, facts: Facts) -> None:
    if not _has_role(principal, Action.START_OLD_VERSION, facts):
        # An older version may lack the very gate that was added since.
        raise Forbidden(
            f"{principal.name} may start the newest version only",
            code="old_version",
            fix="leave version out; an admin, operator or author may name an older one",
        )


def _lacks_role(principal: Principal, action: Action) -> Forbidden:
    allowed = BY_ROLE[action]
    held = principal.roles | {grant.role for grant in principal.grants}
    if principal.workflows is not None and not held.isdisjoint(allowed):
        return _beyond_key(principal.workflows)
    fix = f"it takes one of these roles: {', '.join(sorted(allowed))}"
    return Forbidden(f"{principal.name} may not do {action} here", fix=fix)


def _beyond_key(workflows: frozenset[str]) -> Forbidden:
    said = f"this API key is for {', '.join(sorted(workflows))} alone"
    return Forbidden(said, code="scope", fix="use a key for this workflow, or for all of them")


def _expect_scope(principal: Principal, action: Action) -> None:
    # One's own right to give on, and one's own channel, are of every workflow: a key for some must not reach them.
    if principal.workflows is not None and action in (*FOR_ALL, Action.DELEGATE):
        raise _beyond_key(principal.workflows)
    if principal.scopes is not None and SCOPES[action] not in principal.scopes:
        fix = f"use a key with it: signoff key create {principal.name} --scope {SCOPES[action]}"
        raise Forbidden(f"this API key has no scope {SCOPES[action]}", code="scope", fix=fix)


def _is_reached(principal: Principal, facts: WorkflowFacts | RunFacts | HumanTaskFacts) -> bool:
    """Whether the key that was shown is for this workflow, as far as it is for some alone."""
    return principal.workflows is None or facts.workflow in principal.workflows


def _takes_part(principal: Principal, facts: Facts) -> bool:
    if facts is None or isinstance(facts, NO_PART) or not _is_reached(principal, facts):
        return False
    if facts.requester_id == str(principal.id):
        return True
    if principal.kind == "user" and (
        facts.candidates.admit(principal.name, principal.groups) or stands_for(principal, facts)
    ):
        return True
    return isinstance(facts, HumanTaskFacts) and facts.assignee == principal.name


def _may_hand_on(principal: Principal, facts: HumanTaskFacts) -> bool:
    asked = principal.kind == "user" and (
        facts.candidates.admit(principal.name, principal.groups) or bool(stands_for(principal, facts))
    )
    return asked and _is_reached(principal, facts)


def _authorize_delegation(principal: Principal, action: Action, facts: DelegationFacts | None) -> None:
    """One's own right is one's own to give on, and to take back; an admin may for others. Both ends may know of it."""
    if _has_role(principal, action, None):
        return
    own = facts is not None and facts.delegator_id == str(principal.id)
    if own and principal.kind != "user" and action is Action.DELEGATE:
        raise Forbidden("only a person has a right to give on", code="not_human")
    if own or (action is Action.READ_DELEGATIONS and facts is not None and facts.delegate_id == str(principal.id)):
        return
    if facts is not None and str(principal.id) == facts.delegate_id:
        raise Forbidden("only who gave it, or an admin, may end it")
    if facts is None:
        raise _lacks_role(principal, action)
    raise NotFound("there is no such delegation, or none that you may see")


def _authorize_own(principal: Principal, action: Action, facts: Facts) -> None:
    _allow(principal, Action.READ_RUN, facts)
    assert isinstance(facts, RunFacts)
    if not (_has_role(principal, action, facts) or facts.requester_id == str(principal.id)):
        raise Forbidden("only who started the run, an operator or an admin may do this")


def stands_for(principal: Principal, facts: RunFacts | HumanTaskFacts) -> tuple[Mandate, ...]:
    """The mandates of those who are asked here: for whom this person may read it, and decide."""
    return tuple(
        each
        for each in principal.mandates
        if each.workflow in (None, facts.workflow) and facts.candidates.admit(each.name, each.groups)
    )


def _asked_for_it(facts: HumanTaskFacts, mandate: Mandate) -> bool:
    return facts.four_eyes and facts.requester_id == str(mandate.principal_id)


def _expect_mandator(principal: Principal, facts: HumanTaskFacts, mandate: Mandate) -> None:
    """Who gave the mandate could decide it: nobody hands on what they have not."""
    if _asked_for_it(facts, mandate):
        raise Forbidden(f"{mandate.name} started the run; nobody may decide it in their stead", code="four_eyes")
    if mandate.workflow not in (None, facts.workflow) or not facts.candidates.admit(mandate.name, mandate.groups):
        raise Forbidden(
            f"{mandate.name}, for whom {principal.name} would decide, is not a candidate of this human task",
            code="not_candidate",
        )


def _authorize_decider(principal: Principal, facts: HumanTaskFacts, action: Action) -> None:
    """A person, among the candidates or by the mandate of one, who did not ask for it themselves."""
    # A person who is not a candidate is told so instead of "no such human task": they were handed the id by a
    # colleague or a message, and the id is too long to guess, so this tells a stranger nothing.
    if principal.kind != "user":
        raise Forbidden(f"{principal.name} is a {principal.kind}; only a person may decide", code="not_human")
    if facts.four_eyes and facts.requester_id == str(principal.id):
        raise Forbidden("who started the run may not decide its gates", code="four_eyes")
    if facts.acts_for is not None:
        _expect_mandator(principal, facts, facts.acts_for)
    elif not facts.candidates.admit(principal.name, principal.groups):
        others = [each.name for each in stands_for(principal, facts) if not _asked_for_it(facts, each)]
        if others and action is Action.CLAIM:
            return
        if facts.on_behalf_of is not None:
            raise Forbidden(
                f"{principal.name} has no mandate of {facts.on_behalf_of!r} that holds now", code="no_delegation"
            )
        fix = f"decide for {' or '.join(others)}, by on_behalf_of" if others else None
        raise Forbidden(f"{principal.name} is not a candidate of this human task", code="not_candidate", fix=fix)
    if principal.workflows is not None and facts.workflow not in principal.workflows:
        raise _beyond_key(principal.workflows)
