"""Each screen and state, light and dark, wide and narrow: no axe violation, nothing wider than its window.

With SIGNOFF_SCREENSHOTS set to a folder, pictures of the screens are written there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect
from tests.acceptance.inbox.browser import PHONE, WIDE, axe_violations, overflow
from tests.acceptance.inbox.conftest import Open
from tests.acceptance.inbox.flows import LETTER, letter, opened, value

pytestmark = [pytest.mark.xdist_group("chromium"), pytest.mark.long]

PICTURES = os.environ.get("SIGNOFF_SCREENSHOTS")
Screens: TypeAlias = dict[str, tuple[str | None, str]]

BROKEN = "/inbox/00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def screens(running: Any) -> Iterator[Screens]:
    """Who looks at what: a screen for each state there is."""
    admin, requester, ana, sam, cleo = (running.as_(name) for name in ("admin", "requester", "ana", "sam", "cleo"))
    complaint = "It arrived broken, the box was open, and nobody answers the phone. I want my money back."
    refunds = [
        ana.parked(requester.start("refund", {"order_id": f"A-{881 + at}", "text": complaint, "paid": paid}))
        for at, paid in enumerate(("640", "212.50", "1999", "180"))
    ]
    ana.put(f"/human-tasks/{refunds[1]['id']}/claim").ok()
    asked = opened(requester, ana, letter(admin, "screen-changes", "approvals: 2"), "S-1")
    sam.decide(asked, "approve", patch={"amount": "12.00", "reply": "We are very sorry, and pay a part of it back."})
    done = opened(requester, ana, letter(admin, "screen-done"), "S-2")
    ana.decide(done, "reject", note="no receipt", reason="missing evidence").ok(201)
    grace = opened(requester, ana, letter(admin, "screen-grace", "grace: 30m"), "S-3")
    ana.decide(grace, "approve").ok(201)
    own = ana.parked(ana.start(letter(admin, "screen-own"), value("S-4")))
    late = opened(requester, ana, letter(admin, "screen-late", "due: 50ms"), "S-5")
    form = "form: {type: object, properties: {grade: {enum: [A, B], type: string}, ok: {type: boolean}}}"
    filled = opened(requester, ana, letter(admin, "screen-form", form), "S-6")
    limited = opened(requester, ana, letter(admin, "screen-limit", "authority: true", "above: support-managers"), "S-7")
    put_off = opened(requester, ana, letter(admin, "screen-put-off"), "S-8")
    ana.put(f"/human-tasks/{put_off['id']}/snooze", {"until": _ahead(hours=4)}).ok()
    lent = _lent(admin, requester, running.as_("uma"), cleo)
    failed = requester.start("lies", {"text": "A step that returns something else than it says."})
    article = requester.start("publish", {"slug": "spring-sale", "title": "Spring sale", "body": "From Monday."})
    after = cleo.parked(article)
    requester.until(failed, "failed")
    return {
        "sign-in": (None, "/sign-in"),
        "inbox": ("ana", "/inbox?workflow=refund"),
        "inbox-empty": ("uma", "/inbox"),
        "inbox-overdue": ("ana", "/inbox?view=overdue"),
        "inbox-done": ("ana", "/inbox?view=done"),
        "inbox-search-nothing": ("ana", "/inbox?q=nothing-like-it"),
        "review": ("ana", f"/inbox/{refunds[0]['id']}?workflow=refund"),
        "review-changed": ("ana", f"/inbox/{asked['id']}"),
        "review-decided": ("ana", f"/inbox/{done['id']}"),
        "review-grace": ("ana", f"/inbox/{grace['id']}"),
        "review-not-eligible": ("ana", f"/inbox/{own['id']}"),
        "review-overdue": ("ana", f"/inbox/{late['id']}"),
        "review-form": ("ana", f"/inbox/{filled['id']}"),
        "review-over-limit": ("ana", f"/inbox/{limited['id']}"),
        "review-put-off": ("ana", f"/inbox/{put_off['id']}"),
        "review-in-stead": ("cleo", f"/inbox/{lent['id']}"),
        "account": ("uma", "/account"),
        "review-after": ("cleo", f"/inbox/{after['id']}"),
        "runs": ("ana", "/runs"),
        "run": ("ana", f"/runs/{refunds[0]['run_id']}"),
        "run-finished": ("ana", f"/runs/{done['run_id']}"),
        "run-failed": ("admin", f"/runs/{failed['id']}"),
        "audit": ("cleo", "/audit"),
        "audit-run": ("cleo", f"/audit/{done['run_id']}"),
        "insights": ("cleo", "/insights"),
        "link": ("ana", _link(running, refunds[2], "ana") + "?decision=approve"),
        "link-of-another": ("ana", _link(running, refunds[2], "sam")),
        "nothing-there": ("ana", BROKEN),
    }


NAMES = (
    "sign-in", "inbox", "inbox-empty", "inbox-overdue", "inbox-done", "inbox-search-nothing", "review",
    "review-changed", "review-decided", "review-grace", "review-not-eligible", "review-overdue", "review-form",
    "review-over-limit", "review-put-off", "review-in-stead", "account",
    "review-after", "runs", "run", "run-finished", "run-failed", "audit", "audit-run", "insights", "link",
    "link-of-another", "nothing-there",
)  # fmt: skip


def _ahead(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _lent(admin: Any, requester: Any, owner: Any, other: Any) -> Any:
    """A human task that another may decide in the stead of whom it asks, who is away the week after."""
    admin.register(LETTER.format(name="screen-lent", more="").replace("support-leads", "user:uma"))
    owner.post("/delegations", {"delegate": "cleo", "workflow": "screen-lent", "note": "for the forms"}).ok(201)
    away = {"kind": "absence", "delegate": "max", "from": _ahead(days=7), "until": _ahead(days=14)}
    owner.post("/delegations", away).ok(201)
    return opened(requester, other, "screen-lent", "S-9")


def _link(running: Any, task: dict[str, Any], person: str) -> str:
    made = json.loads(running.signoff("link", str(task["id"]), person, "--json"))
    return urlsplit(made["url"]).path


@pytest.fixture(scope="module")
def states() -> dict[str, Any]:
    """Signed-in profiles, so that each person signs in once."""
    return {}


def at(screens: Screens, states: dict[str, Any], open_page: Open, name: str, **options: Any) -> Page:
    """The screen, as its reader sees it."""
    who, path = screens[name]
    page = open_page(None if who in states else who, storage_state=states.get(who or ""), **options)
    if who is not None and who not in states:
        states[who] = page.context.storage_state()
    page.goto(path)
    expect(page.locator("h1").first).to_be_visible()
    return page


@pytest.mark.parametrize("name", NAMES)
def test_a_screen_has_no_axe_violation_and_fits_its_window(
    screens: Screens, states: dict[str, Any], open_page: Open, name: str
) -> None:
    # Colours that are on their way from one theme to the other are none that anybody reads.
    page = at(screens, states, open_page, name, reduced_motion="reduce")
    for size in (WIDE, PHONE):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            assert axe_violations(page) == [], (size, theme)
            assert overflow(page) <= 0, (size, theme)
            _picture(page, name, theme, size)


def test_what_is_touched_is_large_enough(screens: Screens, states: dict[str, Any], open_page: Open) -> None:
    for name in ("inbox", "review", "runs"):
        page = at(screens, states, open_page, name, viewport=PHONE, has_touch=True, is_mobile=True)
        small = page.evaluate(
            """() => [...document.querySelectorAll("button, select, input:not([type=hidden]), summary, nav a")]
              .filter((element) => element.checkVisibility() && !element.closest(".sr-only") && element.tabIndex >= 0)
              .filter((element) => element.type !== "radio" && element.type !== "checkbox")
              .map((element) => [element.outerHTML.slice(0, 80), element.getBoundingClientRect()])
              .filter(([, box]) => box.height < 43.5).map(([html, box]) => html + " " + box.height)"""
        )
        assert small == [], name


def test_every_place_can_be_seen_on_a_phone(screens: Screens, states: dict[str, Any], open_page: Open) -> None:
    page = at(screens, states, open_page, "audit", viewport=PHONE)
    assert page.locator(".places a").count() == 4
    assert page.locator(".places").evaluate("places => places.scrollWidth - places.clientWidth") <= 0


def test_focus_is_never_hidden_by_the_bar_of_options(screens: Screens, states: dict[str, Any], open_page: Open) -> None:
    page = at(screens, states, open_page, "review")
    page.locator("body").press("Tab")
    for _ in range(40):
        hidden = page.evaluate(
            """() => { const focused = document.activeElement; if (!focused || focused === document.body) return null;
              const box = focused.getBoundingClientRect();
              if (!box.height || focused.closest(".deck") || focused.closest(".sr-only")) return null;
              const deck = document.querySelector(".deck").getBoundingClientRect();
              return box.top >= deck.top && box.bottom <= deck.bottom ? focused.outerHTML.slice(0, 100) : null; }"""
        )
        assert hidden is None
        page.keyboard.press("Tab")


def _picture(page: Page, name: str, theme: str, size: dict[str, int]) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}-{size['width']}-{theme}.png", full_page=False)
