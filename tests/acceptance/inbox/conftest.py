"""Chromium, and people who have signed in with it, on the `signoff dev` that all acceptance tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.acceptance.inbox import browser as chromium
from tests.acceptance.inbox.browser import Watched
from tests.acceptance.stack import Stack
from tests.servers import under_ci

Open: TypeAlias = Callable[..., Page]

# Other tests use the same cores; what is expected comes at once or, on a slow machine, in a while.
expect.set_options(timeout=chromium.PATIENCE_MS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests; each has profiles of its own in it."""
    program = chromium.chromium_program()
    if program is None:
        if under_ci():
            pytest.fail(chromium.MISSING)
        pytest.skip(chromium.MISSING)
    with sync_playwright() as playwright:
        found = chromium.launch(playwright, program)
        yield found
        found.close()


@pytest.fixture
def watched(running: Stack) -> Iterator[Watched]:
    """What this test's pages did; nothing of it may be wrong when the test ends."""
    assert running.state is not None
    found = Watched(origin=running.state.api_url)
    yield found
    found.check()


@pytest.fixture
def open_page(browser: Browser, running: Stack, watched: Watched) -> Iterator[Open]:
    """A page in a profile of its own: `open_page("ana", path)` signs in first, `open_page(None)` does not."""
    assert running.state is not None
    state = running.state
    with ExitStack() as stack:

        def open_one(name: str | None, path: str | None = None, **options: Any) -> Page:
            made = stack.enter_context(chromium.context(browser, state.api_url, watched, **options))
            page = made.new_page()
            if name is not None:
                chromium.sign_in(page, state.keys[name])
            if path is not None:
                page.goto(path)
            return page

        yield open_one
