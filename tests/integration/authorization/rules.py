"""Who may do what, route by route, as the documentation says it: the operator's page on roles, the contract of the
API, and the decision record on 403 and 404. Nothing here is taken from the code that is tested.

- A role lets anybody who has it, person or program: an operator sees, cancels, retries and assigns everything, an
  auditor reads everything and verifies, an author registers workflows, a requester starts runs. An administrator does
  all of that, and none of it makes a candidate.
- Who started a run sees it and steers it. Whoever is asked at one of its gates sees it too; only people are asked.
- A gate is decided by people it asks who did not start the run. Deciding and claiming answer anybody else with 403;
  whatever else one may not see answers 404.
- A page is never shown to who may not see what it shows, so a form on one answers them 404 as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tests.integration.authorization.cast import NO_ROLE, STATES, Person

Audience: TypeAlias = Callable[[Person], bool]

REQUESTERS = ("requester", "asked requester")
CANDIDATES = ("asked requester", "asked by name", "asked by group", "decided")
ANY_STATE = STATES
UNDECIDED = ("open", "pending")


def _role(*roles: str) -> Audience:
    return lambda who: who.role in roles


def _anybody(who: Person) -> bool:
    return who.kind != "nobody"


def _nobody(who: Person) -> bool:  # an audience like the others
    return False


def _has_a_role(who: Person) -> bool:
    return who.role != NO_ROLE


def _sees(who: Person) -> bool:
    asked = who.kind == "user" and who.part in CANDIDATES
    return who.role in ("admin", "operator", "auditor") or who.part in (*REQUESTERS, "assignee") or asked


def _steers_run(who: Person) -> bool:
    return who.role in ("admin", "operator") or who.part in REQUESTERS


def _decides(who: Person) -> bool:
    return who.kind == "user" and who.part in ("asked by name", "asked by group", "decided")


def _hands_on(who: Person) -> bool:
    return who.role in ("admin", "operator") or (who.kind == "user" and who.part in CANDIDATES)


def _lists(who: Person) -> bool:
    return _has_a_role(who) and _sees(who)


def _is_a_person_or(role: str) -> Audience:
    """One's own right is a person's to give on; a program has none, and only who may for others is let further."""
    return lambda who: who.kind == "user" or who.role == role


def _is_without_role(who: Person) -> bool:
    return not _has_a_role(who)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Who `may`, in which states it then goes through (409 in all others), and who is told 403; the rest is told 404.

    Those who `decided` already said the same before, which is answered as it was in any state where `repeats`.
    """

    may: Audience
    knows: Audience = _nobody
    while_: tuple[str, ...] = ANY_STATE
    public: bool = False
    repeats: bool = False
    own_decision: bool = False
    """It is for those alone who have decided; for other candidates there is a conflict."""
    no_one_holds: bool = False
    """It is for whoever holds it, which no candidate of the matrix does: a conflict for all of them."""

    def expected(self, who: Person, state: str) -> int:
        """200, or the refusal: 401, 403, 404, 409."""
        if who.kind == "nobody" and not self.public:
            return 401
        if not self.may(who):
            return 403 if self.knows(who) else 404
        if self.repeats and who.part == "decided":
            return 200
        if self.no_one_holds or (self.own_decision and who.part != "decided"):
            return 409
        return 200 if state in self.while_ else 409


_BY_ROLE = {
    "workflows": Rule(may=_has_a_role, knows=_anybody),
    "register": Rule(may=_role("admin", "author"), knows=_anybody),
    "start": Rule(may=_role("admin", "operator", "requester"), knows=_anybody),
    "audit": Rule(may=_role("admin", "operator", "auditor"), knows=_anybody),
    "insights": Rule(may=_role("admin", "operator", "auditor", "author"), knows=_anybody),
    "inbox": Rule(may=_has_a_role, knows=_anybody),
    "webhooks": Rule(may=_role("admin"), knows=_anybody),
    "authority": Rule(may=_role("admin"), knows=_anybody),
}
_PUBLIC = Rule(may=lambda who: True, public=True)
_SIGNED_IN = Rule(may=_anybody)
_LISTS_RUNS = Rule(may=_lists, knows=_is_without_role)
_LISTS_TASKS = Rule(may=_lists, knows=_is_without_role)
_READS_RUN = Rule(may=_sees)
_READS_TASK = Rule(may=_sees)
_CANCELS = Rule(may=_steers_run, knows=_sees, while_=("open", "pending", "completed", "running"))
_RETRIES = Rule(may=_steers_run, knows=_sees, while_=("failed",))

API: dict[str, Rule] = {
    "GET /api/v1/workflows": _BY_ROLE["workflows"],
    "GET /api/v1/workflows/{name}": _BY_ROLE["workflows"],
    "GET /api/v1/workflows/{name}/versions/{number}": _BY_ROLE["workflows"],
    "PUT /api/v1/workflows/{name}": _BY_ROLE["register"],
    "POST /api/v1/runs": _BY_ROLE["start"],
    "GET /api/v1/runs": _LISTS_RUNS,
    "GET /api/v1/runs/{run_id}": _READS_RUN,
    "GET /api/v1/runs/{run_id}/events": _READS_RUN,
    "POST /api/v1/runs/{run_id}/cancel": _CANCELS,
    "POST /api/v1/runs/{run_id}/retry": _RETRIES,
    "GET /api/v1/human-tasks": _LISTS_TASKS,
    "GET /api/v1/human-tasks/{human_task_id}": _READS_TASK,
    "PUT /api/v1/human-tasks/{human_task_id}/claim": Rule(may=_decides, knows=_anybody, while_=UNDECIDED),
    "DELETE /api/v1/human-tasks/{human_task_id}/claim": Rule(may=_sees, while_=UNDECIDED),
    "PUT /api/v1/human-tasks/{human_task_id}/assignee": Rule(may=_hands_on, knows=_sees, while_=UNDECIDED),
    "POST /api/v1/human-tasks/{human_task_id}/comments": _READS_TASK,
    "POST /api/v1/human-tasks/{human_task_id}/decisions": Rule(
        may=_decides, knows=_anybody, while_=("open",), repeats=True
    ),
    # Signed by a program that may speak for every person here: it may do what they may. No program is a person.
    "POST /api/v1/callbacks/{token}": Rule(may=_decides, knows=_anybody, while_=("open",), repeats=True),
    "POST /api/v1/bulk-decisions": Rule(may=_decides, knows=_anybody, while_=("open",), repeats=True),
    "GET /api/v1/runs/{run_id}/audit": _BY_ROLE["audit"],
    "GET /api/v1/audit/verification": _BY_ROLE["audit"],
    "GET /api/v1/webhooks": _BY_ROLE["webhooks"],
    "POST /api/v1/webhooks": _BY_ROLE["webhooks"],
    "GET /api/v1/webhooks/{webhook_id}": _BY_ROLE["webhooks"],
    "DELETE /api/v1/webhooks/{webhook_id}": _BY_ROLE["webhooks"],
    "POST /api/v1/webhooks/{webhook_id}/secret": _BY_ROLE["webhooks"],
    "POST /api/v1/webhooks/{webhook_id}/enable": _BY_ROLE["webhooks"],
    "POST /api/v1/webhooks/{webhook_id}/test": _BY_ROLE["webhooks"],
    "GET /api/v1/webhooks/{webhook_id}/deliveries": _BY_ROLE["webhooks"],
    "POST /api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": _BY_ROLE["webhooks"],
    "GET /api/v1/authority": _BY_ROLE["authority"],
    "PUT /api/v1/authority": _BY_ROLE["authority"],
    "DELETE /api/v1/authority/{limit_id}": _BY_ROLE["authority"],
    "GET /api/v1/delegations": _SIGNED_IN,
    "POST /api/v1/delegations": Rule(may=_is_a_person_or("admin"), knows=_anybody),
    "DELETE /api/v1/delegations/{delegation_id}": _SIGNED_IN,
    "PUT /api/v1/human-tasks/{human_task_id}/snooze": Rule(may=_sees, while_=UNDECIDED),
    "DELETE /api/v1/human-tasks/{human_task_id}/snooze": _READS_TASK,
    "GET /healthz": _PUBLIC,
    "GET /readyz": _PUBLIC,
    "GET /metrics": _PUBLIC,
    "GET /openapi.json": _PUBLIC,
    "GET /docs": _PUBLIC,
    "GET /docs/style.css": _PUBLIC,
}

PAGES: dict[str, Rule] = {
    "GET /": _PUBLIC,
    "GET /sign-in": _PUBLIC,
    "POST /sign-in": Rule(may=lambda who: who.kind == "user", knows=lambda who: who.kind != "nobody"),
    "POST /sign-in/password": Rule(may=lambda who: who.kind == "user"),
    "GET /account": _SIGNED_IN,
    "POST /account/password": _SIGNED_IN,
    "POST /account/away": Rule(may=_is_a_person_or("admin"), knows=_anybody),
    "POST /account/away/{delegation_id}/end": _SIGNED_IN,
    "GET /sign-in/{token}": Rule(may=lambda who: who.kind == "user", public=True),
    "POST /sign-in/{token}": Rule(may=lambda who: who.kind == "user", public=True),
    "GET /sign-in/oidc": _PUBLIC,
    "GET /sign-in/oidc/callback": _PUBLIC,
    "POST /sign-out": _SIGNED_IN,
    "POST /theme": _SIGNED_IN,
    "GET /inbox": _LISTS_TASKS,
    "GET /inbox/counts": _BY_ROLE["inbox"],
    "GET /inbox/{human_task_id}": _READS_TASK,
    "GET /inbox/{human_task_id}/notice": _READS_TASK,
    "GET /inbox/{human_task_id}/payload.json": _READS_TASK,
    "POST /inbox/{human_task_id}/confirm": _READS_TASK,
    "POST /inbox/{human_task_id}/resume": _READS_TASK,
    "POST /inbox/{human_task_id}/decide": Rule(may=_decides, knows=_sees, while_=("open",), repeats=True),
    "POST /inbox/{human_task_id}/withdraw": Rule(may=_decides, knows=_sees, while_=UNDECIDED, own_decision=True),
    "POST /inbox/{human_task_id}/claim": Rule(may=_decides, knows=_sees, while_=UNDECIDED),
    "POST /inbox/{human_task_id}/keep": Rule(may=_decides, knows=_sees, no_one_holds=True),
    "POST /inbox/{human_task_id}/release": Rule(may=_sees, while_=UNDECIDED),
    "POST /inbox/{human_task_id}/assign": Rule(may=_hands_on, knows=_sees, while_=UNDECIDED),
    "POST /inbox/{human_task_id}/comment": _READS_TASK,
    "POST /inbox/{human_task_id}/snooze": Rule(may=_sees, while_=UNDECIDED),
    "POST /inbox/{human_task_id}/unsnooze": _READS_TASK,
    # Whoever has a link is led on; what it leads to is shown and decided by the rules of the human task.
    "GET /l/{token}": Rule(may=lambda who: who.kind == "user", public=True),
    "GET /links/{link_id}": _READS_TASK,
    "POST /links/{link_id}/open": Rule(may=lambda who: who.kind == "user"),
    "POST /links/{link_id}/decide": Rule(may=_decides, knows=_sees, while_=("open",), repeats=True),
    "POST /inbox/bulk": _READS_TASK,
    "POST /inbox/bulk/commit": Rule(may=_decides, knows=_anybody, while_=("open",), repeats=True),
    "GET /runs": _LISTS_RUNS,
    "GET /runs/{run_id}": _READS_RUN,
    "POST /runs/{run_id}/cancel": _CANCELS,
    "POST /runs/{run_id}/retry": _RETRIES,
    "GET /audit": _BY_ROLE["audit"],
    "GET /audit/check": _BY_ROLE["audit"],
    "GET /audit/{run_id}": _BY_ROLE["audit"],
    "GET /audit/{run_id}/export": _BY_ROLE["audit"],
    "GET /audit/verify_audit.py": _BY_ROLE["audit"],
    "GET /insights": _BY_ROLE["insights"],
    "GET /insights.csv": _BY_ROLE["insights"],
    "GET /live": _SIGNED_IN,
    "GET /live/changes": _SIGNED_IN,
    "GET /assets/{name}": _PUBLIC,
    "GET /assets/vendor/{name}": _PUBLIC,
}


def may_read(who: Person) -> bool:
    """Whether anything at all may show this caller what is in the payload of the matter."""
    return _sees(who)
