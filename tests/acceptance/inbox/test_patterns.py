"""The three patterns from start to end in a browser, each by its example."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.acceptance.caller import Caller
from tests.acceptance.inbox.conftest import Open
from tests.acceptance.stack import ROOT, Stack
from tests.acceptance.test_patterns import CLEAR, UNCLEAR, complaint

pytestmark = pytest.mark.xdist_group("chromium")

REFUND = (ROOT / "examples" / "refund.yaml").read_text()


def say(page: Page, option: str) -> None:
    """Arm an option and confirm it."""
    page.locator(f'[data-arm="{option}"]').click()
    page.locator("[data-commit]").click()
    page.wait_for_url("**done=*")


def timeline(page: Page, run: Any) -> Any:
    """The Run page's timeline."""
    page.goto(f"/runs/{run['id']}")
    return page.locator(".timeline")


class TestApproveBeforeAnIrreversibleAction:
    def test_what_is_paid_is_what_the_reviewer_made_of_the_draft(
        self, open_page: Open, requester: Caller, ana: Caller
    ) -> None:
        run = requester.start("refund", complaint("P-801"))
        ana.parked(run)
        page = open_page("ana", "/inbox?workflow=refund&q=P-801")
        page.get_by_role("link", name="Refund 640.00 for P-801").click()
        expect(page.locator(".why")).to_contain_text("amount > 100.0 (amount is 640.00)")
        expect(page.locator(".evidence")).to_contain_text("It arrived broken.")
        expect(page.locator('[data-arm="approve"]')).to_contain_text("Pays 640.00 now. This cannot be undone.")
        page.fill('[name="edit.amount"]', "40.00")
        page.locator('[data-arm="approve"]').click()
        expect(page.locator("[data-armed-says]")).to_contain_text("Pays 40.00 now.")
        assert requester.run(run)["status"] == "waiting"
        page.locator("[data-commit]").click()
        page.wait_for_url("**done=*")
        assert requester.until(run, "completed")["output"] == {"payment_id": "pay_P-801_40.00"}
        page.get_by_role("link", name="Its run").click()
        told = page.locator(".timeline")
        expect(told).to_contain_text("ana approved approve-refund")
        expect(told.locator(".change").first).to_contain_text("amount 640.00 → 40.00")
        expect(told).to_contain_text("pay is done")

    def test_a_rejection_pays_nothing_and_says_why(self, open_page: Open, requester: Caller, ana: Caller) -> None:
        run = requester.start("refund", complaint("P-802"))
        page = open_page("ana", f"/inbox/{ana.parked(run)['id']}")
        page.fill("#note", "there is no such order")
        say(page, "reject")
        requester.until(run, "completed")
        told = timeline(page, run)
        expect(page.locator(".run-head")).to_contain_text("outcome: rejected")
        expect(told.locator("blockquote")).to_have_text("there is no such order")
        expect(told).to_contain_text("apologise is done")
        expect(told).not_to_contain_text("pay is done")

    def test_a_request_for_changes_comes_back_as_the_same_human_task_and_shows_what_changed(
        self, open_page: Open, requester: Caller, ana: Caller
    ) -> None:
        run = requester.start("refund", complaint("P-803"))
        task = ana.parked(run)
        page = open_page("ana", f"/inbox/{task['id']}?q=P-803")
        page.fill("#note", "offer 120")
        say(page, "request_changes")
        assert ana.parked(run)["id"] == task["id"]
        page.goto("/inbox?q=P-803")
        page.get_by_role("link", name="Refund 120.00 for P-803").click()
        page.wait_for_url(f"**/inbox/{task['id']}*")
        expect(page.locator(".meta")).to_contain_text("revision 2")
        changed = page.locator(".evidence article", has=page.get_by_role("heading", name="What changed"))
        expect(changed.locator(".difference", has_text="amount")).to_contain_text("640.00")
        expect(changed.locator(".difference", has_text="amount")).to_contain_text("120.00")
        expect(page.locator(".said")).to_contain_text("offer 120")
        # The words that were said of the first draft are not said of the second one.
        expect(page.locator("#note")).to_have_value("")
        say(page, "approve")
        assert requester.until(run, "completed")["output"] == {"payment_id": "pay_P-803_120.00"}

    def test_silence_does_what_the_gate_says_in_front_of_who_is_looking(
        self, open_page: Open, admin: Caller, requester: Caller, ana: Caller
    ) -> None:
        kept = [
            line for line in REFUND.splitlines() if not line.strip().startswith(("remind:", "escalate:", "- {after"))
        ]
        admin.register("\n".join(kept).replace("workflow: refund", "workflow: hushed").replace("due: 4h", "due: 2s"))
        run = requester.start("hushed", complaint("P-804"))
        page = open_page("ana", f"/inbox/{ana.parked(run)['id']}")
        expect(page.locator("#notice")).to_contain_text("Nobody answered in time: rejected")
        expect(page.locator("[data-arm=approve]:enabled")).to_have_count(0)
        requester.until(run, "completed")
        told = timeline(page, run)
        expect(told).to_contain_text("nobody decided in time")
        expect(told).to_contain_text("apologise is done")
        expect(told).not_to_contain_text("pay is done")


class TestReviewOnThreshold:
    def test_a_clear_application_passes_and_the_run_says_by_which_rule_and_values(
        self, open_page: Open, admin: Caller, requester: Caller
    ) -> None:
        run = requester.until(requester.start("loan", CLEAR | {"application_id": "P-805"}), "completed")
        score = admin.event(run, "gate.passed")["data"]["values"]["score"]
        told = timeline(open_page("admin"), run)
        passed = told.locator("li", has_text="underwrite passed by policy")
        expect(passed).to_contain_text("score < 85")
        expect(passed).to_contain_text(str(score))
        expect(told).to_contain_text("disburse is done")
        assert run["human_tasks"] == []

    def test_an_unclear_one_waits_for_the_underwriter_who_changes_the_terms(
        self, open_page: Open, running: Stack, requester: Caller
    ) -> None:
        run = requester.start("loan", UNCLEAR | {"application_id": "P-806"})
        task = running.as_("uma").parked(run)
        score = task["payload"]["score"]
        stranger = open_page("ana", "/inbox?workflow=loan")
        expect(stranger.locator(".empty")).to_be_visible()
        page = open_page("uma", f"/inbox/{task['id']}")
        expect(page.locator(".why")).to_contain_text(f"score < 85 (score is {score})")
        page.fill('[name="edit.amount"]', "3000")
        page.fill('[name="edit.duration_months"]', "36")
        page.locator('[data-arm="approve"]').click()
        expect(page.locator("[data-armed-says]")).to_contain_text("Pays out 3000 DM.")
        page.locator("[data-commit]").click()
        page.wait_for_url("**done=*")
        requester.until(run, "completed")
        told = timeline(page, run)
        expect(told.locator(".change", has_text="amount")).to_have_text("amount 6000 → 3000")
        expect(told).to_contain_text("disburse is done")


class TestAuditTrailWithAsynchronousReview:
    def test_the_run_is_finished_its_review_stays_and_a_rejection_starts_the_compensation(
        self, open_page: Open, admin: Caller, requester: Caller
    ) -> None:
        article = {"slug": "pages", "title": "Spring pages", "body": "Guaranteed from Monday."}
        run = requester.until(requester.start("publish", article), "completed")
        page = open_page("cleo", f"/runs/{run['id']}")
        expect(page.locator(".run-head")).to_contain_text("completed")
        expect(page.locator(".run-links")).to_contain_text("open")
        page.locator(".run-links a").click()
        expect(page.locator(".meta")).to_contain_text("reviewed after the fact: the run has gone on")
        expect(page.locator('[data-arm="reject"]')).to_contain_text("Takes /articles/pages offline")
        page.fill("#note", "a claim without proof")
        say(page, "reject")
        (child,) = admin.until_labelled(f"compensates:{run['id']}", 1, "completed")
        page.goto(f"/runs/{run['id']}")
        expect(page.locator(".run-head")).to_contain_text("completed")
        expect(page.locator(".timeline")).to_contain_text("a run of its own starts at retract")
        facts = page.locator("dl.facts")
        expect(facts).to_contain_text("Made up for by")
        facts.get_by_role("link", name=child["id"]).click()
        page.wait_for_url(f"**/runs/{child['id']}")
        expect(page.locator(".timeline")).to_contain_text("retract is done")
        page.get_by_role("link", name=run["id"]).first.click()
        page.wait_for_url(f"**/runs/{run['id']}")
