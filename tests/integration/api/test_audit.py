"""Audit over HTTP: the pack proves itself, and tampering shows."""

from __future__ import annotations

import hashlib
from typing import Any

import psycopg
import pytest
import rfc8785
from tests.integration.api.client import Api, problem


@pytest.fixture
def pack(api: Api) -> Any:
    """The pack of a decided run, with an edit, a comment and numbers of every kind."""
    ana = api.as_("ana")
    run = api.as_("portal").start("expense", {"amount": 0.1, "text": 'naïve ﬁ 😀 " \\ \u2028'})
    task = ana.task(run)
    ana.ok(ana.post(f"/human-tasks/{task['id']}/comments", {"text": "¿?"}), 201)
    ana.ok(ana.decide(task, "approve", patch={"amount": 1e-7}), 201)
    return api.as_("auditor").ok(api.as_("auditor").get(f"/runs/{run['id']}/audit"))


def test_a_pack_is_verified_without_the_server(pack: Any) -> None:
    previous = "0" * 64
    for position, event in enumerate(pack["events"], start=1):
        assert (event["seq"], event["prev_hash"]) == (position, previous)
        said = {key: event[key] for key in ("seq", "type", "at", "actor", "data", "prev_hash")}
        previous = hashlib.sha256(rfc8785.dumps(said | {"run_id": pack["run"]["id"]})).hexdigest()
        assert event["hash"] == previous
    assert pack["head"] == {"seq": len(pack["events"]), "hash": previous}
    assert hashlib.sha256(rfc8785.dumps(pack["definition"]["graph"])).hexdigest() == pack["definition"]["sha256"]
    (task,) = pack["human_tasks"]
    assert hashlib.sha256(rfc8785.dumps(task["payload"])).hexdigest() == task["payload_sha256"]
    (decision,) = pack["decisions"]
    assert decision["payload_sha256"] == task["payload_sha256"]
    assert pack["anchors"] == []


def test_a_long_log_arrives_whole(api: Api) -> None:
    ana = api.as_("ana")
    run = api.as_("portal").start("expense", {"amount": 1})
    for number in range(210):
        api.engine.comment(_uuid(run["human_tasks"][0]), text=f"{number}", by=api.principals["ana"])
    pack = api.as_("admin").ok(api.as_("admin").get(f"/runs/{run['id']}/audit"))
    assert [event["seq"] for event in pack["events"]] == list(range(1, 213))
    assert len(ana.task(run)["comments"]) == 210


@pytest.mark.parametrize("name", ["portal", "ana", "author", "nobody"])
def test_audit_takes_a_role(api: Api, pack: Any, name: str) -> None:
    problem(api.as_(name).get(f"/runs/{pack['run']['id']}/audit"), 403, "forbidden")
    problem(api.as_(name).get("/audit/verification"), 403, "forbidden")


def test_there_is_no_evidence_of_nothing(api: Api) -> None:
    missing = "00000000-0000-7000-8000-000000000000"
    problem(api.as_("auditor").get(f"/runs/{missing}/audit"), 404, "not_found")
    problem(api.as_("auditor").get(f"/audit/verification?run={missing}"), 404, "not_found")
    problem(api.as_("auditor").get("/audit/verification?run=x"), 422, "invalid")


def test_verification_finds_what_was_changed(api: Api, pack: Any, module_database_url: str) -> None:
    auditor = api.as_("auditor")
    run_id = pack["run"]["id"]
    found = auditor.ok(auditor.get(f"/audit/verification?run={run_id}"))
    assert found == {
        "ok": True,
        "runs": 1,
        "events": len(pack["events"]),
        "first_bad": None,
        "anchored_at": None,
        "unanchored": None,
    }
    with psycopg.connect(module_database_url) as connection:
        connection.execute(
            "UPDATE events SET data = replace(data::text, '¿?', '!!')::json WHERE run_id = %s AND seq = 3", (run_id,)
        )
    bad = auditor.ok(auditor.get(f"/audit/verification?run={run_id}"))
    assert (bad["ok"], bad["first_bad"]["run"], bad["first_bad"]["seq"]) == (False, run_id, 3)
    assert auditor.ok(auditor.get("/audit/verification"))["ok"] is False


def _uuid(text: str) -> Any:
    from uuid import UUID

    return UUID(text)
