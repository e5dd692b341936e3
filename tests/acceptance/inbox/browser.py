"""Real Chromium for the tests of the pages, and an eye on what it must never do: ask anybody else, or open a dialog."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Request

MISSING = "Chromium is not installed: apt-get install chromium"
ARGUMENTS = (
    # Tests run as root in containers, where Chromium's own sandbox has no user to go to.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 15_000
WIDE = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}


def chromium_program() -> Path | None:
    """Where Chromium is, or None."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    return None


def launch(playwright: Playwright, program: Path) -> Browser:
    return playwright.chromium.launch(executable_path=str(program), args=list(ARGUMENTS))


@dataclass
class Watched:
    """What the browser did that a page of ours must not make it do."""

    origin: str
    elsewhere: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("request", self._request)
        page.on("dialog", self._dialog)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self._console(said.type, said.text))

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)
        if urlsplit(request.url).netloc != urlsplit(self.origin).netloc and not request.url.startswith("data:"):
            self.elsewhere.append(request.url)

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _console(self, kind: str, text: str) -> None:
        # An answer that is no success is told by the browser as an error, and is what some tests are about.
        if kind == "error" and "Failed to load resource" not in text:
            self.errors.append(text)

    def check(self) -> None:
        """Fail when the page asked anybody else, opened a dialog, broke its content security policy or a script."""
        assert self.elsewhere == []
        assert self.dialogs == []
        assert self.errors == []


@contextmanager
def context(browser: Browser, origin: str, watched: Watched, **options: Any) -> Iterator[BrowserContext]:
    """A browser profile of its own, whose every page is watched."""
    made = browser.new_context(base_url=origin, **({"viewport": WIDE} | options))
    made.set_default_timeout(PATIENCE_MS)
    made.on("page", watched.watch)
    try:
        yield made
    finally:
        made.close()


def sign_in(page: Page, key: str) -> None:
    """By the form, as a person does."""
    page.goto("/sign-in")
    page.fill("#key", key)
    page.click("button.primary")
    page.wait_for_url("**/inbox*")


def axe_violations(page: Page) -> list[Mapping[str, Any]]:
    """What axe-core finds against WCAG 2.2 AA and its own best practices: rule, and the elements."""
    from axe_playwright_python.sync_playwright import Axe

    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": tags}, "resultTypes": ["violations"]})
    return [
        {"rule": each["id"], "help": each["help"], "where": [node["target"] for node in each["nodes"][:5]]}
        for each in found.response["violations"]
    ]


def overflow(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width
