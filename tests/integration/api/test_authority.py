"""Limits of authority over HTTP: who may set them, what a refusal says, and that decisions keep how one came in."""

from __future__ import annotations

import pytest
from tests.integration.api.client import Api, problem

from signoff.errors import Forbidden, Unauthenticated
from signoff.store.identity import (
    authenticate,
    create_api_key,
    create_principal,
    list_api_keys,
    revoke_api_key,
    update_principal,
)
from signoff_api.inbox import verify_audit

DOCUMENT = """
workflow: payout
steps:
  - gate: ok
    reviewers: leads
    authority: true
    above: chiefs
"""


@pytest.fixture
def task(api: Api) -> dict[str, object]:
    api.as_("author").register(DOCUMENT, "payout")
    run = api.as_("portal").start("payout", {"amount": 900})
    found: dict[str, object] = api.as_("ana").task(run)
    return found


def test_an_administrator_sets_lists_and_ends_limits(api: Api, task: dict[str, object]) -> None:
    admin = api.as_("admin")
    body = {"subject": "user:ana", "limit": "amount <= 500.0", "workflow": "payout", "gate": "ok"}
    made = admin.ok(admin.put("/authority", json=body))
    assert (made["set_by"]["name"], made["ended_at"]) == ("admin", None)
    assert admin.ok(admin.put("/authority", json=body))["id"] == made["id"]
    assert [each["id"] for each in admin.ok(admin.get("/authority?subject=user:ana"))["items"]] == [made["id"]]
    refused = problem(api.as_("ana").decide(task, "approve"), 403, "over_limit")
    assert "amount <= 500.0" in refused["detail"]
    assert refused["fix"]
    ended = admin.ok(admin.delete(f"/authority/{made['id']}"))
    assert ended["ended_by"]["name"] == "admin"
    assert admin.ok(admin.get("/authority?subject=user:ana"))["items"] == []
    kept = admin.ok(admin.get("/authority?subject=user:ana&ended=true"))["items"]
    assert [each["id"] for each in kept] == [made["id"]]


def test_a_limit_of_ones_own_is_refused(api: Api) -> None:
    body = {"subject": "user:admin", "limit": "true"}
    problem(api.as_("admin").put("/authority", json=body), 403, "own_limit")


@pytest.mark.parametrize("gone", ["key", "role"])
def test_who_has_lost_it_since_the_request_began_sets_and_ends_none(api: Api, gone: str) -> None:
    database = api.engine.database
    root = create_principal(database, name=f"root-{gone}", kind="user", roles=["admin"])
    by = authenticate(database, create_api_key(database, root.name))
    assert by is not None
    limit = api.engine.set_limit(subject="group:chiefs", limit="true", by=by)
    if gone == "key":
        (key,) = list_api_keys(database, root.name)
        revoke_api_key(database, key.id)
    else:
        update_principal(database, root.name, roles=["reviewer"])
    with pytest.raises((Unauthenticated, Forbidden)):
        api.engine.set_limit(subject="group:leads", limit="true", by=by)
    with pytest.raises((Unauthenticated, Forbidden)):
        api.engine.remove_limit(limit.id, by=by)


def test_a_limit_that_does_not_compile_names_the_field(api: Api, task: dict[str, object]) -> None:
    found = problem(
        api.as_("admin").put("/authority", json={"subject": "user:ana", "limit": "amount <"}), 422, "invalid"
    )
    assert [error["path"] for error in found["errors"]] == ["/limit"]


def test_a_decision_by_key_keeps_its_prefix_and_the_pack_verifies_with_it(api: Api, task: dict[str, object]) -> None:
    admin = api.as_("admin")
    admin.ok(admin.put("/authority", json={"subject": "user:ana", "limit": "true", "workflow": "payout"}))
    ana = api.as_("ana")
    made = ana.ok(ana.decide(task, "approve"), 201)
    log = admin.ok(admin.get(f"/runs/{made['run']['id']}/events"))["items"]
    (data,) = [event["data"] for event in log if event["type"] == "decision.recorded"]
    prefix = str(ana.key).split("_")[1]
    assert data["authenticated"] == {"method": "api_key", "id": prefix, "started_with": None}
    assert str(ana.key) not in str(log)
    assert data["authority"]["limit"] == "true"
    verified = api.as_("auditor").ok(api.as_("auditor").get(f"/audit/verification?run={made['run']['id']}"))
    assert verified["ok"]
    pack = api.as_("auditor").ok(api.as_("auditor").get(f"/runs/{made['run']['id']}/audit"))
    assert verify_audit.check(pack) == []
    # A pack may say beside the log how somebody was recognised, and then it has to be what the log says.
    pack["decisions"][0]["authenticated"] = {"method": "cli", "id": None, "started_with": None}
    assert "authenticated is not what the log says" in verify_audit.check(pack)[0]
