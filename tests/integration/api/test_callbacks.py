"""Callbacks: a program that signs says what a person decided elsewhere, and may do nothing that they may not."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks import Webhook
from tests.integration.api.client import Api, paths, problem
from tests.integration.engine.world import together
from tests.mutants import mutate
from werkzeug.test import TestResponse

import signoff_api.callbacks
from signoff.errors import Conflict, InvalidInput, NotFound
from signoff.store import callbacks
from signoff.store.callbacks import (
    add_callback,
    link_person,
    list_callbacks,
    remove_callback,
    rotate_callback,
    unlink_person,
)
from signoff.store.identity import update_principal

PEOPLE = {"U-ana": "ana", "U-sam": "sam", "U-zoe": "zoe"}


class Portal:
    """A program elsewhere."""

    def __init__(self, api: Api, name: str = "slack", people: Mapping[str, str] = PEOPLE) -> None:
        self.api, self.name = api, f"{name}-{uuid4()}"
        self.made, self.token, self.secret = add_callback(api.engine.database, self.name)
        for external_id, person in people.items():
            link_person(api.engine.database, self.name, person, external_id=external_id)

    def post(
        self,
        said: Any,
        *,
        message_id: str = "",
        secret: str = "",
        at: int | None = None,
        path: str = "",
        data: bytes | None = None,
        **headers: str,
    ) -> TestResponse:
        body = json.dumps(said).encode() if data is None else data
        message_id, at = message_id or f"msg_{uuid4()}", at or int(time.time())
        # By hand where the package would refuse to sign such a thing.
        signed = signoff_headers(secret or self.secret, message_id, at, body)
        path = path or f"/api/v1/callbacks/{self.token}"
        response = self.api.app.test_client().post(
            path, data=body, headers={"Content-Type": "application/json", **signed, **headers}
        )
        self.api.contract.check("POST", path.partition("?")[0], response)
        return response

    def said(self, task: Any, person: str = "U-ana", decision: str = "approve", **more: Any) -> dict[str, Any]:
        seen = {"human_task_id": task["id"], "payload_sha256": task["payload_sha256"]}
        return {**seen, "person": person, "decision": decision, **more}


def signoff_headers(secret: str, message_id: str, at: int, body: bytes) -> dict[str, str]:
    from datetime import UTC, datetime

    signature = Webhook(secret).sign(message_id, datetime.fromtimestamp(at, tz=UTC), body.decode("utf-8", "replace"))
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": signature}


@pytest.fixture(scope="module")
def portal(api: Api) -> Portal:
    return Portal(api)


def _task(api: Api, by: str = "portal") -> Any:
    caller = api.as_(by)
    return caller.task(caller.start("expense", {"amount": 5, "text": "x"}))


def _decisions(api: Api, task: Any) -> list[Any]:
    return api.as_("admin").get(f"/human-tasks/{task['id']}").get_json()["decisions"]  # type: ignore[no-any-return]


def _everything(api: Api) -> list[tuple[Any, ...]]:
    with api.engine.database.autocommit() as cursor:
        tables = cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
        ).fetchall()
        found: list[tuple[Any, ...]] = []
        for (table,) in tables:
            digest = f"SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {table} t"
            found.append((table, cursor.execute(digest).fetchone()))
    return found


def test_a_decision_is_the_persons_and_the_log_knows_who_passed_it_on(api: Api, portal: Portal) -> None:
    task = _task(api)
    response = portal.post(portal.said(task, note="from the channel", patch={"amount": 4}))
    made = api.as_("ana").ok(response, 201)
    assert made["decision"]["by"]["name"] == "ana"
    assert made["decision"]["note"] == "from the channel"
    assert made["human_task"]["state"] == "completed"
    log = api.as_("admin").get(f"/runs/{task['run_id']}/events").get_json()["items"]
    (event,) = [each for each in log if each["type"] == "decision.recorded"]
    assert event["actor"]["name"] == "ana"
    assert event["data"]["surface"] == "callback"
    assert event["data"]["authenticated"] == {"method": "callback", "id": str(portal.made.id), "started_with": None}


class TestAMessageHappensOnce:
    def test_when_it_comes_again_it_gets_the_first_answer(self, api: Api, portal: Portal) -> None:
        task = _task(api)
        first = portal.post(portal.said(task), message_id="msg-once")
        before = _everything(api)
        for _ in range(5):
            again = portal.post(portal.said(task), message_id="msg-once")
            assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
            assert again.get_json()["decision"] == first.get_json()["decision"]
        assert _everything(api) == before

    def test_of_many_at_once_one_is_recorded(self, api: Api, portal: Portal) -> None:
        task = _task(api)
        found = together(*[lambda: portal.post(portal.said(task), message_id="msg-many").status_code] * 5)
        assert sorted(found) == [200, 200, 200, 200, 201]
        assert len(_decisions(api, task)) == 1

    @pytest.mark.parametrize("other", [{"note": "y"}, {"decision": "reject"}, {"person": "U-sam"}])
    def test_another_one_under_its_id_is_refused(self, api: Api, portal: Portal, other: dict[str, str]) -> None:
        task, message_id = _task(api), f"msg-{uuid4()}"
        assert portal.post(portal.said(task), message_id=message_id).status_code == 201
        before = _everything(api)
        refused = portal.post(portal.said(task) | other, message_id=message_id)
        problem(refused, 422, "idempotency_mismatch")
        assert _everything(api) == before

    def test_the_ids_of_another_callback_are_its_own(self, api: Api, portal: Portal) -> None:
        other, first, second = Portal(api), _task(api), _task(api)
        assert portal.post(portal.said(first), message_id="msg-shared").status_code == 201
        assert other.post(other.said(second), message_id="msg-shared").status_code == 201

    def test_an_idempotency_key_of_the_person_is_not_a_message(self, api: Api, portal: Portal) -> None:
        first, second = _task(api), _task(api)
        key = {"Idempotency-Key": "msg-key"}
        assert api.as_("ana").decide(first, "approve", headers=key).status_code == 201
        assert portal.post(portal.said(second), message_id="msg-key").status_code == 201


class TestNobodyElseIsBelieved:
    def test_what_is_wrong_is_not_told_apart(self, api: Api, portal: Portal) -> None:
        task, other, now = _task(api), Portal(api), int(time.time())
        said = portal.said(task)
        before = _everything(api)
        unknown = "/api/v1/callbacks/sc_aaaaaaaa_" + "A" * 43
        bodies = set()
        for response in (
            portal.post(said, path=unknown),
            portal.post(said, path="/api/v1/callbacks/x"),
            portal.post(said, secret=other.secret),
            portal.post(said, at=now - 400),
            portal.post(said, at=now + 400),
            portal.post(said, path=f"/api/v1/callbacks/{other.token}"),
            portal.post(said, path=f"/api/v1/callbacks/{portal.token[:-1]}"),
            portal.post(said, **{"webhook-signature": "v1,AAAA"}),
            portal.post(said, **{"webhook-id": ""}),
            portal.post(said, **{"webhook-timestamp": ""}),
            portal.post("nonsense", secret=other.secret),
            portal.post({}, data=b"{", secret=other.secret, **{"Content-Type": "text/plain"}),
        ):
            problem(response, 401, "unauthenticated")
            bodies.add(response.text)
        assert len(bodies) == 1
        assert _everything(api) == before

    def test_neither_a_key_nor_a_session_helps(self, api: Api, portal: Portal) -> None:
        task = _task(api)
        bearer = {"Authorization": f"Bearer {api.keys['admin']}"}
        problem(portal.post(portal.said(task), secret=Portal(api).secret, **bearer), 401, "unauthenticated")

    def test_without_the_check_of_the_signature_anybody_would_decide(
        self, api: Api, portal: Portal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = _task(api)
        mutate(monkeypatch, signoff_api.callbacks._signed_by, "caller is None or message_id is None", "caller is None")
        assert portal.post(portal.said(task), secret=Portal(api).secret).status_code in (201, 500)

    def test_a_rotated_secret_signs_for_a_while_longer(self, api: Api) -> None:
        portal = Portal(api)
        old, portal.secret = (
            portal.secret,
            rotate_callback(api.engine.database, portal.name, overlap=timedelta(hours=1)),
        )
        for secret in (old, portal.secret):
            assert portal.post(portal.said(_task(api)), secret=secret).status_code == 201
        with api.engine.database.autocommit() as cursor:
            cursor.execute("UPDATE callbacks SET old_secret_until = clock_timestamp() WHERE id = %s", (portal.made.id,))
        problem(portal.post(portal.said(_task(api)), secret=old), 401, "unauthenticated")
        assert portal.post(portal.said(_task(api))).status_code == 201

    def test_one_that_is_removed_is_none(self, api: Api) -> None:
        portal, task = Portal(api), _task(api)
        remove_callback(api.engine.database, portal.name)
        problem(portal.post(portal.said(task)), 401, "unauthenticated")
        assert portal.name not in {each.name for each in list_callbacks(api.engine.database)}
        add_callback(api.engine.database, portal.name)
        with pytest.raises(NotFound):
            remove_callback(api.engine.database, "no-callback")


class TestForWhomItSpeaks:
    @pytest.mark.parametrize("person", ["U-max", "ana", "max", "admin", "U-ANA", " U-ana", "robot", "portal"])
    def test_for_nobody_it_was_not_linked_to(self, api: Api, portal: Portal, person: str) -> None:
        task = _task(api)
        before = _everything(api)
        problem(portal.post(portal.said(task, person)), 403, "not_linked")
        assert _everything(api) == before

    def test_who_is_linked_is_asked_nothing_less_than_at_the_desk(self, api: Api, portal: Portal) -> None:
        task = _task(api)
        problem(portal.post(portal.said(task, "U-zoe")), 403, "not_candidate")
        own = _task(api, by="ana")
        problem(portal.post(portal.said(own)), 403, "four_eyes")
        assert _decisions(api, task) == _decisions(api, own) == []

    @pytest.mark.parametrize("change", ["unlinked", "disabled", "no candidate"])
    def test_what_changes_holds_from_the_next_message(self, api: Api, change: str) -> None:
        name = f"eve-{uuid4()}"
        api.add(name, groups=("leads",), roles=("reviewer",))
        portal, task = Portal(api, people={"U-eve": name}), _task(api)
        if change == "unlinked":
            unlink_person(api.engine.database, portal.name, external_id="U-eve")
        elif change == "disabled":
            update_principal(api.engine.database, name, disabled=True)
        else:
            update_principal(api.engine.database, name, groups=())
        code = "not_candidate" if change == "no candidate" else "not_linked"
        problem(portal.post(portal.said(task, "U-eve")), 403, code)

    def test_what_changes_while_it_is_decided_holds_too(
        self, api: Api, portal: Portal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task, portal = _task(api), Portal(api)
        first = signoff_api.callbacks.person_for

        def person_for(*found: Any) -> Any:
            known = first(*found)
            unlink_person(api.engine.database, portal.name, external_id="U-ana")
            return known

        monkeypatch.setattr(signoff_api.callbacks, "person_for", person_for)
        before = _decisions(api, task)
        problem(portal.post(portal.said(task)), 403, "not_linked")
        assert _decisions(api, task) == before

    def test_without_the_guards_it_would(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        mutate(monkeypatch, callbacks.person_for, " AND p.disabled_at IS NULL", "")
        with pytest.raises(AssertionError):
            self.test_what_changes_holds_from_the_next_message(api, "disabled")

    def test_links_are_for_people_and_nobody_becomes_another(self, api: Api, portal: Portal) -> None:
        database = api.engine.database
        for name in ("robot", "portal", "who"):
            with pytest.raises(NotFound):
                link_person(database, portal.name, name, external_id=f"U-{name}")
        with pytest.raises(Conflict):
            link_person(database, portal.name, "sam", external_id="U-ana")
        for external_id in ("", "x" * 256, "é", "a\n"):
            with pytest.raises(InvalidInput):
                link_person(database, portal.name, "sam", external_id=external_id)
        with pytest.raises(NotFound):
            unlink_person(database, portal.name, external_id="U-who")
        with pytest.raises(InvalidInput):
            add_callback(database, "No Name")


class TestItIsADecisionLikeOthers:
    def test_what_is_over_or_has_changed_is_refused(self, api: Api, portal: Portal) -> None:
        task = _task(api)
        stale = portal.said(task) | {"payload_sha256": "0" * 64}
        assert problem(portal.post(stale), 412, "stale_view")["current"]["revision"] == 1
        assert portal.post(portal.said(task, "U-sam")).status_code == 201
        late = problem(portal.post(portal.said(task, decision="reject")), 409, "already_decided")
        assert late["winner"]["by"]["name"] == "sam"

    def test_what_is_not_there_is_not_found(self, api: Api, portal: Portal) -> None:
        nowhere = portal.said(_task(api)) | {"human_task_id": str(uuid4())}
        problem(portal.post(nowhere), 404, "not_found")

    def test_what_it_can_not_say_is_refused(self, api: Api, portal: Portal) -> None:
        task = _task(api)
        said = portal.said(task)
        assert paths(problem(portal.post(said | {"on_behalf_of": "sam"}), 422, "invalid")) == {"/on_behalf_of"}
        assert paths(problem(portal.post(said | {"decision": "shrug"}), 422, "invalid")) == {"/decision"}
        for missing in said:
            left = {name: value for name, value in said.items() if name != missing}
            assert paths(problem(portal.post(left), 422, "invalid")) == {f"/{missing}"}
        problem(portal.post(None, data=b'{"person": "a", "person": "b"}'), 400, "malformed")
        problem(portal.post(None, data=b"{" * 100), 400, "malformed")
        problem(portal.post(said, **{"Content-Type": "text/plain"}), 415, "unsupported_media_type")
        problem(portal.post(None, data=b"x" * 1_100_000), 413, "body_too_large")
        assert _decisions(api, task) == []

    def test_nothing_but_a_post_is_there(self, api: Api, portal: Portal) -> None:
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE"):
            path = f"/api/v1/callbacks/{portal.token}"
            assert api.app.test_client().open(path, method=method).status_code == 405

    def test_neither_token_nor_secret_is_in_what_is_listed_or_kept_readable(self, api: Api, portal: Portal) -> None:
        shown = str([each.to_json() for each in list_callbacks(api.engine.database)])
        assert portal.token not in shown
        assert portal.secret not in shown
        with api.engine.database.autocommit() as cursor:
            kept = cursor.execute("SELECT c::text FROM callbacks c").fetchall()
        assert not [row for (row,) in kept if portal.token in row]
