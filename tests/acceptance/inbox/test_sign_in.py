"""Signing in and out in a browser, what is kept there, and what a session that ends takes with it: nothing typed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.acceptance.caller import Caller
from tests.acceptance.inbox.browser import sign_in
from tests.acceptance.inbox.conftest import Open
from tests.acceptance.inbox.flows import letter, opened
from tests.acceptance.stack import Stack

pytestmark = [pytest.mark.xdist_group("chromium"), pytest.mark.long]

SESSION = "signoff_session"
KEPT = "[...Object.keys(localStorage), ...Object.keys(sessionStorage)].filter((key) => key.startsWith('signoff'))"
"""What the pages keep in the browser beside cookies."""


def cookies(page: Page) -> dict[str, Any]:
    return {found["name"]: found for found in page.context.cookies()}


def sign_out(page: Page) -> None:
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")


def key_of(running: Stack, name: str) -> str:
    assert running.state is not None
    return running.state.keys[name]


def test_a_key_signs_in_and_no_script_can_read_what_it_leaves(open_page: Open) -> None:
    page = open_page("ana")
    found = cookies(page)
    assert set(found) == {SESSION}
    session = found[SESSION]
    assert (session["httpOnly"], session["secure"], session["sameSite"], session["path"]) == (True, True, "Lax", "/")
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate(KEPT) == []
    assert page.locator(".me .who").inner_text() == "ana"


def test_the_sign_in_form_is_tied_to_its_browser(open_page: Open) -> None:
    page = open_page(None, "/sign-in")
    (form,) = cookies(page).values()
    assert (form["httpOnly"], form["secure"], form["sameSite"], form["path"]) == (True, True, "Strict", "/sign-in")


def test_a_wrong_key_is_refused_and_leaves_no_session(open_page: Open) -> None:
    page = open_page(None, "/sign-in")
    page.fill("#key", "so_not-a-key")
    page.click("button.primary")
    expect(page.get_by_role("alert")).to_contain_text("This key is not known")
    expect(page.locator("#key")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#key")).to_have_value("")
    assert SESSION not in cookies(page)
    page.goto("/inbox")
    expect(page.locator("h1")).to_have_text("Sign in")


def test_the_key_of_a_service_opens_no_inbox(open_page: Open, running: Stack) -> None:
    page = open_page(None, "/sign-in")
    page.fill("#key", key_of(running, "requester"))
    page.click("button.primary")
    expect(page.get_by_role("alert")).to_contain_text("The inbox is for people.")
    assert SESSION not in cookies(page)


def test_a_link_signs_in_once_however_often_it_was_looked_at(open_page: Open, running: Stack) -> None:
    link = json.loads(running.signoff("sign-in", "ana", "--json"))["url"]
    page = open_page(None, link)
    page.reload()
    page.get_by_role("button", name="Sign in as ana").click()
    page.wait_for_url("**/inbox")
    assert page.locator(".me .who").inner_text() == "ana"
    again = open_page(None, link)
    expect(again.get_by_role("alert")).to_contain_text("This sign-in link has been used")
    assert SESSION not in cookies(again)


def test_signing_out_ends_the_session_itself_not_just_its_cookie(open_page: Open) -> None:
    page = open_page("ana")
    copied = page.context.storage_state()
    other = open_page(None, "/inbox", storage_state=copied)
    expect(other.locator("h1")).to_have_text("Inbox")
    sign_out(page)
    assert SESSION not in cookies(page)
    other.reload()
    expect(other.locator("h1")).to_have_text("Sign in")
    page.go_back()
    expect(page.locator("h1")).to_have_text("Sign in")


def test_who_has_to_sign_in_comes_to_where_they_wanted_to_go(
    open_page: Open, running: Stack, admin: Caller, requester: Caller, ana: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "sign-in-next"), "S-1")
    page = open_page(None, f"/inbox/{task['id']}?workflow=sign-in-next")
    expect(page.locator("h1")).to_have_text("Sign in")
    page.fill("#key", key_of(running, "ana"))
    page.click("button.primary")
    page.wait_for_url(f"**/inbox/{task['id']}?workflow=sign-in-next")
    expect(page.locator("h1")).to_have_text("Letter about S-1")


def test_a_session_that_ends_takes_no_note_with_it(
    open_page: Open, running: Stack, admin: Caller, requester: Caller, ana: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "sign-in-note"), "S-2")
    page = open_page("ana", f"/inbox/{task['id']}")
    page.fill("#note", "half an hour of thought")
    elsewhere = page.context.new_page()
    elsewhere.goto("/inbox")
    sign_out(elsewhere)
    page.locator('[data-arm="approve"]').click()
    page.locator("[data-commit]").click()
    expect(page.locator("main")).to_contain_text("your session has ended")
    assert ana.get(f"/human-tasks/{task['id']}").ok()["decisions"] == []
    page.goto(f"/inbox/{task['id']}")
    page.fill("#key", key_of(running, "ana"))
    page.click("button.primary")
    page.wait_for_url(f"**/inbox/{task['id']}")
    expect(page.locator("#note")).to_have_value("half an hour of thought")
    page.locator('[data-arm="approve"]').click()
    page.locator("[data-commit]").click()
    page.wait_for_url("**done=*")
    assert ana.get(f"/human-tasks/{task['id']}").ok()["decisions"][0]["note"] == "half an hour of thought"
    # What has been said is no draft any more.
    assert page.evaluate(KEPT) == []


def test_who_signs_in_after_somebody_in_the_same_tab_does_not_get_their_words(
    open_page: Open, running: Stack, admin: Caller, requester: Caller, ana: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "sign-in-after"), "S-3")
    page = open_page("ana", f"/inbox/{task['id']}")
    page.fill("#note", "between me and my screen")
    elsewhere = page.context.new_page()
    elsewhere.goto("/inbox")
    sign_out(elsewhere)
    sign_in(page, key_of(running, "sam"))
    page.goto(f"/inbox/{task['id']}")
    expect(page.locator("#note")).to_have_value("")
    page.fill("#note", "mine")
    sign_out(page)
    assert page.evaluate(KEPT) == []


def test_a_page_that_stays_open_says_when_its_session_has_ended_and_asks_no_more(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    task = opened(requester, ana, letter(admin, "sign-in-ended"), "S-4")
    page = open_page("ana")
    page.add_init_script("delete window.EventSource")
    page.clock.install()
    page.goto(f"/inbox/{task['id']}")
    page.fill("#note", "not lost")
    asked: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url))
    elsewhere = page.context.new_page()
    elsewhere.goto("/inbox")
    sign_out(elsewhere)
    expect(page.locator("[data-ended]")).to_contain_text("Your session has ended")
    page.clock.run_for(20_000)
    page.evaluate("fetch('/assets/icon.svg').then((answer) => answer.text())")
    assert sum("/sign-in" in url for url in asked) == 1
    expect(page.locator("[data-ended]")).to_have_count(1)
    expect(page.locator("#note")).to_have_value("not lost")
    page.get_by_role("link", name="Sign in again").click()
    page.wait_for_url(f"**/sign-in?next=*{task['id']}*")


def test_the_choice_of_a_theme_survives_the_session(open_page: Open, running: Stack) -> None:
    page = open_page("ana", "/inbox", color_scheme="light")
    page.locator("details.menu > summary").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    sign_out(page)
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    sign_in(page, key_of(running, "ana"))
    page.goto("/runs")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    assert cookies(page)["signoff_theme"]["secure"]
