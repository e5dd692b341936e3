"""The three patterns from start to end, each by its example, as its users see them."""

from __future__ import annotations

import pytest
from tests.acceptance.caller import Caller
from tests.acceptance.stack import Stack

pytestmark = pytest.mark.xdist_group("acceptance")


CLEAR = {
    "application_id": "L-1",
    "amount": 1000,
    "duration_months": 12,
    "purpose": "A43",
    "checking": "A14",
    "history": "A34",
    "savings": "A65",
    "employment": "A75",
    "other_plans": "A143",
}
UNCLEAR = CLEAR | {"application_id": "L-2", "amount": 6000, "checking": "A11", "history": "A30", "employment": "A71"}


def complaint(order: str, paid: str = "640") -> dict[str, str]:
    return {"order_id": order, "text": "It arrived broken.", "paid": paid}


class TestApproveBeforeAnIrreversibleAction:
    def test_nothing_is_paid_before_a_person_approves_and_then_what_they_saw(
        self, admin: Caller, requester: Caller, ana: Caller
    ) -> None:
        run = requester.start("refund", complaint("A-1"), labels={"shop": "north"})
        task = ana.parked(run)

        assert task["title"] == "Refund 640.00 for A-1"
        assert task["why"] == "amount > 100.0 (amount is 640.00)"
        assert task["candidates"] == {"users": [], "groups": ["support-leads"]}
        assert task["consequences"]["approve"] == "Pays 640.00 now. This cannot be undone."
        assert task["recommendation"] == {"value": task["payload"]["reply"], "score": task["payload"]["confidence"]}
        assert task["context"]["input"] == complaint("A-1")
        assert set(task["context"]["outputs"]) == {"analyse", "draft"}
        assert task["context"]["outputs"]["draft"] == task["payload"]
        assert "run.completed" not in admin.types(run)

        said = ana.decide(task, "approve", note="the photos show it").ok(201)
        assert (said["decision"]["by"]["name"], said["human_task"]["decided_by"]) == ("ana", "human")

        done = requester.until(run, "completed")
        assert (done["outcome"], done["output"]) == ("approved", {"payment_id": "pay_A-1_640.00"})
        assert (done["current_node"], done["error"], done["labels"]) == (None, None, {"shop": "north"})
        assert admin.types(run) == [
            "run.created",
            "step.completed",
            "step.completed",
            "gate.opened",
            "decision.recorded",
            "gate.decided",
            "step.completed",
            "run.completed",
        ]

    def test_an_edit_is_what_is_paid(self, requester: Caller, ana: Caller) -> None:
        run = requester.start("refund", complaint("A-2"))
        task = ana.parked(run)

        said = ana.decide(task, "approve", patch={"amount": "40.00"}).ok(201)

        assert said["human_task"]["payload"]["amount"] == "640.00"
        assert said["decision"]["patch"] == {"amount": "40.00"}
        done = requester.until(run, "completed")
        assert done["output"] == {"payment_id": "pay_A-2_40.00"}

    def test_a_rejection_takes_its_branch_and_nothing_is_paid(
        self, admin: Caller, requester: Caller, ana: Caller
    ) -> None:
        run = requester.start("refund", complaint("A-3"))

        ana.decide(ana.parked(run), "reject", note="no such order").ok(201)

        done = requester.until(run, "completed")
        assert (done["outcome"], done["output"]) == ("rejected", None)
        steps = [event["data"]["step"] for event in admin.events(run) if event["type"] == "step.completed"]
        assert steps == ["analyse", "draft", "apologise"]

    def test_a_request_for_changes_brings_another_draft_to_the_same_human_task(
        self, admin: Caller, requester: Caller, ana: Caller, sam: Caller
    ) -> None:
        run = requester.start("refund", complaint("A-4"))
        first = ana.parked(run)
        assert ana.get(f"/human-tasks/{first['id']}").headers["ETag"] == '"1"'

        asked = ana.decide(first, "request_changes", note="offer 120").ok(201)
        assert asked["human_task"]["outcome"] == "changes_requested"

        second = ana.parked(run)
        assert (second["id"], second["revision"], second["state"]) == (first["id"], 2, "open")
        assert second["payload"]["amount"] == "120.00"
        assert ana.get(f"/human-tasks/{first['id']}").headers["ETag"] == '"2"'
        stale = sam.decide(first, "approve").problem(412, "stale_view")
        assert stale["current"] == {"revision": 2, "payload_sha256": second["payload_sha256"]}
        path = f"/human-tasks/{first['id']}/decisions"
        sam.post(path, {"decision": "approve"}, headers={"If-Match": '"1"'}).problem(412, "stale_view")

        sam.post(path, {"decision": "approve"}, headers={"If-Match": '"2"'}).ok(201)
        done = requester.until(run, "completed")
        assert done["output"] == {"payment_id": "pay_A-4_120.00"}
        assert done["human_tasks"] == [first["id"]]
        kinds = admin.types(run)
        assert (kinds.count("gate.opened"), kinds.count("gate.revised"), kinds.count("gate.decided")) == (1, 1, 2)

    def test_a_complaint_without_its_fields_is_refused_with_the_path_of_each(self, requester: Caller) -> None:
        bad = {"order_id": "", "paid": "-1"}
        answer = requester.post("/runs", {"workflow": "refund", "input": bad})
        found = answer.problem(422, "invalid")
        assert {error["path"] for error in found["errors"]} == {"/input/order_id", "/input/paid", "/input/text"}


class TestReviewOnThreshold:
    def test_a_small_refund_is_passed_by_policy_with_the_values_it_saw(self, admin: Caller, requester: Caller) -> None:
        run = requester.start("refund", complaint("A-5", paid="42"))

        done = requester.until(run, "completed")

        assert (done["outcome"], done["output"]) == ("approved", {"payment_id": "pay_A-5_42.00"})
        assert done["human_tasks"] == []
        passed = admin.event(run, "gate.passed")["data"]
        assert passed["decided_by"] == "policy"
        assert passed["rule"] == "amount > 100.0 || confidence < 0.85"
        assert passed["values"] == {"amount": "42.00", "confidence": 0.9}

    def test_the_card_passes_a_clear_application_and_the_log_says_by_which_rule(
        self, admin: Caller, requester: Caller
    ) -> None:
        done = requester.until(requester.start("loan", CLEAR), "completed")

        assert (done["outcome"], done["human_tasks"]) == ("approved", [])
        assert done["output"]["monthly"]
        passed = admin.event(done, "gate.passed")["data"]
        assert (passed["decided_by"], passed["rule"]) == ("policy", "score < 85")
        assert passed["values"]["score"] >= 85

    def test_the_rest_waits_for_an_underwriter_who_may_change_the_terms(
        self, running: Stack, admin: Caller, requester: Caller, ana: Caller
    ) -> None:
        run = requester.start("loan", UNCLEAR)
        uma = running.as_("uma")
        task = uma.parked(run)
        assert task["payload"]["score"] < 85
        assert task["why"] == f"score < 85 (score is {task['payload']['score']})"
        assert task["recommendation"] == {"value": task["payload"]["advice"], "score": task["payload"]["score"]}
        ana.decide(task, "approve").problem(403, "not_candidate")

        uma.decide(task, "approve", patch={"amount": 3000, "duration_months": 36}).ok(201)

        requester.until(run, "completed")
        decided = [event["data"] for event in admin.events(run) if event["type"] == "step.completed"]
        terms = next(event["output"] for event in decided if event["step"] == "decide_terms")
        assert (terms["amount"], terms["duration_months"]) == (3000, 36)

    def test_who_is_declined_gets_a_letter_with_reasons(self, running: Stack, requester: Caller) -> None:
        run = requester.start("loan", UNCLEAR)
        uma = running.as_("uma")
        uma.decide(uma.parked(run), "reject", note="no income that would carry it").ok(201)
        done = requester.until(run, "completed")
        assert done["outcome"] == "rejected"
        assert done["output"]["text"]


class TestAuditTrailWithAsynchronousReview:
    def article(self, slug: str) -> dict[str, str]:
        return {"slug": slug, "title": "Spring sale", "body": "Guaranteed from Monday."}

    def test_the_run_does_not_wait_and_an_approval_afterwards_closes_the_review(
        self, running: Stack, admin: Caller, requester: Caller
    ) -> None:
        run = requester.start("publish", self.article("closed"))
        done = requester.until(run, "completed")
        assert done["output"]["path"] == "/articles/closed"
        cleo = running.as_("cleo")
        task = cleo.task(done)
        assert (task["mode"], task["state"]) == ("after", "open")
        assert (task["payload"]["path"], task["payload"]["claims"]) == ("/articles/closed", ["guaranteed"])

        said = cleo.decide(task, "approve").ok(201)

        assert (said["human_task"]["state"], said["human_task"]["outcome"]) == ("completed", "approved")
        after = requester.run(run)
        assert (after["status"], after["output"]) == ("completed", done["output"])
        assert admin.types(run)[-2:] == ["decision.recorded", "gate.decided"]
        assert admin.labelled(f"compensates:{run['id']}") == []

    def test_a_rejection_afterwards_starts_the_compensation_as_a_run_of_its_own(
        self, running: Stack, admin: Caller, requester: Caller
    ) -> None:
        run = requester.start("publish", self.article("withdrawn"), labels={"desk": "news"})
        done = requester.until(run, "completed")
        cleo = running.as_("cleo")

        cleo.decide(cleo.task(done), "reject", note="not proved", reason="a claim without proof").ok(201)

        (child,) = admin.until_labelled(f"compensates:{run['id']}", 1, "completed")
        assert child["labels"] == {"desk": "news", "compensates": run["id"]}
        assert child["output"] == {
            "path": "/articles/withdrawn",
            "notice": "'Spring sale' was withdrawn. Reason: a claim without proof.",
        }
        assert (child["workflow"], child["version"]) == ("publish", run["version"])
        created = admin.event(child, "run.created")["data"]
        assert created["parent"]["run_id"] == run["id"]
        # What was rejected is a fact of its own: the run that published stays as it was.
        assert requester.run(run)["output"] == done["output"]
