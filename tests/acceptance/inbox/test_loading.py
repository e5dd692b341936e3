"""What the inbox says while it waits for an answer: that it does, to who sees and to who listens."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from tests.acceptance.caller import Caller
from tests.acceptance.inbox import browser as chromium
from tests.acceptance.inbox.conftest import Open
from tests.acceptance.inbox.flows import letter, opened, value
from tests.servers import eventually

pytestmark = [pytest.mark.xdist_group("chromium"), pytest.mark.long]


class Held:
    """Answers that a test lets through when it has seen enough."""

    def __init__(self, page: Page, pattern: str) -> None:
        self._held: list[Route] | None = []
        page.route(pattern, self._hold)

    def _hold(self, route: Route) -> None:
        if self._held is None:
            route.continue_()
        else:
            self._held.append(route)

    def let_go(self) -> None:
        held, self._held = self._held or [], None
        for route in held:
            route.continue_()


def sign_of(page: Page, where: str) -> Any:
    return page.locator(f"{where} .loading")


def turning(page: Page, where: str) -> str:
    """The animation of the sign."""
    found: str = sign_of(page, where).evaluate("sign => getComputedStyle(sign, '::before').animationName")
    return found


def test_show_more_says_that_it_loads_until_the_rows_are_there(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    workflow = letter(admin, "loading-more")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: requester.start(workflow, value(f"M-{number}")), range(52)))
    query = {"workflow": workflow, "limit": "100"}
    eventually(lambda: len(ana.get("/human-tasks", **query).ok()["items"]) == 52, seconds=60, why="all of them wait")
    page = open_page("ana", f"/inbox?workflow={workflow}")
    status, rows = page.locator("#live-region"), page.locator("#rows")
    expect(sign_of(page, ".more")).to_be_hidden()
    held = Held(page, "**/inbox?*cursor=*")

    page.get_by_role("link", name="Show more").click()

    expect(sign_of(page, ".more")).to_be_visible()
    expect(status).to_have_text("Loading…")
    expect(rows).to_have_attribute("aria-busy", "true")
    # No longer than htmx waits for an answer.
    held.let_go()
    expect(page.locator(".task-row")).to_have_count(52)
    expect(page.locator(".more")).to_have_count(0)
    expect(status).to_have_text("")
    expect(rows).not_to_have_attribute("aria-busy", "true")


def test_a_live_refresh_says_that_it_loads_until_it_is_told_what_is_new(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    workflow = letter(admin, "loading-live")
    opened(requester, ana, workflow, "V-1")
    page = open_page("ana", f"/inbox?workflow={workflow}")
    expect(sign_of(page, ".page-head")).to_be_hidden()
    held = Held(page, f"**/inbox?workflow={workflow}")

    opened(requester, ana, workflow, "V-2")

    expect(sign_of(page, ".page-head")).to_be_visible()
    expect(page.locator("#live-region")).to_have_text("Loading…")
    expect(page.locator("#rows")).to_have_attribute("aria-busy", "true")
    assert turning(page, ".page-head") == "turn"
    assert chromium.axe_violations(page) == []
    page.emulate_media(reduced_motion="reduce")
    assert turning(page, ".page-head") == "none"
    held.let_go()
    expect(page.locator("[data-new-rows]")).to_be_visible()
    expect(sign_of(page, ".page-head")).to_be_hidden()
    expect(page.locator("#live-region")).to_contain_text("Press . to show them")
    expect(page.locator("#rows")).not_to_have_attribute("aria-busy", "true")
