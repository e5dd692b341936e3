"""The log can be checked by who does not trust us: this module recomputes it with nothing of ours."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import rfc8785
from tests.acceptance.caller import Caller
from tests.acceptance.stack import Stack

pytestmark = pytest.mark.xdist_group("acceptance")


def digest(value: Any) -> str:
    """SHA-256 over the RFC 8785 form, by the library and not by our faster way to the same bytes."""
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def assert_chained(run_id: str, events: list[Any]) -> str:
    """Recompute each event's hash from what it says and the hash before it; the last hash."""
    previous = "0" * 64
    for at, event in enumerate(events, start=1):
        assert event["seq"] == at
        assert event["prev_hash"] == previous
        said = {key: event[key] for key in ("seq", "type", "at", "actor", "data", "prev_hash")}
        assert event["hash"] == digest(said | {"run_id": run_id}), event
        previous = event["hash"]
    return previous


@pytest.fixture
def decided(requester: Caller, ana: Caller, sam: Caller) -> Any:
    """A run with a bit of everything that text and numbers can be in its log."""
    run = requester.start("letters", {"text": "Grüße, 1.0 € \u2028 \U0001f600", "rate": 1e-7, "big": 2**53 - 1})
    task = ana.parked(run)
    ana.put(f"/human-tasks/{task['id']}/claim").ok()
    ana.post(f"/human-tasks/{task['id']}/comments", {"text": "naïve “quotes”\n\ttab"}).ok(201)
    ana.delete(f"/human-tasks/{task['id']}/claim").ok()
    sam.decide(task, "approve", patch={"words": 12}, note="é").ok(201)
    return requester.until(run, "completed")


def test_the_chain_of_a_log_adds_up_by_the_documented_rule(admin: Caller, decided: Any) -> None:
    events = admin.events(decided)
    assert_chained(decided["id"], events)
    assert len(events) == len({event["hash"] for event in events}) == 9
    opened = admin.event(decided, "gate.opened")
    payload = next(event["data"]["output"] for event in events if event["type"] == "step.completed")
    assert opened["data"]["payload_sha256"] == digest(payload)
    outcome = admin.event(decided, "gate.decided")["data"]
    assert outcome["output_sha256"] == digest(decided["output"])
    assert decided["output"] == payload | {"words": 12}


def test_a_changed_event_would_not_add_up(admin: Caller, decided: Any) -> None:
    events = admin.events(decided)
    events[4]["data"] = {**events[4]["data"], "forged": True}
    with pytest.raises(AssertionError):
        assert_chained(decided["id"], events)


def test_the_log_can_be_read_from_any_place(admin: Caller, decided: Any) -> None:
    events = admin.events(decided)
    page = admin.get(f"/runs/{decided['id']}/events", after=3, limit=2).ok()
    assert page["items"] == events[3:5]
    assert admin.get(f"/runs/{decided['id']}/events", after=len(events)).ok() == {"items": [], "next_cursor": None}


def test_the_pack_holds_all_the_evidence_and_verifies_offline(running: Stack, decided: Any) -> None:
    pack = running.as_("cleo").get(f"/runs/{decided['id']}/audit").ok()

    last = assert_chained(decided["id"], pack["events"])
    assert pack["head"] == {"seq": len(pack["events"]), "hash": last}
    assert pack["definition"]["sha256"] == digest(pack["definition"]["graph"])
    assert pack["events"][0]["data"]["sha256"] == pack["definition"]["sha256"]
    assert [task["id"] for task in pack["human_tasks"]] == decided["human_tasks"]
    task = pack["human_tasks"][0]
    assert task["payload_sha256"] == digest(task["payload"])
    assert [(said["by"]["name"], said["decision"]) for said in pack["decisions"]] == [("sam", "approve")]
    assert pack["run"]["output"] == decided["output"]
    assert "RFC 8785" in pack["verify"]


def test_the_server_verifies_one_run_and_all_of_them(running: Stack, decided: Any) -> None:
    cleo = running.as_("cleo")
    one = cleo.get("/audit/verification", run=decided["id"]).ok()
    assert (one["ok"], one["runs"], one["events"], one["first_bad"]) == (True, 1, 9, None)
    everything = cleo.get("/audit/verification").ok()
    assert everything["ok"] is True
    assert everything["runs"] > 1
    running.as_("ana").get("/audit/verification").problem(403, "forbidden")
