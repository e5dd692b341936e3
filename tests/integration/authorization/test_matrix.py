"""Every route × role × kind of caller × part in the matter × state, against the rules of the documentation."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
from tests.integration.authorization import calls, rules
from tests.integration.authorization.calls import REFUSED, UNTOLD, Call
from tests.integration.authorization.cast import (
    ALL_ROLES,
    KINDS,
    NOBODY,
    PERSONS_PARTS,
    PROGRAMS_PARTS,
    STATES,
    Cast,
    Person,
    open_cast,
)
from tests.integration.authorization.rules import may_read
from tests.mutants import mutate

import signoff_api.inbox.audit
import signoff_api.inbox.bulk
import signoff_api.runs
import signoff_api.workflows
from signoff import authorization
from signoff.engine import deciding, human_tasks, runs
from signoff.store import queries_human_tasks
from signoff_api.app import FEATURES as API_FEATURES
from signoff_api.inbox.blueprint import FEATURES as PAGE_FEATURES

pytestmark = pytest.mark.long

API_ROUTES = {f"{each.method} {each.path}" for routes in API_FEATURES for each in routes.operations}
PAGE_ROUTES = {f"{each.method} {each.path}" for pages in PAGE_FEATURES for each in pages.declared}
RULES = rules.API | rules.PAGES
CALLS = calls.API | calls.PAGES
ROUTES = [route for route in CALLS if route in API_ROUTES | PAGE_ROUTES]
_PLACE = re.compile(r"<(?:\w+:)?(\w+)>")
STATES_EACH = {True: 2, False: 1}
"""Of the seven states each caller meets this many at each route that is about a matter, more where it is of the API
and quick. Which ones goes round, so that every route meets every part in every state and every role in every part; the
whole product would take six times as long."""
ABOUT_SOME = {
    "GET /api/v1/runs",
    "GET /api/v1/human-tasks",
    "POST /api/v1/bulk-decisions",
    "GET /inbox",
    "POST /api/v1/callbacks/{token}",
    "GET /links/{link_id}",
    "POST /links/{link_id}/decide",
    "POST /inbox/bulk",
    "POST /inbox/bulk/commit",
    "GET /runs",
}
"""Routes about a matter without naming it in their path."""


@dataclass
class Findings:
    """What the matrix came to."""

    calls: int = 0
    seen: set[tuple[str, str, str]] = field(default_factory=set)
    states: set[tuple[str, str, str]] = field(default_factory=set)
    answers: Counter[int] = field(default_factory=Counter)
    allowed: list[str] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    otherwise: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        return [*self.allowed, *self.denied, *self.otherwise]

    def judge(self, what: str, expected: int, got: int) -> None:
        self.calls += 1
        self.answers[expected] += 1
        if got == expected or (got == REFUSED and expected != 200) or (got == UNTOLD and expected in (200, 404)):
            return
        if got == 200:
            self.allowed.append(f"{what}: {expected} expected, it was done")
        elif expected == 200:
            self.denied.append(f"{what}: refused with {got}")
        else:
            self.otherwise.append(f"{what}: {expected} expected, refused with {got}")


@pytest.fixture(scope="module")
def cast(module_database_url: str, valkey_url: str) -> Iterator[Cast]:
    with open_cast(module_database_url, valkey_url) as made:
        yield made


def test_every_route_has_a_rule_and_a_call(cast: Cast) -> None:
    assert API_ROUTES - set(rules.API) == set()
    assert PAGE_ROUTES - set(rules.PAGES) == set()
    assert set(RULES) == set(CALLS)
    served = {
        method + " " + _PLACE.sub(r"{\1}", rule.rule)
        for rule in cast.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == API_ROUTES | PAGE_ROUTES, "and nothing is served that no feature has declared"


def test_nobody_may_do_more_or_less_than_the_rules_say(cast: Cast) -> None:
    began = time.monotonic()
    found = go_through(cast, ROUTES)
    print(
        f"\n{found.calls} of {_whole_product()} combinations of {len(ROUTES)} routes in"
        f" {time.monotonic() - began:.0f} s; expected {dict(sorted(found.answers.items()))}; unexpected:"
        f" {len(found.allowed)} allowed, {len(found.denied)} denied, {len(found.otherwise)} refused otherwise"
    )
    assert not found.wrong, "\n".join(found.wrong)
    assert cast.differences() == {"runs": 0, "events": 0, "human_tasks": 0, "decisions": 0}
    for route in ROUTES:
        assert {role for at, role, _ in found.seen if at == route} == set(ALL_ROLES)
        if _is_about_a_matter(route):
            assert {(role, part) for at, role, part in found.seen if at == route} == set(
                product(ALL_ROLES, PERSONS_PARTS)
            )
            assert {(part, state) for at, part, state in found.states if at == route} == set(
                product(PERSONS_PARTS, STATES)
            )


DECIDE = "POST /api/v1/human-tasks/{human_task_id}/decisions"
MUTANTS: dict[str, tuple[Any, str, str, str]] = {
    "programs decide": (authorization._authorize_decider, 'principal.kind != "user"', "False", DECIDE),
    "requesters decide": (authorization._authorize_decider, "facts.four_eyes and", "False and", DECIDE),
    "strangers decide": (
        authorization._authorize_decider,
        "not facts.candidates.admit(principal.name, principal.groups)",
        "False",
        "POST /inbox/{human_task_id}/claim",
    ),
    "programs are asked": (
        authorization._takes_part,
        'principal.kind == "user" and',
        "",
        "GET /api/v1/human-tasks/{human_task_id}",
    ),
    "programs hand on": (
        authorization._may_hand_on,
        'principal.kind == "user" and',
        "",
        "PUT /api/v1/human-tasks/{human_task_id}/assignee",
    ),
    "who sees a run steers it": (
        authorization._authorize_own,
        "if not (",
        "if False and not (",
        "POST /api/v1/runs/{run_id}/cancel",
    ),
    "no one asks who decides": (
        deciding._decide,
        "authorize(by, Action.DECIDE, facts_of(locked, task, on_behalf_of=request.on_behalf_of, acts_for=mandate))",
        "pass",
        "POST /api/v1/bulk-decisions",
    ),
    "no one asks who decides as it was read": (
        deciding._decide_as_read,
        "authorize(by, Action.DECIDE, facts_of(read, task))",
        "pass",
        "POST /api/v1/human-tasks/{human_task_id}/decisions",
    ),
    "no one asks who takes back": (
        deciding.withdraw,
        "authorize(by, Action.DECIDE, facts_of(locked, task, acts_for=used))",
        "pass",
        "POST /inbox/{human_task_id}/withdraw",
    ),
    "no one asks who keeps": (
        human_tasks.keep_claim,
        "authorize(by, Action.CLAIM, facts)",
        "pass",
        "POST /inbox/{human_task_id}/keep",
    ),
    "no one asks who comments": (
        human_tasks.comment,
        "authorize(by, Action.COMMENT, facts_of(locked, task))",
        "pass",
        "POST /api/v1/human-tasks/{human_task_id}/comments",
    ),
    "who holds it is a stranger": (runs.run_facts, ".with_(holds)", "", "POST /runs/{run_id}/cancel"),
    "all of them are listed": (
        queries_human_tasks.list_human_tasks,
        " + visible_human_tasks(viewer)",
        "",
        "GET /api/v1/human-tasks",
    ),
    "anybody reads the log": (
        signoff_api.runs.read_events,
        "authorize(context.principal, Action.READ_RUN, run_facts(cursor, run_id))",
        "pass",
        "GET /api/v1/runs/{run_id}/events",
    ),
    "anybody takes the evidence": (
        signoff_api.inbox.audit.export_audit_of_run,
        "may_audit(visit.engine, run_id, visit.principal)",
        "pass",
        "GET /audit/{run_id}/export",
    ),
    "anybody registers": (
        signoff_api.workflows.register_workflow,
        "authorize(context.principal, Action.REGISTER_WORKFLOW, WorkflowFacts(workflow=name))",
        "pass",
        "PUT /api/v1/workflows/{name}",
    ),
    "what is picked is shown": (
        signoff_api.inbox.bulk._picked,
        "authorize(visit.principal, Action.READ_HUMAN_TASK, view.facts)",
        "pass",
        "POST /inbox/bulk",
    ),
}

TOLD_OTHERWISE = {"no one asks who takes back", "who holds it is a stranger"}
"""Nobody gets further without these guards, but is told something else."""


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_guard_that_is_taken_out_is_missed(cast: Cast, monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    function, guard, instead, route = MUTANTS[mutant]
    mutate(monkeypatch, function, guard, instead)
    found = go_through(cast, [route])
    assert found.otherwise if mutant in TOLD_OTHERWISE else found.allowed


def go_through(cast: Cast, routes: Sequence[str]) -> Findings:
    """Try these routes with every caller."""
    found = Findings()
    for route in routes:
        for place, (who, many) in enumerate(_callers(cast, route)):
            for state in _states(ROUTES.index(route) + place, many):
                _try(cast, found, route, who, state)
    return found


def _try(cast: Cast, found: Findings, route: str, who: Person, state: str) -> None:
    rule, (send, read) = RULES[route], CALLS[route]
    matter = cast.matter(who, state)
    # A page knows people by their sessions, and no program has one.
    known = who if route in API_ROUTES or who.kind == "user" or "/sign-in" in route else NOBODY
    expected = rule.expected(known, state)
    call = Call(cast=cast, who=who, matter=matter)
    response = send(call)
    got = read(call, response)
    what = f"{route} by {who.role} {who.kind}, {who.part}, {state}"
    found.judge(what, expected, got)
    found.seen.add((route, who.role, who.part))
    found.states.add((route, who.part, state))
    if not route.endswith("/live") and matter.canary in response.get_data(as_text=True) and not may_read(who):
        found.allowed.append(f"{what}: it shows the payload")
    if route.startswith("GET ") or not _is_about_a_matter(route):
        return
    changed = cast.has_changed(matter)
    if changed and expected != 200:
        found.allowed.append(f"{what}: {expected} expected, something was recorded")
    if changed or got == 200:
        cast.put_back(matter)


def _is_about_a_matter(route: str) -> bool:
    return "{run_id}" in route or "{human_task_id}" in route or route in ABOUT_SOME


def _callers(cast: Cast, route: str) -> Iterator[tuple[Person, int]]:
    """Who tries this route, and how many states each; those of one part one behind the other."""
    about = _is_about_a_matter(route)
    yield NOBODY, len(STATES) if about else 1
    for part in PERSONS_PARTS if about else ("stranger",):
        for role in ALL_ROLES:
            yield cast.person(role, "user", part), STATES_EACH[route in API_ROUTES] if about else 1
    for kind in ("service", "agent"):
        # To a page one program is like another.
        for part in PROGRAMS_PARTS if about and route in API_ROUTES else ("stranger",):
            for role in ALL_ROLES:
                yield cast.person(role, kind, part), 1


def _states(first: int, many: int) -> list[str]:
    """`many` of the states, beginning at another one for each caller."""
    return [STATES[(first + step * (3 if many < len(STATES) else 1)) % len(STATES)] for step in range(many)]


def _whole_product() -> int:
    """How many combinations there are, where a route is about a matter; each caller once where it is not."""
    callers = len(ALL_ROLES) * (len(PERSONS_PARTS) + 2 * len(PROGRAMS_PARTS)) + 1
    about = sum(map(_is_about_a_matter, API_ROUTES | PAGE_ROUTES))
    return about * callers * len(STATES) + (len(API_ROUTES | PAGE_ROUTES) - about) * (len(ALL_ROLES) * len(KINDS) + 1)
