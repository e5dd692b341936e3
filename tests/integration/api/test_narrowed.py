"""Narrowed keys and roles for one workflow over HTTP: what they open, what lists show, and that it ends at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from tests.integration.api.client import Api, Caller, problem
from tests.integration.api.conftest import EXPENSE
from tests.servers import eventually

from signoff.authorization import Action, is_allowed
from signoff.engine import DecisionRequest
from signoff.errors import Forbidden, SignoffError, Unauthenticated
from signoff.identity import Principal
from signoff.store.database import Database
from signoff.store.groups import change_members
from signoff.store.idempotency import IdempotencyKey
from signoff.store.identity import (
    authenticate,
    create_api_key,
    create_principal,
    list_api_keys,
    revoke_api_key,
    update_principal,
)
from signoff.store.queries_human_tasks import HumanTaskFilter, get_human_task, list_human_tasks
from signoff.store.queries_runs import RunFilter, get_run, list_runs
from signoff.store.queries_workflows import list_workflows
from signoff.store.role_grants import Holder, grant_role, revoke_role
from signoff.store.sessions import list_sessions, revoke_session, session_principal, start_session

UNDER_LOCK = IdempotencyKey(key="a decision with a key is made under the run's lock", fingerprint="")
LOAN = EXPENSE.replace("workflow: expense", "workflow: loan")


@pytest.fixture(scope="module")
def two(api: Api) -> Api:
    """The same with a second workflow, and runs of both."""
    put = api.as_("author").put("/workflows/loan", data=LOAN, content_type="application/yaml")
    assert put.status_code == 201, put.text
    for workflow in ("expense", "loan"):
        for _ in range(2):
            api.as_("portal").start(workflow, {"amount": 1})
    return api


@pytest.fixture
def database(two: Api) -> Database:
    return two.engine.database


@pytest.fixture
def someone(two: Api) -> Callable[..., Caller]:
    """A new person with these roles and grants, and a key that is narrowed so."""

    def make(
        *roles: str,
        grants: tuple[tuple[str, str], ...] = (),
        groups: tuple[str, ...] = (),
        scopes: list[str] | None = None,
        workflows: list[str] | None = None,
    ) -> Caller:
        database = two.engine.database
        with database.autocommit() as cursor:
            ((number,),) = cursor.execute("SELECT count(*) FROM principals").fetchall()
        name = f"someone-{number}"
        two.principals[name] = create_principal(database, name=name, kind="user", groups=groups, roles=roles)
        for role, workflow in grants:
            grant_role(database, Holder(name=name), role=role, workflow=workflow)
        two.keys[name] = create_api_key(database, name, scopes=scopes, workflows=workflows)
        return two.as_(name)

    return make


def _principal(api: Api, caller: Caller) -> Principal:
    found = authenticate(api.engine.database, api.keys[caller.name or ""])
    assert found is not None
    return found


def _workflows(caller: Caller, path: str, field: str = "workflow") -> set[str]:
    return {item[field] for item in caller.ok(caller.get(path))["items"]}


class TestScopes:
    def test_a_key_opens_what_its_scopes_name_and_is_told_which_one_is_missing(
        self, two: Api, someone: Callable[..., Caller]
    ) -> None:
        caller = someone("admin", scopes=["runs:read", "tasks:read"])
        assert caller.get("/runs").status_code == 200
        assert caller.get("/human-tasks").status_code == 200
        for response, scope in (
            (caller.get("/workflows"), "workflows:read"),
            (caller.post("/runs", json={"workflow": "expense", "input": {"amount": 1}}), "runs:start"),
            (caller.get("/webhooks"), "webhooks:manage"),
            (caller.get("/audit/verification"), "audit:read"),
        ):
            assert scope in problem(response, 403, "scope")["detail"]

    def test_who_may_decide_does_not_with_a_key_for_reading(self, two: Api, someone: Callable[..., Caller]) -> None:
        reading = someone("reviewer", groups=("leads",), scopes=["tasks:read"])
        task = reading.task(two.as_("portal").start("expense", {"amount": 1}))
        assert "tasks:decide" in problem(reading.decide(task, "approve"), 403, "scope")["detail"]
        assert "tasks:claim" in problem(reading.put(f"/human-tasks/{task['id']}/claim"), 403, "scope")["detail"]
        assert "tasks:claim" in problem(reading.delete(f"/human-tasks/{task['id']}/claim"), 403, "scope")["detail"]
        deciding = someone("reviewer", groups=("leads",), scopes=["tasks:read", "tasks:decide"])
        assert deciding.decide(task, "approve").status_code == 201

    def test_a_session_begun_with_a_key_does_what_the_key_does_and_ends_with_it(
        self, two: Api, database: Database, someone: Callable[..., Caller]
    ) -> None:
        caller = someone("admin", scopes=["runs:read"], workflows=["loan"])
        name = caller.name or ""
        token = start_session(
            database, two.principals[name], hours=1, user_agent="", key=two.keys[name], started_with="api_key"
        )
        found = session_principal(database, token)
        assert found is not None
        assert (found.scopes, found.workflows) == (frozenset({"runs:read"}), frozenset({"loan"}))
        browser = two.app.test_client()
        browser.set_cookie("signoff_session", token, domain="localhost", secure=True)
        assert browser.get("/runs", base_url="https://localhost").status_code == 200
        assert browser.get("/inbox", base_url="https://localhost").status_code == 403
        (kept,) = list_api_keys(database, name)
        revoke_api_key(database, kept.id)
        assert session_principal(database, token) is None

    def test_a_key_for_one_workflow_sees_starts_and_decides_nothing_else(
        self, two: Api, someone: Callable[..., Caller]
    ) -> None:
        caller = someone("admin", groups=("leads",), workflows=["loan"])
        assert _workflows(caller, "/workflows", "name") == {"loan"}
        assert _workflows(caller, "/runs") == {"loan"}
        assert _workflows(caller, "/human-tasks?state=all") == {"loan"}
        expense = two.as_("portal").start("expense", {"amount": 1})
        problem(caller.get(f"/runs/{expense['id']}"), 404, "not_found")
        problem(caller.get(f"/runs/{expense['id']}/audit"), 404, "not_found")
        problem(caller.get("/workflows/expense"), 403, "scope")
        problem(caller.post("/runs", json={"workflow": "expense", "input": {"amount": 1}}), 403, "scope")
        problem(caller.decide(two.as_("ana").task(expense), "approve"), 403, "scope")
        problem(caller.get("/audit/verification"), 403, "scope")
        assert caller.get(f"/audit/verification?run={caller.start('loan', {'amount': 1})['id']}").status_code == 200


class TestRolesForOneWorkflow:
    def test_an_auditor_of_one_sees_its_runs_and_their_evidence_and_no_others(
        self, two: Api, someone: Callable[..., Caller]
    ) -> None:
        caller = someone(grants=(("auditor", "loan"),))
        loan, expense = (two.as_("portal").start(workflow, {"amount": 1}) for workflow in ("loan", "expense"))
        assert _workflows(caller, "/runs") == {"loan"}
        assert _workflows(caller, "/human-tasks?state=all") == {"loan"}
        assert _workflows(caller, "/workflows", "name") == {"loan"}
        assert caller.get(f"/runs/{loan['id']}/audit").status_code == 200
        assert caller.get(f"/audit/verification?run={loan['id']}").status_code == 200
        problem(caller.get(f"/runs/{expense['id']}"), 404, "not_found")
        problem(caller.get(f"/runs/{expense['id']}/events"), 404, "not_found")
        problem(caller.get(f"/runs/{expense['id']}/audit"), 404, "not_found")
        problem(caller.get(f"/audit/verification?run={expense['id']}"), 404, "not_found")
        problem(caller.get("/audit/verification"), 403, "forbidden")
        problem(caller.post(f"/runs/{loan['id']}/cancel", json={"reason": "no"}), 403, "forbidden")

    def test_an_author_of_one_registers_that_one(self, two: Api, someone: Callable[..., Caller]) -> None:
        caller = someone(grants=(("author", "loan"),))
        text = LOAN.replace("Pay {amount}", "Lend {amount}")
        assert caller.put("/workflows/loan", data=text, content_type="application/yaml").status_code == 201
        put = caller.put("/workflows/expense", data=EXPENSE, content_type="application/yaml")
        problem(put, 403, "forbidden")
        # A name in the path is no way round the one in the document.
        put = caller.put("/workflows/loan", data=EXPENSE, content_type="application/yaml")
        problem(put, 422, "invalid")

    def test_a_requester_of_one_starts_that_one(self, two: Api, someone: Callable[..., Caller]) -> None:
        caller = someone(grants=(("requester", "loan"),))
        assert caller.post("/runs", json={"workflow": "loan", "input": {"amount": 1}}).status_code == 201
        problem(caller.post("/runs", json={"workflow": "expense", "input": {"amount": 1}}), 403, "forbidden")
        problem(caller.post("/runs", json={"workflow": "no-such", "input": {}}), 403, "forbidden")

    def test_an_operator_of_one_steers_that_one(self, two: Api, someone: Callable[..., Caller]) -> None:
        caller = someone(grants=(("operator", "loan"),))
        loan, expense = (two.as_("portal").start(workflow, {"amount": 1}) for workflow in ("loan", "expense"))
        assert caller.post(f"/runs/{loan['id']}/cancel", json={"reason": "no"}).status_code == 200
        problem(caller.post(f"/runs/{expense['id']}/cancel", json={"reason": "no"}), 404, "not_found")

    def test_on_the_pages_too(self, two: Api, database: Database, someone: Callable[..., Caller]) -> None:
        caller = someone(grants=(("auditor", "loan"),))
        token = start_session(
            database, two.principals[caller.name or ""], hours=1, user_agent="", key=None, started_with="link"
        )
        browser = two.app.test_client()
        browser.set_cookie("signoff_session", token, domain="localhost", secure=True)
        loan, expense = (two.as_("portal").start(workflow, {"amount": 1}) for workflow in ("loan", "expense"))
        assert two.as_("ana").decide(two.as_("ana").task(expense), "approve").status_code == 201
        assert two.as_("ana").decide(two.as_("ana").task(loan), "approve").status_code == 201

        def text(path: str, status: int = 200) -> str:
            response = browser.get(path, base_url="https://localhost")
            assert response.status_code == status, (path, response.text[:300])
            return response.text

        for path in ("/runs", "/audit", "/inbox?view=all", "/insights"):
            assert expense["id"] not in text(path), path
        assert loan["id"] in text("/runs")
        assert loan["id"] in text("/audit")
        assert "expense/approve" not in text("/insights")
        text("/insights?gate=loan/approve")
        text("/insights?gate=expense/approve", 404)
        text(f"/audit/{loan['id']}")
        text(f"/audit/{expense['id']}", 404)
        text(f"/audit/{expense['id']}/export", 404)
        text(f"/runs/{expense['id']}", 404)
        text("/audit/check")


def test_lists_show_exactly_what_may_be_read_one_by_one(two: Api, database: Database, someone: Any) -> None:
    versions = two.engine.core.versions
    callers = [
        someone(grants=(("auditor", "loan"),)),
        someone(grants=(("auditor", "loan"), ("operator", "expense"))),
        someone(grants=(("auditor", "loan"),), groups=("leads",)),
        someone(grants=(("author", "loan"), ("requester", "expense"))),
        someone(grants=(("auditor", "not-there"),)),
        someone("admin", workflows=["loan"]),
        someone("reviewer", groups=("leads",), workflows=["loan"]),
        someone(grants=(("auditor", "loan"), ("auditor", "expense")), workflows=["expense"]),
        someone(groups=("leads",), grants=(("auditor", "loan"),), workflows=["expense"]),
    ]
    with database.query() as connection:
        tasks = [row.id for row in connection.exec_driver_sql("SELECT id FROM human_tasks")]
        runs = [row.id for row in connection.exec_driver_sql("SELECT id FROM runs")]
    seen = []
    for caller in callers:
        viewer = _principal(two, caller)
        with database.autocommit() as cursor:
            views = [get_human_task(cursor, versions, found, detail=False) for found in tasks]
            may_tasks = {view.row.id for view in views if is_allowed(viewer, Action.READ_HUMAN_TASK, view.facts)}
            may_runs = {found for found in runs if is_allowed(viewer, Action.READ_RUN, get_run(cursor, found)[1])}
        listed = list_human_tasks(database, versions, viewer, HumanTaskFilter(state="all"), limit=200)
        assert {view.row.id for view in listed.items} == may_tasks, viewer
        assert {view.id for view in list_runs(database, viewer, RunFilter(), limit=200).items} == may_runs, viewer
        seen.append(len(may_runs))
    assert len(set(seen)) > 2, "they do not all see the same"
    assert list_workflows(database, frozenset(), limit=10).items == ()


class TestAtOnce:
    def test_a_grant_that_is_revoked_shows_nothing_with_the_next_request(
        self, two: Api, database: Database, someone: Callable[..., Caller]
    ) -> None:
        caller = someone(groups=("auditors-of-loan",), grants=(("author", "loan"),))
        group, person = Holder(name="auditors-of-loan", is_group=True), Holder(name=caller.name or "")
        loan = two.as_("portal").start("loan", {"amount": 1})
        problem(caller.get(f"/runs/{loan['id']}"), 404, "not_found")
        grant_role(database, group, role="auditor", workflow="loan")
        assert caller.get(f"/runs/{loan['id']}").status_code == 200
        change_members(database, "auditors-of-loan", [person.name], inside=False)
        problem(caller.get(f"/runs/{loan['id']}"), 404, "not_found")
        change_members(database, "auditors-of-loan", [person.name], inside=True)
        assert caller.get(f"/runs/{loan['id']}").status_code == 200
        revoke_role(database, group, role="auditor", workflow="loan")
        problem(caller.get(f"/runs/{loan['id']}"), 404, "not_found")
        assert caller.get("/workflows/loan").status_code == 200
        revoke_role(database, person, role="author", workflow="loan")
        problem(caller.get("/workflows/loan"), 403, "forbidden")

    @pytest.mark.parametrize("under_lock", [False, True], ids=["as it was read", "under its lock"])
    @pytest.mark.parametrize(
        "how",
        [
            "the key is revoked",
            "it expires",
            "they are disabled",
            "they leave the group",
            "the session is ended",
            "its key is revoked",
            "the key's scope is gone",
        ],
    )
    def test_who_loses_it_while_they_wait_for_the_run_decides_nothing(
        self, two: Api, database: Database, someone: Callable[..., Caller], how: str, under_lock: bool
    ) -> None:
        caller = someone("reviewer", groups=("leads",))
        name = caller.name or ""
        run = two.as_("portal").start("expense", {"amount": 1})
        task = caller.task(run)
        by = _principal(two, caller)
        (key,) = list_api_keys(database, name)
        if "session" in how or how.startswith("its key"):
            began = two.keys[name] if how.startswith("its") else None
            token = start_session(database, by, hours=1, user_agent="", key=began, started_with="link")
            found = session_principal(database, token)
            assert found is not None
            by = found
        take = {
            "the key is revoked": lambda: revoke_api_key(database, key.id),
            "its key is revoked": lambda: revoke_api_key(database, key.id),
            "it expires": lambda: _sql(database, "UPDATE api_keys SET expires_at = now() WHERE id = %s", key.id),
            "they are disabled": lambda: update_principal(database, name, disabled=True),
            "they leave the group": lambda: update_principal(database, name, groups=()),
            "the session is ended": lambda: revoke_session(database, list_sessions(database, name)[0].id),
            "the key's scope is gone": lambda: _sql(
                database, "UPDATE api_keys SET scopes = '{runs:read}' WHERE id = %s", key.id
            ),
        }[how]

        error = _decided_while(two, run["id"], task, by, take, under_lock=under_lock)

        expected = Forbidden if how in ("they leave the group", "the key's scope is gone") else Unauthenticated
        assert isinstance(error, expected), error
        assert two.as_("ana").task(run)["state"] == "open"
        assert two.as_("ana").task(run)["decisions"] == []

    def test_who_takes_it_away_waits_for_a_decision_that_is_being_made(
        self, two: Api, database: Database, someone: Callable[..., Caller]
    ) -> None:
        caller = someone("reviewer", groups=("leads",))
        task = caller.task(two.as_("portal").start("expense", {"amount": 1}))
        by = _principal(two, caller)
        (key,) = list_api_keys(database, caller.name or "")
        revoking = threading.Thread(target=lambda: revoke_api_key(database, key.id))

        def look(cursor: Any, decided: Any, locked: Any) -> None:  # the decision is recorded and not yet committed
            revoking.start()
            eventually(lambda: _is_waiting(database, "UPDATE api_keys"), seconds=20)

        said = DecisionRequest(decision="approve", payload_sha256=task["payload_sha256"])
        two.engine.decide(UUID(task["id"]), said, by=by, look=look, idempotency=UNDER_LOCK)
        revoking.join(20)
        assert authenticate(database, two.keys[caller.name or ""]) is None


def _decided_while(
    api: Api, run_id: str, task: dict[str, Any], by: Principal, take: Callable[[], Any], *, under_lock: bool
) -> SignoffError | None:
    """What a decision comes to that waits for its run while `take` happens."""
    raised: list[SignoffError | None] = []

    def decide() -> None:
        said = DecisionRequest(decision="approve", payload_sha256=task["payload_sha256"])
        try:
            idempotency = UNDER_LOCK if under_lock else None
            api.engine.decide(UUID(task["id"]), said, by=by, idempotency=idempotency)
        except SignoffError as error:
            raised.append(error)
        else:
            raised.append(None)

    waiting = threading.Thread(target=decide)
    with api.engine.database.transaction() as cursor:
        cursor.execute("SELECT 1 FROM runs WHERE id = %s FOR UPDATE", (run_id,))
        waiting.start()
        statement = "FROM runs" if under_lock or by.authentication.method != "api_key" else "json_to_recordset"
        eventually(lambda: _is_waiting(api.engine.database, statement), seconds=20)
        take()
    waiting.join(20)
    return raised[0]


def _is_waiting(database: Database, statement: str) -> bool:
    found = _sql(
        database,
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        " AND query LIKE %s",
        f"%{statement}%",
    )
    return bool(found)


def _sql(database: Database, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with database.transaction() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []
