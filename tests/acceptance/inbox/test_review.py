"""Review in a browser: arm and commit, edit, what changes underneath, who may not."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.acceptance.caller import Caller
from tests.acceptance.inbox.conftest import Open
from tests.acceptance.inbox.flows import letter, opened

pytestmark = pytest.mark.xdist_group("chromium")


def review(task: Any) -> str:
    return f"/inbox/{task['id']}?workflow={task['workflow']}"


def arm(page: Page, option: str) -> None:
    page.locator(f'[data-arm="{option}"]').click()


def confirm(page: Page) -> None:
    page.locator("[data-commit]").click()
    page.wait_for_url("**done=*")


def state(caller: Caller, task: Any) -> Any:
    return caller.get(f"/human-tasks/{task['id']}").ok()


def test_two_keys_decide_and_the_next_one_opens(open_page: Open, admin: Caller, requester: Caller, ana: Caller) -> None:
    workflow = letter(admin, "review-keys")
    first, second = opened(requester, ana, workflow, "K-1"), opened(requester, ana, workflow, "K-2")
    page = open_page("ana", review(first) + "&sort=created_at")
    page.keyboard.press("a")
    expect(page.locator("[data-armed]")).to_be_visible()
    assert state(ana, first)["state"] == "open"
    page.keyboard.press("Control+Enter")
    page.wait_for_url(f"**/inbox/{second['id']}*")
    expect(page.locator("[data-done]")).to_contain_text("You said approve: Letter about K-1")
    said = state(ana, first)
    assert (said["outcome"], said["decided_by"]) == ("approved", "human")
    recorded = admin.event({"id": first["run_id"]}, "decision.recorded")["data"]
    assert recorded["surface"] == "inbox"
    assert 0 <= recorded["reading_ms"] < 60_000


def test_one_press_decides_nothing_and_escape_disarms(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "review-arm"), "A-1")
    page = open_page("ana", review(task))
    expect(page.locator("[data-arm=approve]")).not_to_be_focused()
    page.keyboard.press("Control+Enter")
    page.keyboard.press("a")
    expect(page.locator("[data-arm=approve]")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(page.locator("[data-armed]")).to_be_hidden()
    page.keyboard.press("Control+Enter")
    page.keyboard.press("e")
    page.keyboard.press("Enter")
    expect(page).to_have_url(page.url)
    assert state(ana, task)["decisions"] == []


def test_an_edit_is_said_before_it_is_confirmed_and_kept_with_the_original(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "review-edit"), "E-1")
    page = open_page("ana", review(task))
    page.fill('[name="edit.amount"]', "40.00")
    arm(page, "approve")
    expect(page.locator("[data-armed-says]")).to_contain_text("Pays 40.00 now.")
    confirm(page)
    found = state(ana, task)
    assert found["decisions"][0]["patch"] == {"amount": "40.00"}
    assert requester.until({"id": task["run_id"]}, "completed")["output"]["amount"] == "40.00"
    page.goto(review(task))
    expect(page.locator(".said .difference")).to_contain_text("640.00")
    expect(page.locator(".said .difference")).to_contain_text("40.00")


def test_a_wrong_value_is_named_and_everything_typed_is_kept(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "review-wrong"), "W-1")
    page = open_page("ana", review(task))
    page.fill('[name="edit.amount"]', "forty")
    page.fill("#note", "they agreed on the phone")
    page.locator('[name="reason"][value="policy"]').check()
    arm(page, "approve")
    page.locator("[data-commit]").click()
    expect(page.locator('[id="wrong-edit.amount"]')).to_contain_text("a decimal number is needed")
    expect(page.locator('[name="edit.amount"]')).to_have_value("forty")
    expect(page.locator("#note")).to_have_value("they agreed on the phone")
    expect(page.locator('[name="reason"][value="policy"]')).to_be_checked()
    assert state(ana, task)["state"] == "open"


def test_a_note_that_is_needed_is_asked_for(open_page: Open, admin: Caller, requester: Caller, ana: Caller) -> None:
    task = opened(requester, ana, letter(admin, "review-note"), "N-1")
    page = open_page("ana", review(task))
    arm(page, "reject")
    expect(page.locator("#note")).to_be_focused()
    page.locator("[data-commit]").click()
    expect(page.locator("#wrong-note")).to_be_visible()
    page.fill("#note", "no receipt")
    arm(page, "reject")
    confirm(page)
    assert state(ana, task)["decisions"][0]["note"] == "no receipt"


def test_a_note_survives_a_reload(open_page: Open, admin: Caller, requester: Caller, ana: Caller) -> None:
    task = opened(requester, ana, letter(admin, "review-kept"), "N-2")
    page = open_page("ana", review(task))
    page.fill("#note", "half a thought")
    page.reload()
    expect(page.locator("#note")).to_have_value("half a thought")


def test_who_comes_too_late_learns_who_decided_and_keeps_the_note(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller, sam: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "review-late"), "L-1")
    page = open_page("ana", review(task))
    page.fill("#note", "my careful words")
    sam.decide(task, "reject", note="no receipt").ok(201)
    expect(page.locator("#notice")).to_contain_text("sam said reject: no receipt")
    expect(page.locator("[data-arm=approve]")).to_be_disabled()
    expect(page.locator("#note")).to_have_value("my careful words")


def test_two_reviewers_at_once_make_one_decision(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "review-race"), "R-1")
    mine, theirs = (open_page(name, review(task)) for name in ("ana", "sam"))
    # Their page hears of nothing, as one does whose stream has just broken.
    theirs.route("**/live*", lambda route: route.abort())
    theirs.route("**/notice*", lambda route: route.abort())
    theirs.reload()
    theirs.fill("#note", "no")
    arm(theirs, "reject")
    arm(mine, "approve")
    confirm(mine)
    theirs.locator("[data-commit]").click()
    expect(theirs.locator("#notice")).to_contain_text("ana said approve")
    expect(theirs.locator("#notice")).to_contain_text("The note you typed")
    expect(theirs.locator("#notice")).to_contain_text("no")
    assert [said["by"]["name"] for said in state(ana, task)["decisions"]] == ["ana"]


def test_what_changes_underneath_locks_the_page_until_it_is_seen(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller, sam: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "review-under", "approvals: 2"), "U-1")
    page = open_page("ana", review(task))
    page.fill("#note", "looks right")
    sam.decide(task, "approve", patch={"amount": "10.00"}).ok(201)
    notice = page.locator("#notice")
    expect(notice).to_contain_text("This changed while you looked at it.")
    expect(notice.locator(".difference")).to_contain_text("640.00")
    expect(notice.locator(".difference")).to_contain_text("10.00")
    expect(page.locator("[data-arm=approve]")).to_be_disabled()
    page.get_by_role("button", name="I have seen it").click()
    expect(page.locator("#note")).to_have_value("looks right")
    expect(page.locator('[name="edit.amount"]')).to_have_value("10.00")
    arm(page, "approve")
    confirm(page)
    assert requester.until({"id": task["run_id"]}, "completed")["output"]["amount"] == "10.00"


def test_a_stale_decision_is_refused_and_shown_with_the_difference(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller, sam: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "review-stale", "approvals: 2"), "U-2")
    page = open_page("ana")
    page.route("**/live*", lambda route: route.abort())
    page.goto(review(task))
    page.fill("#note", "as it was")
    sam.decide(task, "approve", patch={"amount": "11.00"}).ok(201)
    arm(page, "approve")
    page.locator("[data-commit]").click()
    expect(page.locator("#notice")).to_contain_text("This changed while you looked at it.")
    expect(page.locator("#note")).to_have_value("as it was")
    assert [said["by"]["name"] for said in state(ana, task)["decisions"]] == ["sam"]


def test_who_may_not_decide_sees_why(open_page: Open, admin: Caller, requester: Caller, ana: Caller) -> None:
    workflow = letter(admin, "review-four-eyes")
    own = ana.parked(ana.start(workflow, {"order": "F-1", "amount": "1.00", "reply": "x"}))
    page = open_page("ana", review(own))
    expect(page.locator("#refusal")).to_contain_text("who started the run may not decide its gates")
    expect(page.locator("[data-arm=approve]")).to_be_disabled()
    page.keyboard.press("a")
    expect(page.locator("[data-armed]")).to_be_hidden()
    page = open_page("admin", review(own))
    expect(page.locator("#refusal")).to_contain_text("not a candidate")
    page = open_page("uma", review(own))
    expect(page.locator("h1")).to_contain_text("There is no such thing")


def test_a_decision_in_grace_can_be_undone(open_page: Open, admin: Caller, requester: Caller, ana: Caller) -> None:
    task = opened(requester, ana, letter(admin, "review-grace", "grace: 2m"), "G-1")
    page = open_page("ana", review(task))
    arm(page, "approve")
    confirm(page)
    page.get_by_role("button", name="Undo").click()
    page.wait_for_url(f"**/inbox/{task['id']}*")
    expect(page.locator("[data-arm=approve]")).to_be_enabled()
    found = state(ana, task)
    assert (found["state"], found["decisions"][0]["withdrawn"]) == ("open", True)


def test_a_claim_is_seen_by_others_and_can_be_given_back(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "review-claim"), "C-1")
    page = open_page("ana", review(task))
    page.keyboard.press("c")
    expect(page.locator(".meta")).to_contain_text("claimed by you")
    others = open_page("sam", f"/inbox?workflow={task['workflow']}")
    expect(others.locator(f'[data-row="{task["id"]}"]')).to_contain_text("ana")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("button", name="Claim")).to_be_visible()
    assert state(ana, task)["assignee"] is None


def test_handing_over_and_comments(open_page: Open, admin: Caller, requester: Caller, ana: Caller) -> None:
    task = opened(requester, ana, letter(admin, "review-assign"), "H-1")
    page = open_page("ana", review(task))
    page.select_option("#assignee", "sam")
    page.get_by_role("button", name="Assign").click()
    expect(page.locator(".meta")).to_contain_text("sam is on it")
    page.fill("#comment", "sam knows the customer")
    page.get_by_role("button", name="Add comment").click()
    expect(page.locator(".said")).to_contain_text("sam knows the customer")
    assert state(ana, task)["comments"][0]["text"] == "sam knows the customer"
