"""Delegations on a real database: who may decide for whom, what the log says of it, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from tests.integration.inbox.desk import Desk, open_desk
from tests.mutants import mutate
from tests.servers import eventually
from tests.unit.transitions.graphs import gate, graph, pay
from werkzeug.test import TestResponse

from signoff import authorization
from signoff.engine import deciding as engine_deciding
from signoff.model import SYSTEM
from signoff.store.identity import create_api_key, create_principal, update_principal
from signoff.transitions import decisions
from signoff_api.inbox.verify_audit import check

FLOWS = (
    graph(gate("ok", "pay", editable=("amount",)), pay(), name="asks"),
    graph(gate("ok", "pay", approvals=2), pay(), name="two"),
    graph(gate("ok", "pay", approvals=2, blind=True), pay(), name="two-blind"),
    graph(gate("ok", "pay", grace_ms=600_000), pay(), name="undo"),
)
HOURS = "2999-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as made:
        for flow in FLOWS:
            made.engine.register(flow, by=SYSTEM)
        for name in ("ben", "bob"):
            made.people[name] = create_principal(made.engine.database, name=name, kind="user", roles=["reviewer"])
            made.keys[name] = create_api_key(made.engine.database, name)
        yield made


@pytest.fixture(autouse=True)
def _nothing_left(desk: Desk) -> Iterator[None]:
    yield
    desk.sql("UPDATE delegations SET ended_at = now() WHERE ended_at IS NULL")


def call(desk: Desk, who: str, method: str, path: str, json: Any = None) -> TestResponse:
    headers = {"Authorization": f"Bearer {desk.keys[who]}"}
    return desk.app.test_client().open(f"/api/v1{path}", method=method, json=json, headers=headers)


def delegate(desk: Desk, who: str, to: str | None, **asked: Any) -> dict[str, Any]:
    response = call(desk, who, "POST", "/delegations", {"delegate": to, **asked})
    assert response.status_code == 201, response.get_json()
    found: dict[str, Any] = response.get_json()
    return found


def decide(desk: Desk, who: str, task: UUID, decision: str = "approve", **said: Any) -> TestResponse:
    ((sha,),) = desk.sql("SELECT payload_sha256 FROM human_tasks WHERE id = %s", task)
    body = {"decision": decision, "payload_sha256": sha, **said}
    return call(desk, who, "POST", f"/human-tasks/{task}/decisions", body)


def code(response: TestResponse) -> tuple[int, str]:
    return response.status_code, str(response.get_json().get("code"))


def listed(desk: Desk, who: str, query: str = "") -> set[str]:
    found = call(desk, who, "GET", f"/human-tasks?limit=200{query}").get_json()["items"]
    return {item["id"] for item in found}


class TestDecidingForAnother:
    def test_it_takes_a_delegation_that_holds_and_the_log_names_it(self, desk: Desk) -> None:
        task = desk.start("asks", {"amount": "7"})
        assert code(decide(desk, "ben", task)) == (403, "not_candidate")
        assert code(decide(desk, "ben", task, on_behalf_of="ana")) == (403, "no_delegation")
        made = delegate(desk, "ana", "ben", until=HOURS)
        assert code(decide(desk, "ben", task)) == (403, "not_candidate"), "in whose stead has to be said"
        response = decide(desk, "ben", task, on_behalf_of="ana")
        assert response.status_code == 201
        assert response.get_json()["decision"]["by"]["name"] == "ben"
        (said,) = [event.data for event in desk.log(task) if event.type == "decision.recorded"]
        assert (said["on_behalf_of"], said["delegation_id"]) == ("ana", made["id"])
        assert said["acts_for"] == str(desk.people["ana"].id)
        assert desk.engine.verify(desk.run_of(task)).ok
        pack = call(desk, "auditor", "GET", f"/runs/{desk.run_of(task)}/audit").get_json()
        assert [each["delegation_id"] for each in pack["decisions"]] == [made["id"]]
        assert check(pack) == []
        pack["decisions"][0]["delegation_id"] = None
        assert check(pack) != [], "a pack that hides by whose right it was is found out"

    def test_what_a_candidate_says_of_anybody_is_only_recorded(self, desk: Desk) -> None:
        task = desk.start("asks", {"amount": "7"})
        assert decide(desk, "sam", task, on_behalf_of="the customer").status_code == 201
        (said,) = [event.data for event in desk.log(task) if event.type == "decision.recorded"]
        assert (said["on_behalf_of"], said["delegation_id"], said["acts_for"]) == ("the customer", None, None)

    @pytest.mark.parametrize("when", [{"from": "2998-01-01T00:00:00Z"}, {"workflow": "two"}])
    def test_one_for_later_or_for_elsewhere_is_none(self, desk: Desk, when: dict[str, str]) -> None:
        task = desk.start("asks", {"amount": "7"})
        delegate(desk, "ana", "ben", **when)
        assert code(decide(desk, "ben", task, on_behalf_of="ana")) == (403, "no_delegation")
        assert str(task) not in listed(desk, "ben")
        assert call(desk, "ben", "GET", f"/human-tasks/{task}").status_code == 404

    def test_one_that_is_over_or_was_ended_is_none(self, desk: Desk) -> None:
        task = desk.start("asks", {"amount": "7"})
        made = delegate(desk, "ana", "ben", until=HOURS)
        desk.sql("UPDATE delegations SET until_at = now() WHERE id = %s", made["id"])
        assert code(decide(desk, "ben", task, on_behalf_of="ana")) == (403, "no_delegation")
        made = delegate(desk, "ana", "ben")
        assert call(desk, "ana", "DELETE", f"/delegations/{made['id']}").get_json()["active"] is False
        assert code(decide(desk, "ben", task, on_behalf_of="ana")) == (403, "no_delegation")

    def test_nobody_hands_on_what_they_have_not(self, desk: Desk) -> None:
        task = desk.start("asks", {"amount": "7"})
        delegate(desk, "max", "ben")
        assert code(decide(desk, "ben", task, on_behalf_of="max")) == (403, "not_candidate")
        delegate(desk, "ana", "ben")
        update_principal(desk.engine.database, "ana", groups=[])
        try:
            assert code(decide(desk, "ben", task, on_behalf_of="ana")) == (403, "not_candidate"), "she was, yesterday"
        finally:
            update_principal(desk.engine.database, "ana", groups=["leads"])
        delegate(desk, "ben", "bob")
        assert code(decide(desk, "bob", task, on_behalf_of="ana")) == (403, "no_delegation"), "nor what they were lent"
        assert code(decide(desk, "bob", task, on_behalf_of="ben")) == (403, "not_candidate")

    def test_a_program_stands_in_for_nobody(self, desk: Desk) -> None:
        response = call(desk, "ana", "POST", "/delegations", {"delegate": "robot"})
        assert (response.status_code, response.get_json()["errors"][0]["path"]) == (422, "/delegate")

    def test_one_may_take_back_what_one_said_for_another_though_the_mandate_has_ended(self, desk: Desk) -> None:
        task = desk.start("undo", {"amount": "7"})
        made = delegate(desk, "ana", "ben")
        assert decide(desk, "ben", task, on_behalf_of="ana").status_code == 201
        call(desk, "ana", "DELETE", f"/delegations/{made['id']}")
        desk.engine.withdraw(task, by=desk.people["ben"])
        assert desk.row(task)[4] is None


class TestOneVoice:
    """In a quorum nobody is two: neither who decides for others, nor who is decided for."""

    def test_who_decided_for_another_has_spoken_for_both(self, desk: Desk) -> None:
        task = desk.start("two", {"amount": "7"})
        delegate(desk, "ana", "sam")
        assert decide(desk, "sam", task, on_behalf_of="ana").status_code == 201
        assert code(decide(desk, "sam", task)) == (409, "already_voted")
        assert code(decide(desk, "ana", task)) == (409, "already_voted")
        assert desk.row(task)[0] == "open"

    @pytest.mark.parametrize("first", ["sam", "ana"])
    def test_who_has_spoken_is_not_spoken_for_nor_speaks_for_others(self, desk: Desk, first: str) -> None:
        task = desk.start("two", {"amount": "7"})
        delegate(desk, "ana", "sam")
        assert decide(desk, first, task).status_code == 201
        assert code(decide(desk, "sam", task, on_behalf_of="ana")) == (409, "already_voted")
        assert desk.row(task)[0] == "open"

    def test_nobody_decides_for_two(self, desk: Desk) -> None:
        task = desk.start("two", {"amount": "7"})
        delegate(desk, "ana", "ben")
        delegate(desk, "sam", "ben")
        assert decide(desk, "ben", task, on_behalf_of="ana").status_code == 201
        assert code(decide(desk, "ben", task, on_behalf_of="sam")) == (409, "already_voted")
        assert decide(desk, "sam", task).status_code == 201, "another person is"
        assert desk.row(task)[0] == "completed"

    def test_two_do_not_decide_for_one(self, desk: Desk) -> None:
        task = desk.start("two", {"amount": "7"})
        delegate(desk, "ana", "ben")
        delegate(desk, "ana", "bob")
        assert decide(desk, "ben", task, on_behalf_of="ana").status_code == 201
        assert code(decide(desk, "bob", task, on_behalf_of="ana")) == (409, "already_voted")

    def test_without_the_guard_one_person_fills_two_seats(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        task = desk.start("two", {"amount": "7"})
        delegate(desk, "ana", "ben")
        assert decide(desk, "ben", task, on_behalf_of="ana").status_code == 201
        mutate(monkeypatch, decisions._expect_undecided, "not decision.seats.isdisjoint(seats)",
               "decision.actor.id == actor.id")  # fmt: skip
        assert decide(desk, "ana", task).status_code == 201
        assert desk.row(task)[0] == "completed"

    def test_a_blind_gate_tells_nothing_to_who_may_yet_decide_for_another(self, desk: Desk) -> None:
        task = desk.start("two-blind", {"amount": "7"})
        delegate(desk, "ana", "ben")
        assert decide(desk, "sam", task).status_code == 201
        assert call(desk, "ben", "GET", f"/human-tasks/{task}").get_json()["decisions"] == []


class TestWhoSeesIt:
    def test_lists_show_what_may_be_read_and_for_whom(self, desk: Desk) -> None:
        task = desk.start("asks", {"amount": "7"})
        assert str(task) not in listed(desk, "ben")
        made = delegate(desk, "ana", "ben", workflow="asks")
        for query in ("", "&candidate=me"):
            assert str(task) in listed(desk, "ben", query)
        other = desk.start("two", {"amount": "7"})
        assert str(other) not in listed(desk, "ben"), "it is for one workflow"
        for found in listed(desk, "ben"):
            shown = call(desk, "ben", "GET", f"/human-tasks/{found}")
            assert (shown.status_code, shown.get_json()["acting_for"]) == (200, ["ana"])
        assert call(desk, "ben", "GET", f"/runs/{desk.run_of(task)}").status_code == 200
        assert call(desk, "ben", "PUT", f"/human-tasks/{task}/claim").status_code == 200
        call(desk, "ana", "DELETE", f"/delegations/{made['id']}")
        assert call(desk, "ben", "DELETE", f"/human-tasks/{task}/claim").status_code == 200, "it is theirs to give back"
        assert str(task) not in listed(desk, "ben")
        assert call(desk, "ben", "GET", f"/human-tasks/{task}").status_code == 404

    def test_one_who_is_asked_acts_for_nobody(self, desk: Desk) -> None:
        task = desk.start("asks", {"amount": "7"})
        delegate(desk, "ana", "sam")
        assert call(desk, "sam", "GET", f"/human-tasks/{task}").get_json()["acting_for"] == []


class TestWhoseItIs:
    def test_it_is_given_by_oneself_or_an_admin_and_the_row_says_who(self, desk: Desk) -> None:
        refused = call(desk, "sam", "POST", "/delegations", {"delegator": "ana", "delegate": "ben"})
        assert code(refused) == (404, "not_found")
        made = delegate(desk, "admin", "ben", delegator="ana", note="on leave")
        assert (made["delegator"], made["created_by"]["name"], made["active"]) == ("ana", "admin", True)
        assert code(call(desk, "sam", "DELETE", f"/delegations/{made['id']}")) == (404, "not_found")
        assert code(call(desk, "ben", "DELETE", f"/delegations/{made['id']}")) == (403, "forbidden")
        ended = call(desk, "ana", "DELETE", f"/delegations/{made['id']}").get_json()
        assert (ended["ended_by"]["name"], ended["active"]) == ("ana", False)
        shown = call(desk, "ana", "GET", "/delegations?ended=yes").get_json()["items"]
        assert made["id"] in {each["id"] for each in shown}, "rows stay"
        assert made["id"] not in {each["id"] for each in call(desk, "ana", "GET", "/delegations").get_json()["items"]}

    def test_both_ends_see_it_and_who_may_see_all(self, desk: Desk) -> None:
        made = delegate(desk, "ana", "ben")
        for who, query in (("ana", ""), ("ben", ""), ("auditor", "?of=*"), ("admin", "?of=ana")):
            found = call(desk, who, "GET", f"/delegations{query}").get_json()["items"]
            assert made["id"] in {each["id"] for each in found}, who
        assert call(desk, "sam", "GET", "/delegations").get_json()["items"] == []
        for query in ("?of=*", "?of=ana", "?of=who-is-this"):
            assert call(desk, "sam", "GET", f"/delegations{query}").status_code == 403

    @pytest.mark.parametrize(
        ("asked", "path"),
        [
            ({"delegate": "ana"}, "/delegate"),
            ({"delegate": "nobody-there"}, "/delegate"),
            ({}, "/delegate"),
            ({"kind": "absence", "delegate": "ben"}, "/until"),
            ({"kind": "absence", "delegate": "ben", "until": HOURS, "workflow": "two"}, "/workflow"),
            ({"delegate": "ben", "until": "2000-01-01T00:00:00Z"}, "/until"),
            ({"delegate": "ben", "from": HOURS, "until": HOURS}, "/until"),
        ],
    )
    def test_what_means_nothing_is_refused(self, desk: Desk, asked: dict[str, Any], path: str) -> None:
        response = call(desk, "ana", "POST", "/delegations", asked)
        assert (response.status_code, [each["path"] for each in response.get_json()["errors"]]) == (422, [path])


def test_ending_it_waits_for_the_decision_that_is_being_made_by_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    task = desk.start("asks", {"amount": "7"})
    made = delegate(desk, "ana", "ben")
    checked, go_on = threading.Event(), threading.Event()
    real = engine_deciding._recorded

    def slowly(*args: Any, **options: Any) -> Any:
        checked.set()
        assert go_on.wait(20)
        return real(*args, **options)

    monkeypatch.setattr(engine_deciding, "_recorded", slowly)
    answers: dict[str, TestResponse] = {}
    deciding = threading.Thread(target=lambda: answers.update(said=decide(desk, "ben", task, on_behalf_of="ana")))
    deciding.start()
    assert checked.wait(20)
    path = f"/delegations/{made['id']}"
    ending = threading.Thread(target=lambda: answers.update(ended=call(desk, "ana", "DELETE", path)))
    ending.start()
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    eventually(lambda: desk.sql(waiting)[0][0] > 0, why="the end waits for the decision")
    go_on.set()
    deciding.join(20)
    ending.join(20)
    assert (answers["said"].status_code, answers["ended"].status_code) == (201, 200)
    (at,) = [event.at for event in desk.log(task) if event.type == "decision.recorded"]
    ((ended_at,),) = desk.sql("SELECT ended_at FROM delegations WHERE id = %s", made["id"])
    assert at < ended_at


def test_the_guard_against_handing_on_what_one_has_not_is_that_guard(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = desk.start("asks", {"amount": "7"})
    delegate(desk, "max", "ben")
    mutate(monkeypatch, authorization._expect_mandator, "not facts.candidates.admit(mandate.name, mandate.groups)",
           "False")  # fmt: skip
    assert decide(desk, "ben", task, on_behalf_of="max").status_code == 201
