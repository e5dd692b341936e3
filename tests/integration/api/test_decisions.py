"""Deciding over HTTP: every row of the contract's table."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from tests.integration.api.client import Api, Caller, paths, problem


@pytest.fixture
def task(api: Api) -> Any:
    """An open human task of somebody else's run."""
    run = api.as_("portal").start("expense", {"amount": 12.5, "text": "taxi"})
    return api.as_("ana").task(run)


def test_an_approval_is_recorded_and_the_run_becomes_completed(api: Api, task: Any) -> None:
    response = api.as_("ana").decide(task, "approve", note="fine")
    body = api.as_("ana").ok(response, 201)
    assert body["decision"]["by"]["name"] == "ana"
    assert body["decision"]["note"] == "fine"
    assert body["decision"]["payload_sha256"] == task["payload_sha256"]
    assert body["human_task"]["state"] == "completed"
    assert (body["human_task"]["outcome"], body["human_task"]["decided_by"]) == ("approved", "human")
    assert (body["run"]["status"], body["run"]["outcome"]) == ("completed", "approved")
    assert body["run"]["output"] == {"amount": 12.5, "text": "taxi"}
    assert response.headers["ETag"] == '"1"'


def test_a_rejection_is_an_outcome_and_leaves_no_output(api: Api, task: Any) -> None:
    body = api.as_("ana").ok(api.as_("ana").decide(task, "reject", note="no receipt"), 201)
    assert (body["run"]["status"], body["run"]["outcome"]) == ("completed", "rejected")
    assert body["run"]["output"] is None


def test_an_edit_is_what_goes_on(api: Api, task: Any) -> None:
    body = api.as_("ana").ok(api.as_("ana").decide(task, "approve", patch={"amount": 10}), 201)
    assert body["run"]["output"] == {"amount": 10, "text": "taxi"}
    assert body["human_task"]["payload"] == {"amount": 12.5, "text": "taxi"}


def test_if_match_says_what_was_seen(api: Api, task: Any) -> None:
    ana = api.as_("ana")
    read = ana.get(f"/human-tasks/{task['id']}")
    url = f"/human-tasks/{task['id']}/decisions"
    body = ana.ok(ana.post(url, {"decision": "approve"}, headers={"If-Match": read.headers["ETag"]}), 201)
    assert body["decision"]["revision"] == 1


def test_a_weak_entity_tag_names_the_same_revision(api: Api, task: Any) -> None:
    url = f"/human-tasks/{task['id']}/decisions"
    response = api.as_("ana").post(url, {"decision": "approve"}, headers={"If-Match": 'W/"1"'})
    assert response.status_code == 201


@pytest.mark.parametrize("headers", [{}, {"If-Match": "*"}, {"If-Match": '"1", "2"'}])
def test_whoever_does_not_say_what_they_saw_is_asked_to(api: Api, task: Any, headers: dict[str, str]) -> None:
    response = api.as_("ana").post(f"/human-tasks/{task['id']}/decisions", {"decision": "approve"}, headers=headers)
    problem(response, 428, "precondition_required")


def test_if_match_with_any_adds_nothing_to_a_body_that_says_what_was_seen(api: Api, task: Any) -> None:
    api.as_("ana").ok(api.as_("ana").decide(task, "approve", headers={"If-Match": "*"}), 201)


def test_if_match_without_an_entity_tag_is_malformed(api: Api, task: Any) -> None:
    response = api.as_("ana").post(
        f"/human-tasks/{task['id']}/decisions", {"decision": "approve"}, headers={"If-Match": "1"}
    )
    problem(response, 400, "malformed")


@pytest.mark.parametrize("tag", ['"2"', '"0"', '"abc"', '"1" '.strip().replace("1", "99999999999999")])
def test_another_revision_than_the_one_shown_is_stale(api: Api, task: Any, tag: str) -> None:
    response = api.as_("ana").post(
        f"/human-tasks/{task['id']}/decisions", {"decision": "approve"}, headers={"If-Match": tag}
    )
    found = problem(response, 412, "stale_view")
    assert found["current"] == {"revision": 1, "payload_sha256": task["payload_sha256"]}


def test_another_payload_than_the_one_shown_is_stale(api: Api, task: Any) -> None:
    found = problem(api.as_("ana").decide(task | {"payload_sha256": "0" * 64}, "approve"), 412, "stale_view")
    assert found["current"]["payload_sha256"] == task["payload_sha256"]


def test_saying_the_same_again_gets_the_first_answer_again(api: Api, task: Any) -> None:
    ana = api.as_("ana")
    first = ana.ok(ana.decide(task, "approve"), 201)
    again = ana.decide(task, "approve")
    assert again.status_code == 200
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.get_json()["decision"] == first["decision"]
    assert "Idempotent-Replayed" not in api.as_("ana").get(f"/human-tasks/{task['id']}").headers


def test_an_idempotency_key_stands_for_one_request(api: Api, task: Any) -> None:
    ana = api.as_("ana")
    first = ana.ok(ana.decide(task, "approve", headers={"Idempotency-Key": "k-1"}), 201)
    again = ana.decide(task, "approve", headers={"Idempotency-Key": "k-1"})
    assert (again.status_code, again.get_json()["decision"]["id"]) == (200, first["decision"]["id"])
    other = ana.decide(task, "approve", note="else", headers={"Idempotency-Key": "k-1"})
    problem(other, 422, "idempotency_mismatch")


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
def test_an_idempotency_key_is_bounded_printable_ascii(api: Api, task: Any, key: str) -> None:
    response = api.as_("ana").decide(
        task, "approve", headers={"Idempotency-Key": key.encode("latin-1").decode("latin-1")}
    )
    assert paths(problem(response, 422, "invalid")) == {"Idempotency-Key"}


def test_one_key_five_times_at_once_has_one_effect(api: Api, task: Any) -> None:
    barrier = threading.Barrier(5)
    answers: list[tuple[int, str]] = []

    def send() -> None:
        barrier.wait(timeout=10)
        response = api.as_("ana").decide(task, "approve", headers={"Idempotency-Key": f"race-{task['id']}"})
        answers.append((response.status_code, response.get_json()["decision"]["id"]))

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _ in answers) == [200, 200, 200, 200, 201]
    assert len({decision for _, decision in answers}) == 1


@pytest.mark.parametrize("name", ["portal", "robot"])
def test_only_a_person_decides(api: Api, task: Any, name: str) -> None:
    problem(api.as_(name).decide(task, "approve"), 403, "not_human")


def test_who_started_the_run_does_not_decide_it(api: Api) -> None:
    sam = api.as_("sam")
    task = sam.task(sam.start("expense", {"amount": 1}))
    problem(sam.decide(task, "approve"), 403, "four_eyes")


@pytest.mark.parametrize("name", ["zoe", "admin", "auditor", "nobody"])
def test_who_was_not_asked_does_not_decide(api: Api, task: Any, name: str) -> None:
    problem(api.as_(name).decide(task, "approve"), 403, "not_candidate")


def test_there_is_nothing_to_decide_where_there_is_no_human_task(api: Api, task: Any) -> None:
    missing = task | {"id": "00000000-0000-7000-8000-000000000000"}
    problem(api.as_("ana").decide(missing, "approve"), 404, "not_found")


def test_a_late_decision_is_told_who_won(api: Api, task: Any) -> None:
    api.as_("ana").ok(api.as_("ana").decide(task, "approve"), 201)
    found = problem(api.as_("sam").decide(task, "reject", note="no"), 409, "already_decided")
    assert found["winner"]["by"]["name"] == "ana"
    assert (found["winner"]["decision"], found["winner"]["state"]) == ("approve", "completed")
    assert found["winner"]["at"].endswith("Z")


def test_a_canceled_human_task_takes_no_decision(api: Api, task: Any) -> None:
    api.as_("admin").ok(api.as_("admin").post(f"/runs/{task['run_id']}/cancel", {"reason": "wrong"}))
    found = problem(api.as_("ana").decide(task, "approve"), 409, "already_decided")
    assert found["winner"]["state"] == "canceled"
    assert found["winner"]["by"]["name"] == "admin"
    late = problem(api.as_("ana").put(f"/human-tasks/{task['id']}/claim"), 409, "already_decided")
    assert late["winner"] == found["winner"]


def test_late_comes_before_stale_and_both_before_a_bad_patch(api: Api, task: Any) -> None:
    stale = task | {"payload_sha256": "0" * 64}
    ana, sam = api.as_("ana"), api.as_("sam")
    problem(ana.decide(stale, "dance", patch={"text": "x"}), 412, "stale_view")
    ana.ok(ana.decide(task, "approve"), 201)
    problem(sam.decide(stale, "dance", patch={"text": "x"}), 409, "already_decided")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"decision": "dance"}, "/decision"),
        ({"decision": "reject"}, "/note"),
        ({"decision": "reject", "note": "  "}, "/note"),
        ({"decision": "approve", "patch": {"text": "x"}}, "/patch/text"),
        ({"decision": "approve", "patch": {"amount": -1}}, "/patch/amount"),
        ({"decision": "approve", "patch": {"amount": "1"}}, "/patch/amount"),
        ({"decision": "approve", "patch": [1]}, "/patch"),
        ({"decision": "approve", "note": "x" * 10_001}, "/note"),
        ({"decision": "approve", "reason": "x" * 201}, "/reason"),
        ({"decision": "approve", "colour": "red"}, "/colour"),
        ({"decision": 5}, "/decision"),
        ({"note": "x"}, "/decision"),
        ({"decision": "approve", "payload_sha256": "abc"}, "/payload_sha256"),
    ],
)
def test_a_bad_field_is_named(api: Api, task: Any, body: dict[str, Any], path: str) -> None:
    send = {"payload_sha256": task["payload_sha256"]} | body
    response = api.as_("ana").post(f"/human-tasks/{task['id']}/decisions", send)
    assert path in paths(problem(response, 422, "invalid"))
    assert api.as_("ana").ok(api.as_("ana").get(f"/human-tasks/{task['id']}"))["state"] == "open"


def test_an_option_of_the_gates_own_is_its_own_outcome(api: Api, task: Any) -> None:
    body = api.as_("ana").ok(api.as_("ana").decide(task, "escalate"), 201)
    assert (body["human_task"]["outcome"], body["run"]["status"]) == ("escalate", "failed")
    assert set(body["run"]["error"]) == {"code", "message", "step", "attempt"}


QUORUM = """
workflow: quorum
steps:
  - gate: both
    reviewers: [leads, managers]
    approvals: 2
    blind: true
"""


def _quorum(api: Api) -> Any:
    api.as_("author").register(QUORUM, "quorum")
    return api.as_("ana").task(api.as_("portal").start("quorum", {"x": 1}))


def test_a_quorum_needs_distinct_people(api: Api) -> None:
    task = _quorum(api)
    ana, max_ = api.as_("ana"), api.as_("max")
    first = ana.ok(ana.decide(task, "approve"), 201)
    assert first["human_task"]["quorum"] == {"required": 2, "approvals": 1}
    assert first["run"]["status"] == "waiting"
    problem(ana.decide(task, "reject", note="changed my mind"), 409, "already_voted")
    second = max_.ok(max_.decide(task, "approve"), 201)
    assert second["human_task"]["quorum"] == {"required": 2, "approvals": 2}
    assert second["run"]["status"] == "completed"


def test_a_blind_gate_keeps_what_others_said_until_it_is_decided(api: Api) -> None:
    task = _quorum(api)
    ana, max_ = api.as_("ana"), api.as_("max")
    ana.ok(ana.decide(task, "approve", note="secret"), 201)

    seen = max_.ok(max_.get(f"/human-tasks/{task['id']}"))
    assert (seen["decisions"], seen["quorum"]["approvals"]) == ([], 0)
    assert [said["by"]["name"] for said in ana.ok(ana.get(f"/human-tasks/{task['id']}"))["decisions"]] == ["ana"]
    assert "secret" not in max_.get(f"/human-tasks?run={task['run_id']}").text
    log = max_.get(f"/runs/{task['run_id']}/events")
    assert "secret" not in log.text
    assert [event["type"] for event in log.get_json()["items"] if event.get("withheld")] == ["decision.recorded"]
    assert "secret" in api.as_("auditor").get(f"/runs/{task['run_id']}/events").text

    max_.ok(max_.decide(task, "approve"), 201)
    assert "secret" in max_.get(f"/human-tasks/{task['id']}").text
    assert "secret" in max_.get(f"/runs/{task['run_id']}/events").text


def test_the_evidence_of_an_open_blind_gate_is_kept_from_an_auditor_who_may_decide_it(api: Api) -> None:
    api.add("both", kind="user", groups=("leads",), roles=("auditor",))
    task = _quorum(api)
    ana, max_, pack = api.as_("ana"), api.as_("max"), f"/runs/{task['run_id']}/audit"
    api.as_("both").ok(api.as_("both").get(pack))  # nothing has been said yet
    ana.ok(ana.decide(task, "approve", note="secret"), 201)
    assert problem(api.as_("both").get(pack), 409, "blind_gate_open")["fix"]
    assert "secret" in api.as_("auditor").get(pack).text
    max_.ok(max_.decide(task, "approve"), 201)
    assert "secret" in api.as_("both").get(pack).text


def test_who_comes_second_to_a_blind_gate_in_its_grace_is_not_told_what_was_said(api: Api) -> None:
    api.as_("author").register(
        QUORUM.replace("workflow: quorum", "workflow: slow-quorum") + "    grace: 10m\n", "slow-quorum"
    )
    ana, max_ = api.as_("ana"), api.as_("max")
    task = ana.task(api.as_("portal").start("slow-quorum", {"x": 1}))
    ana.ok(ana.decide(task, "reject", note="no receipt"), 201)
    late = problem(max_.decide(task, "approve"), 409, "already_decided")["winner"]
    assert (late["by"]["name"], late["decision"]) == ("a reviewer", None)
    own = problem(ana.decide(task, "approve"), 409, "already_decided")["winner"]
    assert (own["by"]["name"], own["decision"]) == ("ana", "reject")


def _names_ana(caller: Any, path: str) -> bool:
    return re.search(r"\bana\b", caller.get(path).text) is not None


EDITABLE_QUORUM = QUORUM.replace("workflow: quorum", "workflow: edited-quorum") + "    editable: [x]\n"


def test_who_edited_at_a_blind_gate_is_not_named_until_it_is_decided(api: Api) -> None:
    api.as_("author").register(EDITABLE_QUORUM, "edited-quorum")
    ana, max_ = api.as_("ana"), api.as_("max")
    task = ana.task(api.as_("portal").start("edited-quorum", {"x": 1}))
    ana.ok(ana.decide(task, "approve", patch={"x": 2}), 201)

    places = (f"/human-tasks/{task['id']}", f"/human-tasks?run={task['run_id']}", f"/runs/{task['run_id']}/events")
    assert not [place for place in places if _names_ana(max_, place)]
    log = max_.get(places[2]).get_json()["items"]
    assert [event["type"] for event in log if event.get("withheld")] == ["decision.recorded", "gate.revised"]
    assert {event["actor"]["name"] for event in log if event.get("withheld")} == {"a reviewer"}
    assert _names_ana(api.as_("auditor"), places[2])

    task = max_.ok(max_.get(places[0]))
    max_.ok(max_.decide(task, "approve"), 201)
    assert _names_ana(max_, places[0])
    assert _names_ana(max_, places[2])


class TestBulk:
    def test_each_item_stands_or_fails_on_its_own(self, api: Api) -> None:
        ana = api.as_("ana")
        tasks = [ana.task(api.as_("portal").start("expense", {"amount": amount})) for amount in (1, 2, 3)]
        own = ana.task(ana.start("expense", {"amount": 4}))
        items = [{"id": task["id"], "payload_sha256": task["payload_sha256"]} for task in [*tasks, own]]
        items[1]["payload_sha256"] = "0" * 64
        missing = {"id": "00000000-0000-7000-8000-000000000000", "payload_sha256": "0" * 64}
        body = ana.ok(ana.post("/bulk-decisions", {"decision": "reject", "note": "no", "items": [*items, missing]}))
        assert [item["status"] for item in body["items"]] == [201, 412, 201, 403, 404]
        assert [item["id"] for item in body["items"]] == [item["id"] for item in [*items, missing]]
        assert body["items"][1]["problem"]["code"] == "stale_view"
        assert body["items"][3]["problem"]["code"] == "four_eyes"
        assert {item["decision"]["bulk_id"] for item in body["items"] if item["decision"]} == {body["bulk_id"]}
        log = ana.ok(ana.get(f"/runs/{tasks[0]['run_id']}/events"))["items"]
        assert body["bulk_id"] in [event["data"].get("bulk_id") for event in log]

    def test_approving_in_bulk_is_for_gates_that_allow_it(self, api: Api, task: Any) -> None:
        item = {"id": task["id"], "payload_sha256": task["payload_sha256"]}
        body = api.as_("ana").ok(api.as_("ana").post("/bulk-decisions", {"decision": "approve", "items": [item]}))
        assert (body["items"][0]["status"], body["items"][0]["problem"]["code"]) == (409, "not_in_bulk")

    def test_a_bulk_is_capped(self, api: Api, task: Any) -> None:
        item = {"id": task["id"], "payload_sha256": task["payload_sha256"]}
        for items in ([], [item] * 21, [item] * 201):
            response = api.as_("ana").post("/bulk-decisions", {"decision": "reject", "note": "n", "items": items})
            assert "/items" in paths(problem(response, 422, "invalid"))

    def test_a_service_decides_none_of_them(self, api: Api, task: Any) -> None:
        item = {"id": task["id"], "payload_sha256": task["payload_sha256"]}
        caller: Caller = api.as_("portal")
        body = caller.ok(caller.post("/bulk-decisions", {"decision": "reject", "note": "n", "items": [item]}))
        assert [item["status"] for item in body["items"]] == [403]
