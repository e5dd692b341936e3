"""What people do with human tasks besides deciding alone: hold, hand on, comment, agree, and keep their hands off."""

from __future__ import annotations

from typing import Any

import pytest
from tests.acceptance.caller import Caller
from tests.acceptance.stack import Stack

pytestmark = pytest.mark.xdist_group("acceptance")

SIMPLE = """
workflow: simple
steps:
  - gate: check
    reviewers: [support-leads, "user:admin"]
"""

QUORUM = """
workflow: quorum
steps:
  - gate: both
    reviewers: [support-leads, support-managers]
    approvals: 2
    editable: [amount]
"""


@pytest.fixture
def task(admin: Caller, requester: Caller) -> Any:
    """An open human task that a service asked for."""
    admin.register(SIMPLE)
    return admin.task(requester.start("simple", {"amount": 5}))


def quorum(admin: Caller, requester: Caller) -> Any:
    admin.register(QUORUM)
    return admin.task(requester.start("quorum", {"amount": 5}))


class TestHolding:
    def test_a_claim_holds_until_it_is_released(self, task: Any, admin: Caller, ana: Caller, sam: Caller) -> None:
        claim = f"/human-tasks/{task['id']}/claim"
        assert ana.put(claim).ok()["assignee"] == "ana"
        assert ana.put(claim).ok()["assignee"] == "ana"
        held = sam.put(claim).problem(409, "claimed")
        assert held["winner"]["by"]["name"] == "ana"
        sam.delete(claim).problem(409, "claimed")
        assert [item["id"] for item in ana.get("/human-tasks", assignee="me", run=task["run_id"]).ok()["items"]] == [
            task["id"]
        ]

        assert ana.delete(claim).ok()["assignee"] is None
        assert sam.put(claim).ok()["assignee"] == "sam"
        assert admin.delete(claim).ok()["assignee"] is None
        kinds = admin.types({"id": task["run_id"]})
        assert kinds[2:] == [
            "human_task.claimed",
            "human_task.released",
            "human_task.claimed",
            "human_task.released",
        ]

    def test_a_claim_by_somebody_else_does_not_keep_a_candidate_from_deciding(
        self, task: Any, ana: Caller, sam: Caller
    ) -> None:
        sam.put(f"/human-tasks/{task['id']}/claim").ok()
        assert ana.decide(task, "approve").ok(201)["run"]["outcome"] == "approved"

    def test_only_candidates_can_be_assigned(self, task: Any, ana: Caller, max_: Caller) -> None:
        assignee = f"/human-tasks/{task['id']}/assignee"
        assert ana.put(assignee, {"assignee": "sam"}).ok()["assignee"] == "sam"
        for nobody in ("max", "requester", "no-such-person"):
            found = ana.put(assignee, {"assignee": nobody}).problem(422, "invalid")
            assert [error["path"] for error in found["errors"]] == ["/assignee"]
        max_.put(assignee, {"assignee": "sam"}).problem(404, "not_found")

    def test_who_is_no_candidate_claims_nothing(self, task: Any, max_: Caller, requester: Caller) -> None:
        claim = f"/human-tasks/{task['id']}/claim"
        max_.put(claim).problem(403, "not_candidate")
        requester.put(claim).problem(403, "not_human")

    def test_a_comment_is_kept_in_the_log_and_shown(self, task: Any, ana: Caller) -> None:
        comments = f"/human-tasks/{task['id']}/comments"
        said = ana.post(comments, {"text": "Is the photo real?"}).ok(201)
        assert (said["by"]["name"], said["text"]) == ("ana", "Is the photo real?")
        assert ana.get(f"/human-tasks/{task['id']}").ok()["comments"] == [said]
        ana.post(comments, {"text": ""}).problem(422, "invalid")

    def test_nobody_holds_what_is_decided(self, task: Any, ana: Caller, sam: Caller) -> None:
        ana.decide(task, "approve").ok(201)
        late = sam.put(f"/human-tasks/{task['id']}/claim").problem(409, "already_decided")
        assert late["winner"]["by"]["name"] == "ana"


class TestQuorum:
    def test_one_person_is_one_voice_however_often_they_speak(
        self, admin: Caller, requester: Caller, ana: Caller, max_: Caller
    ) -> None:
        task = quorum(admin, requester)
        first = ana.decide(task, "approve").ok(201)
        assert (first["human_task"]["quorum"], first["run"]["status"]) == (
            {"required": 2, "approvals": 1},
            "waiting",
        )
        again = ana.decide(task, "approve")
        assert (again.status, again.replayed) == (200, True)
        ana.decide(task, "reject", note="no, wait").problem(409, "already_voted")
        assert ana.task({"id": task["run_id"]})["quorum"]["approvals"] == 1

        second = max_.decide(task, "approve").ok(201)

        assert second["human_task"]["quorum"] == {"required": 2, "approvals": 2}
        assert (second["run"]["status"], second["run"]["outcome"]) == ("completed", "approved")
        assert len(admin.event({"id": task["run_id"]}, "gate.decided")["data"]["decision_ids"]) == 2

    def test_one_rejection_is_enough(self, admin: Caller, requester: Caller, ana: Caller, sam: Caller) -> None:
        task = quorum(admin, requester)
        ana.decide(task, "approve").ok(201)
        assert sam.decide(task, "reject", note="fraud").ok(201)["run"]["outcome"] == "rejected"

    def test_an_edit_is_shown_again_and_voids_what_was_approved_before(
        self, admin: Caller, requester: Caller, ana: Caller, sam: Caller, max_: Caller
    ) -> None:
        task = quorum(admin, requester)
        ana.decide(task, "approve").ok(201)

        edited = sam.decide(task, "approve", patch={"amount": 4}).ok(201)["human_task"]

        assert (edited["revision"], edited["payload"], edited["state"]) == (2, {"amount": 4}, "open")
        assert edited["quorum"]["approvals"] == 1
        max_.decide(task, "approve").problem(412, "stale_view")
        done = max_.decide(edited, "approve").ok(201)
        assert (done["run"]["status"], done["run"]["output"]) == ("completed", {"amount": 4})


class TestHandsOff:
    def test_who_asks_does_not_decide(self, admin: Caller, ana: Caller, sam: Caller) -> None:
        admin.register(SIMPLE)
        own = ana.task(ana.start("simple", {}))
        ana.decide(own, "approve").problem(403, "four_eyes")
        ana.put(f"/human-tasks/{own['id']}/claim").problem(403, "four_eyes")
        ana.put(f"/human-tasks/{own['id']}/assignee", {"assignee": "ana"}).problem(422, "invalid")
        sam.decide(own, "approve").ok(201)

    def test_a_gate_may_let_them(self, admin: Caller, ana: Caller) -> None:
        admin.register(SIMPLE.replace("simple", "two-eyes") + "    four_eyes: false\n")
        ana.decide(ana.task(ana.start("two-eyes", {})), "approve").ok(201)

    def test_a_service_and_an_agent_never_decide_whatever_they_are_called(
        self, running: Stack, task: Any, requester: Caller
    ) -> None:
        requester.decide(task, "approve").problem(403, "not_human")
        running.signoff(
            "principal", "add", "robot", "--kind", "agent", "--group", "support-leads", "--role", "reviewer"
        )
        key = running.signoff("key", "create", "robot").split()[-1]
        robot = Caller(requester.api_url, key)
        robot.decide(task, "approve").problem(403, "not_human")
        robot.put(f"/human-tasks/{task['id']}/claim").problem(403, "not_human")
        items = [{"id": task["id"], "payload_sha256": task["payload_sha256"]}]
        bulk = robot.post("/bulk-decisions", {"decision": "reject", "note": "no", "items": items}).ok()
        assert [item["status"] for item in bulk["items"]] == [403]

    def test_who_was_not_asked_sees_nothing(self, task: Any, running: Stack) -> None:
        uma = running.as_("uma")
        uma.get(f"/human-tasks/{task['id']}").problem(404, "not_found")
        uma.get(f"/runs/{task['run_id']}").problem(404, "not_found")
        uma.get(f"/runs/{task['run_id']}/events").problem(404, "not_found")
        uma.post(f"/runs/{task['run_id']}/cancel", {"reason": "mine"}).problem(404, "not_found")
        assert uma.get("/human-tasks", run=task["run_id"]).ok()["items"] == []
        uma.get(f"/runs/{task['run_id']}/audit").problem(403, "forbidden")

    def test_without_a_key_there_is_nothing_at_all(self, task: Any, running: Stack) -> None:
        stranger = running.as_(None)
        for path in ("/runs", "/human-tasks", "/workflows", f"/human-tasks/{task['id']}", "/audit/verification"):
            stranger.get(path).problem(401, "unauthenticated")
        stranger.decide(task, "approve").problem(401, "unauthenticated")


class TestBulk:
    def test_each_human_task_gets_a_decision_of_its_own_under_one_id(
        self, admin: Caller, requester: Caller, ana: Caller
    ) -> None:
        admin.register(SIMPLE)
        tasks = [admin.task(requester.start("simple", {"amount": amount})) for amount in range(3)]
        own = ana.task(ana.start("simple", {}))
        items = [{"id": task["id"], "payload_sha256": task["payload_sha256"]} for task in [*tasks, own]]
        items[1]["payload_sha256"] = "0" * 64
        bulk = {"decision": "reject", "note": "the shop is closed", "items": items}

        first = ana.post("/bulk-decisions", bulk).ok()

        assert [item["status"] for item in first["items"]] == [201, 412, 201, 403]
        for task in (tasks[0], tasks[2]):
            run = admin.run({"id": task["run_id"]})
            assert (run["status"], run["outcome"]) == ("completed", "rejected")
            assert admin.event(run, "decision.recorded")["data"]["bulk_id"] == first["bulk_id"]
        assert admin.run({"id": own["run_id"]})["status"] == "waiting"
        assert [item["status"] for item in ana.post("/bulk-decisions", bulk).ok()["items"]] == [200, 412, 200, 403]

    def test_approving_many_at_once_takes_a_gate_that_allows_it(
        self, admin: Caller, requester: Caller, ana: Caller
    ) -> None:
        admin.register(SIMPLE)
        admin.register(SIMPLE.replace("simple", "simple-bulk") + "    bulk: true\n")
        tasks = [admin.task(requester.start(name, {})) for name in ("simple", "simple-bulk")]
        items = [{"id": task["id"], "payload_sha256": task["payload_sha256"]} for task in tasks]
        found = ana.post("/bulk-decisions", {"decision": "approve", "items": items}).ok()["items"]
        assert [item["status"] for item in found] == [409, 201]
        assert found[0]["problem"]["code"] == "not_in_bulk"

    def test_there_is_a_cap(self, task: Any, ana: Caller) -> None:
        items = [{"id": task["id"], "payload_sha256": task["payload_sha256"]}] * 21
        ana.post("/bulk-decisions", {"decision": "reject", "note": "no", "items": items}).problem(422, "invalid")
