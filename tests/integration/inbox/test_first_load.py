"""What a page costs: files packed for who can unpack them, nothing looked for twice, and no search without end."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator

import pytest
from tests.integration.inbox.desk import Desk, open_desk

from signoff_api.inbox.blueprint import STATIC

MOST_BYTES = 80_000
"""What a browser that comes for the first time may have to fetch for an inbox of a few rows."""


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as opened:
        for number in range(3):
            opened.start("plain", {"amount": f"{number}.00"})
        yield opened


def test_a_file_is_packed_for_who_can_unpack_it_and_for_nobody_else(desk: Desk) -> None:
    stranger = desk.browser()
    wanted = (STATIC / "inbox.css").read_bytes()
    plain = stranger.send("GET", "/assets/inbox.css")
    packed = stranger.send("GET", "/assets/inbox.css", headers={"Accept-Encoding": "br, gzip"})
    assert (plain.data, plain.headers.get("Content-Encoding")) == (wanted, None)
    assert (gzip.decompress(packed.data), packed.headers["Content-Encoding"]) == (wanted, "gzip")
    assert len(packed.data) < len(wanted) / 2
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    for refused in ("gzip;q=0", "identity", "br"):
        answer = stranger.send("GET", "/assets/inbox.css", headers={"Accept-Encoding": refused})
        assert answer.data == wanted, refused


def test_the_tag_of_one_form_of_a_file_is_not_that_of_the_other(desk: Desk) -> None:
    stranger = desk.browser()
    unpacks = {"Accept-Encoding": "gzip"}
    tags = [stranger.send("GET", "/assets/inbox.css", headers=headers).headers["ETag"] for headers in ({}, unpacks)]
    assert tags[0] != tags[1]
    same = stranger.send("GET", "/assets/inbox.css", headers={"If-None-Match": tags[1], **unpacks})
    other = stranger.send("GET", "/assets/inbox.css", headers={"If-None-Match": tags[0], **unpacks})
    assert (same.status_code, other.status_code) == (304, 200)


def test_a_page_is_never_packed_because_it_holds_the_token_of_its_forms(desk: Desk) -> None:
    page = desk.as_("ana").send("GET", "/inbox?q=guess", headers={"Accept-Encoding": "gzip"})
    assert 'name="csrf"' in page.text
    assert "Content-Encoding" not in page.headers


def test_the_first_load_is_small(desk: Desk) -> None:
    browser = desk.as_("ana")
    page = browser.send("GET", "/inbox", headers={"Accept-Encoding": "gzip"})
    files = re.findall(r'(?:href|src)="(/assets/[^"]+)"', page.text)
    sizes = [len(browser.send("GET", each, headers={"Accept-Encoding": "gzip"}).data) for each in files]
    assert len(files) == 6
    assert len(page.data) + sum(sizes) < MOST_BYTES


def test_a_tab_counts_the_whole_list_on_its_last_page_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signoff_api.inbox.lists.PAGE", 2)
    browser = desk.as_("ana")
    page = browser.get("/inbox")
    for _ in range(2):
        assert [node.text for node in page.one("nav", id="tabs").find("a")][1] == "Team 3"
        page = (
            browser.get(page.one("li", class_="more").one("a").attrs["href"] or "")
            if page.find(class_="more")
            else page
        )


def test_how_often_a_text_is_on_further_pages_is_not_looked_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signoff_api.inbox.lists.PAGE", 2)
    tabs = desk.as_("ana").get("/inbox?q=small").one("nav", id="tabs").find("a")
    assert [node.text for node in tabs][1] == "Team 2+"


def test_a_search_that_takes_too_long_ends_and_says_how_to_narrow_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signoff.store.queries_human_tasks.SEARCH_SECONDS", 0.2)
    browser = desk.as_("ana")
    key = {"Authorization": f"Bearer {desk.keys['ana']}"}
    with desk.engine.database.transaction() as cursor:
        # Nobody reads them meanwhile, which takes as long as reading very many.
        cursor.execute("LOCK TABLE human_tasks IN ACCESS EXCLUSIVE MODE")
        browser.get("/inbox?q=late", 422)
        assert "narrow the list by a workflow" in browser.words
        answer = browser.send("GET", "/api/v1/human-tasks?q=late", headers=key)
    assert (answer.status_code, answer.json["errors"][0]["path"]) == (422, "?q")
    browser.get("/inbox?q=small")
    assert "Small" in browser.words
    with desk.engine.database.query() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() == "15s", "the next one has its time"
