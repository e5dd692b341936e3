"""A draft can't deceive: nothing it holds runs, asks anybody, looks like a control, or stays unseen."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.acceptance.caller import Caller
from tests.acceptance.inbox import hostile
from tests.acceptance.inbox.browser import Watched
from tests.acceptance.inbox.conftest import Open
from tests.acceptance.inbox.flows import opened

pytestmark = [pytest.mark.xdist_group("chromium"), pytest.mark.long]

OPEN = """
workflow: hostile
steps:
  - gate: read
    reviewers: support-leads
    title: "Letter: {payload.reply}"
    recommend: reply
    editable: [reply]
    options: [approve, reject]
"""
MARKDOWN = """
workflow: hostile-markdown
input:
  type: object
  properties: {reply: {type: string, contentMediaType: text/markdown}}
  required: [reply]
steps:
  - gate: read
    reviewers: support-leads
    options: [approve, reject]
"""


def screens(page: Page, task: Any) -> None:
    """Look at each screen that shows what the draft holds."""
    page.goto(f"/inbox?workflow={task['workflow']}")
    expect(page.locator("#rows")).to_be_visible()
    page.goto(f"/inbox/{task['id']}")
    expect(page.locator("[data-arm=approve]")).to_be_enabled()
    page.goto(f"/runs/{task['run_id']}")
    expect(page.locator("h1")).to_be_visible()


def test_no_draft_runs_a_script_asks_a_host_or_opens_a_dialog(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller, watched: Watched
) -> None:
    admin.register(OPEN)
    page = open_page("ana")
    for text in [*hostile.SCRIPTS.values(), *hostile.BUTTONS.values()]:
        task = ana.parked(requester.start("hostile", hostile.nested(text)))
        screens(page, task)
        watched.check()
    assert len(watched.requests) > 50


def test_a_draft_adds_no_control_to_the_page(open_page: Open, admin: Caller, requester: Caller, ana: Caller) -> None:
    admin.register(OPEN)
    page = open_page("ana")

    def controls() -> tuple[int, int, int]:
        return tuple(page.locator(kind).count() for kind in ("button", "form", "a"))  # type: ignore[return-value]

    page.goto(f"/inbox/{ana.parked(requester.start('hostile', hostile.nested('harmless')))['id']}")
    usual = controls()
    for text in [*hostile.BUTTONS.values(), hostile.SCRIPTS["link"], hostile.SCRIPTS["close"]]:
        page.goto(f"/inbox/{ana.parked(requester.start('hostile', hostile.nested(text)))['id']}")
        assert controls()[:2] == usual[:2], text


def test_every_hidden_character_is_shown(open_page: Open, admin: Caller, requester: Caller, ana: Caller) -> None:
    admin.register(OPEN)
    page = open_page("ana")
    for text, name in hostile.HIDDEN.values():
        task = ana.parked(requester.start("hostile", {"reply": text, "note": text}))
        page.goto(f"/inbox/{task['id']}")
        # A title is one line: whatever separates lines has become a blank when it was made.
        expect(page.locator("h1")).to_contain_text(f"⟦{name}⟧" if name != "U+2028" else "one two")
        expect(page.locator(".draft")).to_contain_text(f"⟦{name}⟧")
        expect(page.locator(".evidence")).to_contain_text(f"⟦{name}⟧")
        expect(page.locator(".draft")).to_contain_text("hidden character")
        page.goto("/inbox?workflow=hostile&sort=created_at")
        assert not any(piece in page.locator("#rows").inner_text() for piece in ("\u202e", "\u200b", "\U000e0069"))


def test_markdown_is_words_without_images_and_live_links(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller, watched: Watched
) -> None:
    admin.register(MARKDOWN)
    page = open_page("ana")
    for text in hostile.MARKDOWN.values():
        task = ana.parked(requester.start("hostile-markdown", {"reply": f"**Dear** customer\n\n{text}"}))
        page.goto(f"/inbox/{task['id']}")
        prose = page.locator(".prose")
        expect(prose.locator("strong").first).to_have_text("Dear")
        assert prose.locator("img, a, script, iframe, form, button").count() == 0, text
        watched.check()
    expect(prose).to_contain_text("http://evil.example/ref.png")


def test_a_huge_text_is_cut_and_can_be_had_whole(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller
) -> None:
    admin.register(OPEN)
    task = opened(requester, ana, "hostile", "H-1", note=hostile.HUGE)
    page = open_page("ana", f"/inbox/{task['id']}")
    expect(page.locator(".draft")).to_contain_text("more characters")
    assert len(page.content()) < 400_000
    with page.expect_download() as download:
        page.get_by_role("link", name="download all").first.click()
    assert hostile.HUGE in download.value.path().read_text()
