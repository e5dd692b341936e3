"""The matrix once more for those whose role holds for one workflow, and whose key was narrowed: every route by each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product

import pytest
from tests.integration.authorization.calls import UNTOLD, Call
from tests.integration.authorization.cast import GROUP, NO_ROLE, STATES, Cast, Person, open_cast
from tests.integration.authorization.test_matrix import API_ROUTES, CALLS, ROUTES, RULES

from signoff.identity import ROLES
from signoff.store.identity import Kind, create_api_key, create_principal
from signoff.store.role_grants import Holder, grant_role
from signoff.store.sessions import start_session

pytestmark = pytest.mark.long

WORKFLOWS = ("steady", "graceful", "hasty", "expense")
"""All that the routes are called about: the last one is registered by them."""

HERE, ELSEWHERE, FEW, OTHERS = "role for these", "role for another", "key with one scope", "key for another workflow"
SCOPE = "insights:read"
OF_SCOPE = {"GET /insights", "GET /insights.csv"}
OF_ALL = ("/webhooks", "/authority", "/delegations", "/account/away", "/notification")
"""What is about no workflow in particular: a role for some is none."""

LISTS = {
    "GET /api/v1/workflows",
    "GET /inbox/counts",
    "GET /audit",
    "GET /audit/check",
    "GET /audit/verify_audit.py",
    "GET /insights",
    "GET /insights.csv",
}
"""Lists that are given to whoever has a right to any of what they show; here nothing of it is shown."""

LISTS_OF_PARTS = {"GET /api/v1/runs", "GET /api/v1/human-tasks", "GET /runs", "GET /inbox"}
"""Lists for whoever has any role, of what they may see by it or have a part in."""

NONE_THERE = {"DELETE /api/v1/delegations/{delegation_id}", "POST /account/away/{delegation_id}/end"}
"""No delegation has the id they are called with, and whoever asks is told so."""


NOT_BY_RIGHTS = {"POST /sign-in/password", "POST /api/v1/callbacks/{token}"}
"""Opened by a password and by a signature, which nobody here has."""


@pytest.fixture(scope="module")
def cast(module_database_url: str, valkey_url: str) -> Iterator[Cast]:
    with open_cast(module_database_url, valkey_url) as made:
        yield made


def _employed(cast: Cast, mode: str, role: str, kind: Kind, part: str) -> Person:
    database = cast.engine.database
    name = f"{mode.replace(' ', '-')}-{role}-{kind}-{part.replace(' ', '-')}"
    by_grant = mode in (HERE, ELSEWHERE)
    made = create_principal(
        database,
        name=name,
        kind=kind,
        groups=(GROUP,) if part == "asked by group" else (),
        roles=() if by_grant else (role,),
    )
    for workflow in WORKFLOWS if mode == HERE else ("nowhere",) if mode == ELSEWHERE else ():
        grant_role(database, Holder(name=name), role=role, workflow=workflow)
    key = create_api_key(
        database,
        name,
        scopes=(SCOPE,) if mode == FEW else None,
        workflows=("nowhere",) if mode == OTHERS else None,
    )
    session = start_session(database, made, hours=1, user_agent="test", key=key)
    return Person(role=role, kind=kind, part=part, principal=made, key=key, session=session)


def _is_for_anybody(route: str) -> bool:
    """Whether it asks for no right: it is public, of one's own session, or opened by a link or a signature."""
    own = ("/sign-out", "/theme", "/account", "/account/password", "/live", "/live/changes")
    others = ("GET /l/{token}", "POST /links/{link_id}/open")
    return RULES[route].public or route.endswith(own) or "/sign-in" in route or route in others


def _may(route: str, mode: str, who: Person, state: str) -> bool:
    """Whether it may go through."""
    rule, nobody = RULES[route], replace(who, role=NO_ROLE)
    if _is_for_anybody(route):
        return rule.expected(who, state) == 200
    if route in NONE_THERE:
        return True
    if mode == HERE:
        return rule.expected(nobody if any(part in route for part in OF_ALL) else who, state) == 200
    if mode == FEW:
        return route in OF_SCOPE and rule.expected(who, state) == 200
    if route in LISTS:
        return rule.expected(who, state) == 200
    if mode == ELSEWHERE:
        listed = replace(who, role="reviewer")
        return rule.expected(listed if route in LISTS_OF_PARTS else nobody, state) == 200
    return route == "GET /api/v1/delegations" and rule.expected(who, state) == 200


@dataclass
class Findings:
    """What it came to."""

    calls: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    allowed: list[str] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)


def _try(cast: Cast, found: Findings, route: str, mode: str, who: Person, state: str) -> None:
    matter, (send, read) = cast.matter(who, state), CALLS[route]
    call = Call(cast=cast, who=who, matter=matter)
    response = send(call)
    got, may, changed = read(call, response), _may(route, mode, who, state), cast.has_changed(matter)
    what = f"{mode}: {route} by {who.role} {who.kind}, {who.part}, {state}: {got}"
    found.calls += 1
    found.answers[f"{mode}, {'done' if may else 'refused'}"] += 1
    if (got == 200 or changed) and not may:
        found.allowed.append(what)
    # Who is asked sees it, unless their key is not for this.
    sees = mode == HERE or (mode == ELSEWHERE and who.part == "asked by group")
    if not sees and not route.endswith("/live") and matter.canary in response.get_data(as_text=True):
        found.allowed.append(f"{what}: it shows the payload")
    if may and got not in (200, UNTOLD) and mode == HERE:
        found.denied.append(what)
    if changed:
        cast.put_back(matter)


def test_no_route_opens_more_to_a_role_for_one_workflow_or_to_a_narrowed_key(cast: Cast) -> None:
    began, found = time.monotonic(), Findings()
    kinds: tuple[Kind, ...] = ("user", "service")
    for mode, kind, part in product((HERE, ELSEWHERE, FEW, OTHERS), kinds, ("stranger", "asked by group")):
        for number, role in enumerate(ROLES):
            who = _employed(cast, mode, role, kind, part)
            for place, route in enumerate(ROUTES):
                if route not in NOT_BY_RIGHTS and (kind == "user" or route in API_ROUTES):
                    _try(cast, found, route, mode, who, STATES[(place + number) % len(STATES)])
    print(
        f"\n{found.calls} calls in {time.monotonic() - began:.0f} s: {dict(sorted(found.answers.items()))};"
        f" unexpected: {len(found.allowed)} allowed, {len(found.denied)} denied"
    )
    assert not found.allowed, "\n".join(found.allowed[:60])
    assert not found.denied, "\n".join(found.denied[:60])
