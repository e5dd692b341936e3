"""Everything with JavaScript switched off: plain forms and links do the same."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from tests.acceptance.caller import Caller
from tests.acceptance.inbox.conftest import Open
from tests.acceptance.inbox.flows import letter, opened

pytestmark = pytest.mark.xdist_group("chromium")


def test_a_decision_with_an_edit_takes_two_presses(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "plain-decide"), "P-1")
    page = open_page("ana", f"/inbox?workflow={task['workflow']}", java_script_enabled=False)
    page.get_by_role("link", name="Letter about P-1").click()
    page.fill('[name="edit.amount"]', "40.00")
    page.fill("#note", "agreed")
    page.locator('[data-arm="approve"]').click()
    expect(page.locator("[data-armed-says]")).to_contain_text("Pays 40.00 now.")
    assert ana.get(f"/human-tasks/{task['id']}").ok()["state"] == "open"
    page.locator("[data-commit]").click()
    page.wait_for_url("**done=*")
    found = ana.get(f"/human-tasks/{task['id']}").ok()
    assert (found["outcome"], found["decisions"][0]["patch"], found["decisions"][0]["note"]) == (
        "approved",
        {"amount": "40.00"},
        "agreed",
    )


def test_enter_in_a_field_decides_nothing(open_page: Open, admin: Caller, requester: Caller, ana: Caller) -> None:
    task = opened(requester, ana, letter(admin, "plain-enter"), "P-2")
    page = open_page("ana", f"/inbox/{task['id']}", java_script_enabled=False)
    page.fill('[name="edit.amount"]', "41.00")
    page.press('[name="edit.amount"]', "Enter")
    expect(page.locator('[name="edit.amount"]')).to_have_value("41.00")
    assert ana.get(f"/human-tasks/{task['id']}").ok()["decisions"] == []


def test_what_changed_underneath_is_shown_and_gone_on_with(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller, sam: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "plain-stale", "approvals: 2"), "P-3")
    page = open_page("ana", f"/inbox/{task['id']}", java_script_enabled=False)
    page.fill("#note", "fine")
    sam.decide(task, "approve", patch={"amount": "12.00"}).ok(201)
    page.locator('[data-arm="approve"]').click()
    expect(page.locator("#notice")).to_contain_text("This changed while you looked at it.")
    page.get_by_role("button", name="I have seen it").click()
    expect(page.locator("#note")).to_have_value("fine")
    page.locator('[data-arm="approve"]').click()
    page.locator("[data-commit]").click()
    page.wait_for_url("**done=*")
    assert requester.until({"id": task["run_id"]}, "completed")["output"]["amount"] == "12.00"


def test_claim_assign_comment_bulk_and_sign_out(open_page: Open, admin: Caller, requester: Caller, ana: Caller) -> None:
    task = opened(requester, ana, letter(admin, "plain-around"), "P-4")
    page = open_page("ana", f"/inbox/{task['id']}", java_script_enabled=False)
    page.get_by_role("button", name="Claim").click()
    expect(page.locator(".meta")).to_contain_text("claimed by you")
    page.fill("#comment", "looking into it")
    page.get_by_role("button", name="Add comment").click()
    expect(page.locator(".said")).to_contain_text("looking into it")
    page.goto(f"/inbox?workflow={task['workflow']}")
    page.locator("[data-pick]").check()
    page.get_by_role("button", name="Assign…").click()
    page.select_option("#assignee", "sam")
    page.get_by_role("button", name="Assign 1").click()
    expect(page.locator("h1")).to_have_text("Done")
    assert ana.get(f"/human-tasks/{task['id']}").ok()["assignee"] == "sam"
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.goto("/inbox")
    expect(page.locator("h1")).to_have_text("Sign in")
