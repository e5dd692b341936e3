"""Who came with the same key a moment ago is not looked up again to start or decide, and loses their rights at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from tests.integration.api.client import Api, Caller, problem
from tests.integration.api.conftest import EXPENSE

from signoff.engine import DecisionRequest
from signoff.errors import Unauthenticated
from signoff.store import recording
from signoff.store.database import Database
from signoff.store.identity import authenticate, list_api_keys, revoke_api_key, update_principal
from signoff.store.role_grants import Holder, grant_role, revoke_role
from signoff.store.sessions import list_sessions, revoke_session, session_principal, start_session

ONE = {"amount": 1}


@pytest.fixture
def database(api: Api) -> Database:
    return api.engine.database


@pytest.fixture
def caller(api: Api) -> Caller:
    """Somebody whose key has just been used, for a start of the newest version."""
    number = len(api.principals)
    made = api.add(f"known-{number}", groups=("leads",), roles=("reviewer", "requester"))
    made.start("expense", ONE)
    return made


@contextmanager
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every statement that is sent meanwhile, in this process; the start and the end of a transaction are none."""
    sent: list[str] = []
    real = psycopg.Cursor.execute

    def execute(self: Any, query: Any, *more: Any, **options: Any) -> Any:
        sent.append(str(query))
        return real(self, query, *more, **options)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", execute)
        yield sent


def _task(api: Api, caller: Caller) -> Any:
    """A human task of somebody else's run: the gate wants four eyes."""
    return caller.task(api.as_("portal").start("expense", ONE))


def test_a_start_is_one_statement_and_a_decision_two(api: Api, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    task = _task(api, caller)
    with statements(monkeypatch) as sent:
        caller.start("expense", ONE)
        assert len(sent) == 1, sent
        sent.clear()
        assert caller.decide(task, "approve").status_code == 201
        assert len(sent) == 2, sent


def test_whoever_is_known_is_looked_up_for_whatever_else(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    run = caller.start("expense", ONE)
    task = caller.task(run)
    for ask in (
        lambda: caller.get(f"/runs/{run['id']}"),
        lambda: caller.put(f"/human-tasks/{task['id']}/claim"),
        lambda: caller.post(f"/human-tasks/{task['id']}/comments", {"text": "so"}),
        lambda: caller.post(f"/runs/{run['id']}/cancel", {"reason": "enough"}),
    ):
        with statements(monkeypatch) as sent:
            ask()
        assert "k.hash" in sent[0], sent


def _revoke(api: Api, caller: Caller) -> None:
    (key,) = list_api_keys(api.engine.database, caller.name or "")
    revoke_api_key(api.engine.database, key.id)


@pytest.mark.parametrize(
    "ask",
    [
        lambda caller, task: caller.decide(task, "approve"),
        lambda caller, task: caller.decide(task, "approve", headers={"Idempotency-Key": "k"}),
        lambda caller, task: caller.decide(task, "approve", patch={"amount": "no number"}),
        lambda caller, task: caller.decide(task, "nonsense"),
        lambda caller, task: caller.decide(task, "approve", on_behalf_of="max"),
        lambda caller, task: caller.decide(task | {"id": "01890000-0000-7000-8000-000000000000"}, "approve"),
        lambda caller, task: caller.post(f"/human-tasks/{task['id']}/decisions", {"more": 1}),
        lambda caller, task: caller.post(f"/human-tasks/{task['id']}/decisions?no=1", {}),
        lambda caller, task: caller.post("/human-tasks/x/decisions", {"decision": "approve"}),
        lambda caller, _: caller.post("/runs", {"workflow": "expense", "input": ONE}),
        lambda caller, _: caller.post("/runs", {"workflow": "expense", "input": ONE}, headers={"Idempotency-Key": "k"}),
        lambda caller, _: caller.post("/runs", {"workflow": "expense", "input": ONE, "version": 1}),
        lambda caller, _: caller.post("/runs", {"workflow": "nowhere", "input": ONE}),
        lambda caller, _: caller.post("/runs", {"workflow": "expense", "input": "none"}),
        lambda caller, _: caller.post("/runs", {"workflow": "expense", "input": ONE, "more": 1}),
        lambda caller, _: caller.post("/runs", data=b"{", content_type="application/json"),
        lambda caller, _: caller.post("/runs", data=b"x", content_type="text/plain"),
    ],
)
@pytest.mark.parametrize("how", ["its key is revoked", "they are disabled"])
def test_who_has_lost_their_key_is_unknown_with_the_next_request(
    api: Api, database: Database, caller: Caller, how: str, ask: Callable[[Caller, Any], Any]
) -> None:
    task = _task(api, caller)
    if how == "they are disabled":
        update_principal(database, caller.name or "", disabled=True)
    else:
        _revoke(api, caller)
    problem(ask(caller, task), 401, "unauthenticated")
    assert api.as_("ana").task({"human_tasks": [task["id"]]})["decisions"] == []


def test_what_was_decided_before_is_not_told_to_who_has_lost_their_key(api: Api, caller: Caller) -> None:
    task = _task(api, caller)
    assert caller.decide(task, "approve").status_code == 201
    assert caller.decide(task, "approve").status_code == 200
    _revoke(api, caller)
    problem(caller.decide(task, "approve"), 401, "unauthenticated")


def test_rights_that_change_hold_with_the_next_request(api: Api, database: Database, caller: Caller) -> None:
    name = caller.name or ""
    first, second, third = (_task(api, caller) for _ in range(3))
    assert caller.decide(first, "approve").status_code == 201
    update_principal(database, name, groups=())
    problem(caller.decide(second, "approve"), 403, "not_candidate")
    update_principal(database, name, groups=("leads",))
    assert caller.decide(second, "approve").status_code == 201
    update_principal(database, name, roles=("reviewer",))
    problem(caller.post("/runs", {"workflow": "expense", "input": ONE}), 403, "forbidden")
    assert caller.decide(third, "approve").status_code == 201
    update_principal(database, name, roles=("reviewer", "requester"))
    caller.start("expense", ONE)


@pytest.mark.parametrize("how", ["the key is revoked", "they are disabled", "a grant is gone", "a role is more"])
def test_who_changes_between_what_is_read_and_what_is_written_decides_by_what_holds_now(
    api: Api, database: Database, caller: Caller, how: str
) -> None:
    name = caller.name or ""
    holder = Holder(name=name)
    grant_role(database, holder, role="author", workflow="loan")
    task = _task(api, caller)
    by = authenticate(database, caller.key or "")
    assert by is not None
    take: Callable[[], Any] = {
        "the key is revoked": lambda: _revoke(api, caller),
        "they are disabled": lambda: update_principal(database, name, disabled=True),
        "a grant is gone": lambda: revoke_role(database, holder, role="author", workflow="loan"),
        "a role is more": lambda: update_principal(database, name, roles=("reviewer", "auditor")),
    }[how]
    looked = []

    def look(_cursor: Any, decided: Any, _locked: Any) -> None:
        if not looked:
            take()
        looked.append(decided.decision_id)

    said = DecisionRequest(decision="approve", payload_sha256=task["payload_sha256"])
    if how in ("the key is revoked", "they are disabled"):
        with pytest.raises(Unauthenticated):
            api.engine.decide(UUID(task["id"]), said, by=by, look=look)
        assert len(looked) == 1
        assert api.as_("ana").task({"human_tasks": [task["id"]]})["decisions"] == []
    else:
        decided = api.engine.decide(UUID(task["id"]), said, by=by, look=look)
        assert looked[1:] == [decided.decision_id]


def test_who_came_by_a_session_that_has_ended_starts_nothing(api: Api, database: Database, caller: Caller) -> None:
    person = api.principals[caller.name or ""]
    by = session_principal(database, start_session(database, person, hours=1, user_agent="", key=None))
    assert by is not None
    api.engine.start(workflow="expense", input=ONE, requester=by)
    revoke_session(database, list_sessions(database, person.name)[0].id)
    with pytest.raises(Unauthenticated):
        api.engine.start(workflow="expense", input=ONE, requester=by)


def test_a_newer_version_is_the_one_that_is_started_at_once(api: Api, caller: Caller) -> None:
    before = caller.start("expense", ONE)
    # As another process registers it: this one is not told.
    known = api.engine.core.versions.known("expense")
    assert known is not None
    api.as_("author").register(EXPENSE.replace("description: ", "description: newer "), "expense")
    api.engine.core.versions.learn("expense", before["version"], known[1].now())
    after = caller.start("expense", ONE)
    assert after["version"] == before["version"] + 1


def test_what_was_made_of_an_old_moment_is_not_written(
    api: Api, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may stand still between two of its lines for as long as it likes; then the lock has the word."""
    task = _task(api, caller)
    real = recording.Provided.asks

    def stood_still(self: recording.Provided) -> dict[str, Any]:
        asked = real(self)
        return asked | {"at": asked["at"] - timedelta(seconds=recording.FRESH_SECONDS)} if asked else asked

    with statements(monkeypatch) as sent:
        assert caller.decide(task, "approve").status_code == 201
        assert len(sent) == 2
    other = _task(api, caller)
    monkeypatch.setattr(recording.Provided, "asks", stood_still)
    with statements(monkeypatch) as sent:
        assert caller.decide(other, "approve").status_code == 201
        assert any("FOR NO KEY UPDATE" in each for each in sent[2:])
