"""The inbox in a browser: lists, keys, selection, and what happens while others work."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.acceptance.caller import Caller
from tests.acceptance.inbox.conftest import Open
from tests.acceptance.inbox.flows import letter, opened

pytestmark = pytest.mark.xdist_group("chromium")


def row(page: Page, task: Any) -> Any:
    return page.locator(f'[data-row="{task["id"]}"]')


def of(workflow: str, **more: str) -> str:
    return "/inbox?" + "&".join(f"{key}={value}" for key, value in {"workflow": workflow, **more}.items())


def test_a_row_says_what_why_how_sure_and_until_when(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "list-row", "due: 4h", "priority: 80"), "R-1")
    page = open_page("ana", of("list-row"))
    found = row(page, task)
    expect(found).to_contain_text("Letter about R-1")
    expect(found).to_contain_text("every run is reviewed here")
    expect(found).to_contain_text("0.62")
    expect(found).to_contain_text("due in 3 h 59 min")
    expect(found).to_contain_text("priority 80")


def test_the_keys_move_open_and_select(open_page: Open, admin: Caller, requester: Caller, ana: Caller) -> None:
    workflow = letter(admin, "list-keys")
    first, second = (opened(requester, ana, workflow, f"K-{number}") for number in (1, 2))
    page = open_page("ana", of(workflow, sort="created_at"))
    page.keyboard.press("j")
    expect(row(page, first)).to_have_class("task-row current")
    page.keyboard.press("j")
    expect(row(page, second)).to_have_class("task-row current")
    page.keyboard.press("x")
    expect(row(page, second).locator("[data-pick]")).to_be_checked()
    expect(page.locator("[data-selected-count]")).to_have_text("1 selected")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/inbox/{first['id']}*")
    page.keyboard.press("]")
    page.wait_for_url(f"**/inbox/{second['id']}*")
    page.keyboard.press("[")
    page.wait_for_url(f"**/inbox/{first['id']}*")
    page.keyboard.press("g")
    page.keyboard.press("i")
    page.wait_for_url("**/inbox")
    page.keyboard.press("/")
    expect(page.locator("[data-search]")).to_be_focused()
    page.keyboard.type("jx?")
    expect(page.locator("#keys-help")).to_be_hidden()
    assert page.locator("[data-search]").input_value() == "jx?"


def test_the_keys_can_be_switched_off(open_page: Open) -> None:
    page = open_page("ana")
    page.keyboard.press("?")
    expect(page.locator("#keys-help")).to_be_visible()
    page.locator("[data-keys-switch]").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("[data-search]")).not_to_be_focused()


def test_search_and_filters_narrow_the_list_and_can_be_taken_off(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    workflow = letter(admin, "list-search")
    wanted, other = opened(requester, ana, workflow, "FIND-7"), opened(requester, ana, workflow, "LOSE-8")
    page = open_page("ana", of(workflow))
    page.fill("[data-search]", "find-7")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=find-7*")
    expect(row(page, wanted)).to_be_visible()
    expect(row(page, other)).to_have_count(0)
    page.fill("[data-search]", "nothing like it")
    page.keyboard.press("Enter")
    expect(page.locator(".empty")).to_contain_text("Nothing matches")
    page.get_by_role("link", name="Clear the filters").click()
    page.wait_for_url("**/inbox?view=team")


def test_an_empty_list_says_so(open_page: Open) -> None:
    page = open_page("uma", "/inbox?view=mine")
    expect(page.locator(".empty h2")).to_have_text("All clear")


def test_a_decision_of_somebody_else_takes_the_row_away_within_seconds(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller, sam: Caller
) -> None:
    workflow = letter(admin, "list-leaves")
    kept, decided = opened(requester, ana, workflow, "L-1"), opened(requester, ana, workflow, "L-2")
    page = open_page("ana", of(workflow))
    expect(row(page, decided)).to_be_visible()
    page.mouse.move(5, 5)
    began = time.monotonic()
    sam.decide(decided, "approve").ok(201)
    expect(row(page, decided)).to_have_count(0)
    assert time.monotonic() - began < 6
    expect(row(page, kept)).to_be_visible()


def test_rows_never_move_under_the_cursor(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller, sam: Caller
) -> None:
    workflow = letter(admin, "list-still")
    first, second = opened(requester, ana, workflow, "S-1"), opened(requester, ana, workflow, "S-2")
    page = open_page("ana", of(workflow, sort="created_at"))
    row(page, second).hover()
    before = row(page, second).bounding_box()
    sam.decide(first, "approve").ok(201)
    expect(row(page, first)).to_have_attribute("data-gone", "")
    assert row(page, second).bounding_box() == before
    page.mouse.move(5, 5)
    expect(row(page, first)).to_have_count(0)


def test_what_is_new_waits_until_it_is_asked_for(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    workflow = letter(admin, "list-new")
    opened(requester, ana, workflow, "N-1")
    page = open_page("ana", of(workflow, sort="created_at"))
    task = opened(requester, ana, workflow, "N-2")
    expect(page.locator("[data-new-rows]")).to_be_visible()
    expect(row(page, task)).to_have_count(0)
    page.keyboard.press(".")
    expect(row(page, task)).to_be_visible()
    expect(page.locator("[data-new-rows]")).to_be_hidden()


def test_several_are_rejected_at_once_after_they_were_listed(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    workflow = letter(admin, "list-bulk")
    tasks = [opened(requester, ana, workflow, f"B-{number}", amount=f"{number}00.00") for number in (1, 2)]
    page = open_page("ana", of(workflow))
    for task in tasks:
        row(page, task).locator("[data-pick]").check()
    page.get_by_role("button", name="Reject…").click()
    expect(page.locator("h1")).to_have_text("Reject 2 human tasks?")
    expect(page.locator("main")).to_contain_text("Sum of amount: 300.00")
    page.get_by_role("button", name="Reject 2").click()
    expect(page.locator(".notice.bad")).to_contain_text("say why")
    page.fill("#note", "not this month")
    page.get_by_role("button", name="Reject 2").click()
    expect(page.locator("h1")).to_have_text("Done")
    said = [ana.get(f"/human-tasks/{task['id']}").ok()["decisions"][0] for task in tasks]
    assert {each["note"] for each in said} == {"not this month"}
    assert len({each["bulk_id"] for each in said}) == 1


def test_approving_several_is_refused_where_the_gate_does_not_allow_it(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    strict, easy = letter(admin, "list-strict"), letter(admin, "list-easy", "bulk: true")
    one, other = opened(requester, ana, strict, "X-1"), opened(requester, ana, easy, "X-2")
    page = open_page("ana", of(strict))
    row(page, one).locator("[data-pick]").check()
    page.get_by_role("button", name="Approve…").click()
    expect(page.locator(".notice.bad")).to_contain_text("one by one")
    expect(page.get_by_role("button", name="Approve 1")).to_be_disabled()
    page.goto(of(easy))
    row(page, other).locator("[data-pick]").check()
    page.get_by_role("button", name="Approve…").click()
    page.get_by_role("button", name="Approve 1").click()
    expect(page.locator("h1")).to_have_text("Done")
    assert ana.get(f"/human-tasks/{other['id']}").ok()["outcome"] == "approved"
    assert ana.get(f"/human-tasks/{one['id']}").ok()["state"] == "open"
