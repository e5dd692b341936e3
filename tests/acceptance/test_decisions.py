"""The table of what a decision is answered, row by row, against a running API."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.acceptance.caller import Answer, Caller

pytestmark = pytest.mark.xdist_group("acceptance")

CLAIMS = """
workflow: claims
input:
  type: object
  properties:
    amount: {type: number, minimum: 0, maximum: 5000}
    text: {type: string}
  required: [amount]
steps:
  - gate: settle
    reviewers: support-leads
    editable: [amount]
    options: [approve, reject, defer]
    on_defer: continue
"""
NOWHERE = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
def task(admin: Caller, requester: Caller) -> Any:
    """An open human task of a service's run."""
    admin.register(CLAIMS)
    return admin.task(requester.start("claims", {"amount": 12.5, "text": "taxi"}))


def decisions(task: Any) -> str:
    return f"/human-tasks/{task['id']}/decisions"


def test_201_says_what_was_recorded_and_what_became_of_it(task: Any, ana: Caller) -> None:
    answer = ana.decide(task, "approve", note="fine", reason="receipt seen")
    said = answer.ok(201)
    assert answer.headers["ETag"] == '"1"'
    assert not answer.replayed
    assert said["decision"] | {"id": None, "at": None} == {
        "id": None,
        "human_task_id": task["id"],
        "decision": "approve",
        "note": "fine",
        "reason": "receipt seen",
        "patch": None,
        "by": said["decision"]["by"],
        "revision": 1,
        "payload_sha256": task["payload_sha256"],
        "bulk_id": None,
        "on_behalf_of": None,
        "delegation_id": None,
        "withdrawn": False,
        "at": None,
    }
    assert (said["human_task"]["state"], said["run"]["status"]) == ("completed", "completed")


def test_200_for_the_same_words_of_the_same_person_again(task: Any, ana: Caller, sam: Caller) -> None:
    first = ana.decide(task, "approve").ok(201)
    again = ana.decide(task, "approve")
    assert (again.ok(200)["decision"], again.replayed) == (first["decision"], True)
    # Another person's same words are no repetition.
    sam.decide(task, "approve").problem(409, "already_decided")


def test_200_for_the_same_idempotency_key_and_422_for_it_with_another_body(task: Any, ana: Caller) -> None:
    headers = {"Idempotency-Key": f"key-{task['id']}"}
    first = ana.decide(task, "approve", headers=headers).ok(201)
    again = ana.decide(task, "approve", headers=headers)
    assert (again.ok(200)["decision"]["id"], again.replayed) == (first["decision"]["id"], True)
    ana.decide(task, "approve", note="changed", headers=headers).problem(422, "idempotency_mismatch")


@pytest.mark.parametrize(
    ("name", "code"),
    [("requester", "not_human"), ("max", "not_candidate"), ("admin", "not_candidate"), ("cleo", "not_candidate")],
)
def test_403_for_who_may_not(running: Any, task: Any, name: str, code: str) -> None:
    running.as_(name).decide(task, "approve").problem(403, code)
    assert running.as_("ana").task({"id": task["run_id"]})["state"] == "open"


def test_404_where_there_is_nothing(task: Any, ana: Caller) -> None:
    ana.decide(task | {"id": NOWHERE}, "approve").problem(404, "not_found")
    ana.decide(task | {"id": "what"}, "approve").problem(404, "not_found")


def test_409_names_who_won(task: Any, ana: Caller, sam: Caller) -> None:
    said = ana.decide(task, "approve").ok(201)
    late = sam.decide(task, "reject", note="no").problem(409, "already_decided")
    assert late["winner"] == {
        "by": said["decision"]["by"],
        "decision": "approve",
        "state": "completed",
        "outcome": "approved",
        "decided_by": "human",
        "at": said["human_task"]["completed_at"],
    }


def test_409_for_a_canceled_one(task: Any, admin: Caller, ana: Caller) -> None:
    admin.post(f"/runs/{task['run_id']}/cancel", {"reason": "a mistake"}).ok()
    late = ana.decide(task, "approve").problem(409, "already_decided")
    assert late["winner"]["state"] == "canceled"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"payload_sha256": "0" * 64}, {}),
        ({}, {"If-Match": '"2"'}),
        ({"payload_sha256": "0" * 64}, {"If-Match": '"1"'}),
    ],
)
def test_412_with_what_is_there_now(task: Any, ana: Caller, body: dict[str, str], headers: dict[str, str]) -> None:
    answer = ana.post(decisions(task), {"decision": "approve"} | body, headers=headers)
    assert answer.problem(412, "stale_view")["current"] == {
        "revision": 1,
        "payload_sha256": task["payload_sha256"],
    }


def test_428_for_who_does_not_say_what_they_saw(task: Any, ana: Caller) -> None:
    ana.post(decisions(task), {"decision": "approve"}).problem(428, "precondition_required")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"decision": "dance"}, "/decision"),
        ({"decision": "reject"}, "/note"),
        ({"decision": "reject", "note": " "}, "/note"),
        ({"decision": "approve", "patch": {"text": "other"}}, "/patch/text"),
        ({"decision": "approve", "patch": {"amount": -1}}, "/patch/amount"),
        ({"decision": "approve", "patch": {"amount": None}}, "/patch/amount"),
        ({"decision": "approve", "patch": "amount"}, "/patch"),
        ({"decision": "approve", "colour": "red"}, "/colour"),
    ],
)
def test_422_names_the_field(task: Any, ana: Caller, body: dict[str, Any], path: str) -> None:
    answer = ana.post(decisions(task), {"payload_sha256": task["payload_sha256"]} | body)
    assert path in {error["path"] for error in answer.problem(422, "invalid")["errors"]}
    assert ana.task({"id": task["run_id"]})["decisions"] == []


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b'{"decision": "approve", "decision": "reject"}', 400, "malformed"),
        (b'{"decision": NaN}', 400, "malformed"),
        (b"[" * 100 + b"]" * 100, 400, "malformed"),
        (b"not json", 400, "malformed"),
        (b'{"decision": "approve", "note": "' + b"x" * 1_100_000 + b'"}', 413, "body_too_large"),
    ],
)
def test_a_body_that_is_no_request_is_refused(task: Any, ana: Caller, data: bytes, status: int, code: str) -> None:
    answer = ana.send("POST", decisions(task), data=data, headers={"Content-Type": "application/json"})
    answer.problem(status, code)


def test_of_ten_people_at_once_one_decides_and_nine_are_told_who(task: Any, ana: Caller, sam: Caller) -> None:
    barrier = threading.Barrier(10)
    answers: list[Answer] = []

    def speak(at: int) -> None:
        barrier.wait(10)
        person, decision = (ana, "approve") if at % 2 else (sam, "reject")
        answers.append(person.decide(task, decision, note=f"voice {at}"))

    threads = [threading.Thread(target=speak, args=(at,)) for at in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answer.status for answer in answers) == [200] * 4 + [201] + [409] * 5
    winner = next(answer.json["decision"]["by"]["name"] for answer in answers if answer.status == 201)
    assert {answer.json["winner"]["by"]["name"] for answer in answers if answer.status == 409} == {winner}
    run = ana.run({"id": task["run_id"]})
    assert run["outcome"] == ("approved" if winner == "ana" else "rejected")
    assert len(ana.task(run)["decisions"]) == 1
