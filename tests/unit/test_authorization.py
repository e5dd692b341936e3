"""Who may do what, as a table: role, part in the matter, and action."""

from __future__ import annotations

import re
from dataclasses import replace
from uuid import UUID

import pytest

from signoff.authorization import (
    SCOPE_NAMES,
    SCOPES,
    Action,
    DelegationFacts,
    HumanTaskFacts,
    RunFacts,
    WorkflowFacts,
    authorize,
    may_list,
    oversees,
    reach,
)
from signoff.errors import Forbidden, NotFound
from signoff.identity import ROLES, Grant, Principal
from signoff.model import Candidates, PrincipalKind

ME = UUID(int=1)
ASKED = Candidates(users=("ana",), groups=("leads",))


def person(*roles: str, groups: tuple[str, ...] = (), name: str = "me", kind: PrincipalKind = "user") -> Principal:
    return Principal(id=ME, name=name, kind=kind, groups=frozenset(groups), roles=frozenset(roles))


def run(*, mine: bool = False, asked: Candidates = ASKED) -> RunFacts:
    return RunFacts(workflow="refund", requester_id=str(ME) if mine else "other", candidates=asked)


def task(*, mine: bool = False, four_eyes: bool = True, assignee: str | None = None) -> HumanTaskFacts:
    return HumanTaskFacts(
        workflow="refund",
        requester_id=str(ME) if mine else "other",
        candidates=ASKED,
        assignee=assignee,
        four_eyes=four_eyes,
    )


def answer(principal: Principal, action: Action, facts: RunFacts | HumanTaskFacts | None = None) -> str:
    """`yes`, or the code of the refusal."""
    try:
        authorize(principal, action, facts)
    except (Forbidden, NotFound) as error:
        return error.code
    return "yes"


EVERYBODY = set(ROLES)
BY_ROLE = {
    Action.READ_WORKFLOWS: EVERYBODY,
    Action.REGISTER_WORKFLOW: {"admin", "author"},
    Action.START_RUN: {"admin", "operator", "requester"},
    Action.LIST_RUNS: EVERYBODY,
    Action.LIST_HUMAN_TASKS: EVERYBODY,
    Action.READ_AUDIT: {"admin", "operator", "auditor"},
    Action.READ_INSIGHTS: {"admin", "operator", "auditor", "author"},
    Action.MANAGE_WEBHOOKS: {"admin"},
}


@pytest.mark.parametrize("action", list(BY_ROLE))
@pytest.mark.parametrize("role", [*ROLES, None])
def test_what_takes_a_role(action: Action, role: str | None) -> None:
    expected = "yes" if role in BY_ROLE[action] else "forbidden"
    assert answer(person(*([role] if role else [])), action) == expected


@pytest.mark.parametrize("action", [Action.READ_RUN, Action.CANCEL_RUN, Action.RETRY_RUN])
@pytest.mark.parametrize("role", [*ROLES, None])
def test_a_run_that_is_nobodys_business(action: Action, role: str | None) -> None:
    who = person(*([role] if role else []))
    read = "yes" if role in ("admin", "operator", "auditor") else "not_found"
    if action is Action.READ_RUN:
        assert answer(who, action, run()) == read
    else:
        known = {"admin": "yes", "operator": "yes", "auditor": "forbidden"}
        assert answer(who, action, run()) == known.get(role or "", "not_found")


def test_who_started_a_run_sees_and_steers_it_without_any_role() -> None:
    for action in (Action.READ_RUN, Action.CANCEL_RUN, Action.RETRY_RUN):
        assert answer(person(), action, run(mine=True)) == "yes"


def test_who_was_asked_sees_a_run_but_does_not_steer_it() -> None:
    for who in (person(name="ana"), person(groups=("leads",))):
        assert answer(who, Action.READ_RUN, run()) == "yes"
        assert answer(who, Action.CANCEL_RUN, run()) == "forbidden"
        assert answer(who, Action.RETRY_RUN, run()) == "forbidden"


@pytest.mark.parametrize("kind", ["service", "agent", "system"])
def test_a_program_is_never_a_candidate_whatever_it_is_called(kind: PrincipalKind) -> None:
    program = person("admin", *ROLES, name="ana", groups=("leads",), kind=kind)
    for action in (Action.DECIDE, Action.CLAIM):
        assert answer(program, action, task(four_eyes=False)) == "not_human"
    plain = person(name="ana", groups=("leads",), kind=kind)
    assert answer(plain, Action.READ_RUN, run()) == "not_found"
    assert answer(plain, Action.READ_HUMAN_TASK, task()) == "not_found"


@pytest.mark.parametrize("action", [Action.DECIDE, Action.CLAIM])
class TestDeciding:
    def test_candidates_may(self, action: Action) -> None:
        assert answer(person(name="ana"), action, task()) == "yes"
        assert answer(person(groups=("x", "leads")), action, task()) == "yes"

    def test_no_role_makes_a_candidate(self, action: Action) -> None:
        assert answer(person(*ROLES), action, task()) == "not_candidate"

    def test_being_the_assignee_makes_no_candidate(self, action: Action) -> None:
        assert answer(person(), action, task(assignee="me")) == "not_candidate"

    def test_a_group_is_no_person_and_a_person_no_group(self, action: Action) -> None:
        assert answer(person(name="leads"), action, task()) == "not_candidate"
        assert answer(person(groups=("ana",)), action, task()) == "not_candidate"

    def test_who_asks_does_not_decide_unless_the_gate_says_so(self, action: Action) -> None:
        mine = task(mine=True)
        assert answer(person("admin", groups=("leads",)), action, mine) == "four_eyes"
        assert answer(person(groups=("leads",)), action, task(mine=True, four_eyes=False)) == "yes"


@pytest.mark.parametrize("action", [Action.READ_HUMAN_TASK, Action.COMMENT])
def test_who_sees_a_human_task_may_comment_on_it(action: Action) -> None:
    assert answer(person(), action, task()) == "not_found"
    assert answer(person("reviewer", "requester", "author"), action, task()) == "not_found"
    for who, facts in (
        (person("auditor"), task()),
        (person("operator"), task()),
        (person(), task(mine=True)),
        (person(), task(assignee="me")),
        (person(groups=("leads",)), task()),
        (person(kind="service"), task(mine=True)),
    ):
        assert answer(who, action, facts) == "yes"


def test_candidates_and_operators_hand_a_human_task_on() -> None:
    assert answer(person("operator"), Action.ASSIGN, task()) == "yes"
    assert answer(person(groups=("leads",)), Action.ASSIGN, task()) == "yes"
    assert answer(person(), Action.ASSIGN, task(mine=True)) == "forbidden"
    assert answer(person("auditor"), Action.ASSIGN, task()) == "forbidden"
    assert answer(person(), Action.ASSIGN, task()) == "not_found"
    assert answer(person(groups=("leads",), kind="agent"), Action.ASSIGN, task()) == "not_found"


def test_lists_are_whole_for_those_who_may_read_each() -> None:
    assert {role for role in ROLES if oversees(person(role))} == {"admin", "operator", "auditor"}


def granted(*grants: tuple[str, str], **more: object) -> Principal:
    return replace(person(**more), grants=frozenset(Grant(role=role, workflow=name) for role, name in grants))  # type: ignore[arg-type]


class TestRolesForOneWorkflow:
    @pytest.mark.parametrize("action", [Action.REGISTER_WORKFLOW, Action.START_RUN, Action.READ_AUDIT])
    @pytest.mark.parametrize("role", ROLES)
    def test_it_lets_there_what_it_lets_everywhere_and_nowhere_else(self, action: Action, role: str) -> None:
        who = granted((role, "refund"))
        here, there = WorkflowFacts(workflow="refund"), WorkflowFacts(workflow="loan")
        assert answer(who, action, here) == answer(person(role), action, here)
        assert answer(who, action, there) == "forbidden"
        assert answer(who, action) == "forbidden", "all there is, is more than one"

    def test_it_shows_the_runs_and_human_tasks_of_its_workflow_and_no_others(self) -> None:
        who = granted(("auditor", "refund"))
        assert answer(who, Action.READ_RUN, run()) == "yes"
        assert answer(who, Action.READ_HUMAN_TASK, task()) == "yes"
        assert answer(who, Action.CANCEL_RUN, run()) == "forbidden"
        assert answer(who, Action.READ_RUN, replace(run(), workflow="loan")) == "not_found"
        assert answer(who, Action.READ_HUMAN_TASK, replace(task(), workflow="loan")) == "not_found"
        assert answer(granted(("operator", "refund")), Action.CANCEL_RUN, run()) == "yes"

    @pytest.mark.parametrize("role", ROLES)
    def test_no_role_for_a_workflow_makes_a_candidate_or_manages_what_is_everybodys(self, role: str) -> None:
        who = granted((role, "refund"))
        assert answer(who, Action.DECIDE, task()) == "not_candidate"
        assert answer(who, Action.MANAGE_WEBHOOKS) == "forbidden"
        assert answer(who, Action.MANAGE_WEBHOOKS, WorkflowFacts(workflow="refund")) == "forbidden"

    def test_lists_are_of_the_workflows_it_reads(self) -> None:
        who = granted(("auditor", "refund"), ("author", "loan"))
        assert reach(who, Action.READ_RUN) == {"refund"}
        assert reach(who, Action.READ_INSIGHTS) == {"refund", "loan"}
        assert reach(person("auditor"), Action.READ_RUN) is None
        assert reach(person(), Action.READ_RUN) == frozenset()
        assert oversees(who)
        assert oversees(who, "refund")
        assert not oversees(who, "loan")
        assert may_list(who, Action.READ_AUDIT)
        assert not may_list(person("requester"), Action.READ_AUDIT)


class TestNarrowedKeys:
    @pytest.mark.parametrize("action", Action)
    def test_every_action_has_a_scope_of_its_own_form(self, action: Action) -> None:
        assert re.fullmatch(r"[a-z]+:[a-z]+", SCOPES[action])

    @pytest.mark.parametrize(
        "action", [each for each in Action if each not in (Action.DELEGATE, Action.READ_DELEGATIONS)]
    )
    def test_a_key_with_every_other_scope_does_not_do_it(self, action: Action) -> None:
        facts: dict[Action, object] = dict.fromkeys((Action.READ_RUN, Action.CANCEL_RUN, Action.RETRY_RUN), run())
        about_task = {"human_task"}
        given = facts.get(action) or (task() if str(action).split(".")[0] in about_task else None)
        if action is Action.LIST_HUMAN_TASKS:
            given = None
        who = person(*ROLES, groups=("leads",))
        assert answer(who, action, given) == "yes"  # type: ignore[arg-type]
        without = replace(who, scopes=frozenset(SCOPE_NAMES) - {SCOPES[action]})
        assert answer(without, action, given) == "scope"  # type: ignore[arg-type]
        assert answer(replace(who, scopes=frozenset({SCOPES[action]})), action, given) == "yes"  # type: ignore[arg-type]

    def test_a_scope_gives_nothing_that_the_principal_has_not(self) -> None:
        who = replace(person(), scopes=frozenset(SCOPE_NAMES))
        assert answer(who, Action.READ_RUN, run()) == "not_found"
        assert answer(who, Action.START_RUN, WorkflowFacts(workflow="refund")) == "forbidden"
        assert answer(who, Action.DECIDE, task()) == "not_candidate"

    def test_without_the_scope_one_is_told_no_more_of_what_one_may_not_see(self) -> None:
        who = replace(person(), scopes=frozenset({"audit:read"}))
        assert answer(who, Action.READ_RUN, run()) == "not_found"

    def test_the_refusal_names_the_scope(self) -> None:
        who = replace(person("requester"), scopes=frozenset({"runs:read"}))
        with pytest.raises(Forbidden, match="runs:start") as caught:
            authorize(who, Action.START_RUN, WorkflowFacts(workflow="refund"))
        assert "--scope runs:start" in (caught.value.fix or "")

    def test_for_some_workflows_it_is_as_if_there_were_no_others(self) -> None:
        who = replace(person(*ROLES, groups=("leads",)), workflows=frozenset({"refund"}))
        loan, loans_task = replace(run(), workflow="loan"), replace(task(), workflow="loan")
        assert answer(who, Action.READ_RUN, run()) == "yes"
        assert answer(who, Action.READ_RUN, loan) == "not_found"
        assert answer(who, Action.READ_RUN, replace(run(mine=True), workflow="loan")) == "not_found"
        assert answer(who, Action.READ_HUMAN_TASK, loans_task) == "not_found"
        assert answer(who, Action.ASSIGN, loans_task) == "not_found"
        assert answer(who, Action.DECIDE, task()) == "yes"
        assert answer(who, Action.DECIDE, loans_task) == "scope"
        assert answer(who, Action.START_RUN, WorkflowFacts(workflow="loan")) == "scope"
        assert answer(who, Action.MANAGE_WEBHOOKS) == "scope"
        assert reach(who, Action.READ_RUN) == {"refund"}

    def test_for_some_workflows_it_gives_no_right_on_that_is_of_all(self) -> None:
        own = DelegationFacts(delegator_id=str(ME), delegate_id="other")
        assert answer(person(), Action.DELEGATE, own) == "yes"  # type: ignore[arg-type]
        assert answer(replace(person(), workflows=frozenset({"refund"})), Action.DELEGATE, own) == "scope"  # type: ignore[arg-type]

    def test_an_empty_list_is_nothing_and_not_everything(self) -> None:
        assert answer(replace(person("admin"), scopes=frozenset()), Action.READ_RUN, run()) == "scope"
        assert answer(replace(person("admin"), workflows=frozenset()), Action.READ_RUN, run()) == "not_found"
