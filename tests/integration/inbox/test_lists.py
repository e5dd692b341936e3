"""The lists of the inbox are those of the API, for everybody, whatever they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from tests.integration.inbox.desk import Browser, Desk, open_desk
from tests.integration.inbox.html import Node, parse

from signoff.engine import build_engine
from signoff.store.queries_human_tasks import HumanTaskFilter, count_human_tasks, list_human_tasks
from signoff_api.app import create_app

PEOPLE = ("admin", "auditor", "ana", "sam", "max")


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as opened:
        _fill(opened)
        yield opened


def _fill(desk: Desk) -> None:
    """Human tasks for everybody, in every state, some of them late."""
    made: dict[str, list[UUID]] = {}
    for n in range(4):
        for flow in ("refund", "plain", "pair", "grace", "to-sam", "beside"):
            by = "ana" if flow in ("plain", "to-sam") and n == 0 else "portal"
            made.setdefault(flow, []).append(
                desk.start(flow, {"amount": f"{n + 1}50.00", "order_id": f"O_{n}%"}, by=by)
            )
    desk.sql(
        "UPDATE human_tasks SET due_at = now() - interval '1 hour' WHERE id = ANY(%s)",
        [*made["refund"][:2], made["to-sam"][0]],
    )
    desk.sql("UPDATE human_tasks SET due_at = now() + interval '20 minutes' WHERE id = %s", made["plain"][1])
    desk.sql("UPDATE human_tasks SET priority = 90 WHERE id = %s", made["plain"][2])
    desk.engine.claim(made["refund"][1], by=desk.people["ana"])
    desk.engine.claim(made["plain"][1], by=desk.people["sam"])
    desk.decide(made["refund"][2], "ana", "approve")
    desk.decide(made["plain"][3], "sam", "reject")
    desk.decide(made["pair"][0], "sam", "approve")
    desk.decide(made["grace"][0], "sam", "approve")
    desk.engine.cancel(desk.run_of(made["to-sam"][3]), reason="a mistake", by=desk.people["admin"])


def _rows(page: Node) -> list[str]:
    return [node.attrs["data-row"] or "" for node in page.find("li", data_row=True)]


def _all_rows(browser: Browser, path: str) -> list[str]:
    """The rows of all pages of a list."""
    page, found = browser.get(path), []
    for _ in range(20):
        found += _rows(page)
        more = page.find("li", class_="more")
        if not more:
            return found
        page = browser.get(more[0].one("a").attrs["href"] or "")
    raise AssertionError("the list does not end")


def _api(desk: Desk, name: str, **query: str) -> list[str]:
    """The same list by the API."""
    headers = {"Authorization": f"Bearer {desk.keys[name]}"}
    found: list[str] = []
    while True:
        answer = desk.app.test_client().get("/api/v1/human-tasks", query_string=query, headers=headers)
        assert answer.status_code == 200, answer.text
        found += [item["id"] for item in answer.get_json()["items"]]
        if answer.get_json()["next_cursor"] is None:
            return found
        query["cursor"] = answer.get_json()["next_cursor"]


@pytest.mark.parametrize("name", PEOPLE)
def test_every_list_is_what_the_api_lists(desk: Desk, name: str) -> None:
    browser = desk.as_(name)
    sees_all = name in ("admin", "auditor")
    now = datetime.now(UTC).isoformat()
    mine = [] if sees_all else [("candidate", "me")]
    expected: dict[str, list[str]] = {
        "team": _api(desk, name, candidate="me"),
        "overdue": _api(desk, name, due_before=now, **dict(mine)),
        "all": _api(desk, name),
    }
    for view, ids in expected.items():
        assert _all_rows(browser, f"/inbox?view={view}") == ids, view
    assert _all_rows(browser, "/inbox") == expected["team"], "a team's list comes first"
    held = set(_api(desk, name, assignee="me"))
    named = {
        item
        for item in _api(desk, name, candidate="me")
        if name in desk.sql("SELECT candidate_users FROM human_tasks WHERE id = %s", item)[0][0]
    }
    assert set(_all_rows(browser, "/inbox?view=mine")) == held | named
    over = [_api(desk, name, state=state, **dict(mine)) for state in ("completed", "canceled", "timed_out")]
    assert sorted(_all_rows(browser, "/inbox?view=done")) == sorted(chain.from_iterable(over))


def test_the_lists_differ_from_person_to_person(desk: Desk) -> None:
    found = {name: _all_rows(desk.as_(name), "/inbox?view=team") for name in PEOPLE}
    assert len(found["sam"]) > len(found["ana"]) > 0
    assert found["max"] == found["admin"] == []
    assert len(_all_rows(desk.as_("admin"), "/inbox?view=all")) >= len(found["sam"])


def test_tabs_count_what_their_lists_have(desk: Desk) -> None:
    for name in PEOPLE:
        browser = desk.as_(name)
        for query in ("", "&workflow=plain", "&q=O_1"):
            page = browser.get(f"/inbox?view=team{query}")
            counts = parse(browser.send("GET", page.one(id="tabs").attrs["data-counts"] or "").text)
            for tabs in (page.one("nav", id="tabs"), counts.one("nav", id="tabs")):
                links = tabs.find("a")
                names = [node.text.split()[0] for node in links]
                assert names == ["Mine", "Team", "Overdue", *(["All"] if name in ("admin", "auditor") else []), "Done"]
                for link in links[:-1]:
                    rows = _all_rows(browser, link.attrs["href"] or "")
                    assert int(link.text.split()[1]) == len(rows), (name, link.text)
                assert [node.text.split()[0] for node in links if "aria-current" in node.attrs] == ["Team"]


def test_what_is_counted_is_what_is_listed_for_whoever_asks(desk: Desk) -> None:
    everything = HumanTaskFilter(state="all")
    for name, person in desk.people.items():
        counted = count_human_tasks(desk.engine.database, person, everything, limit=1_000)
        listed = list_human_tasks(desk.engine.database, desk.engine.core.versions, person, everything, limit=200)
        assert counted == len(listed.items), name
        assert listed.next_cursor is None


def test_counts_end_at_a_cap(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signoff_api.inbox.lists.COUNTED", 4)
    texts = [node.text for node in desk.as_("sam").get("/inbox").one("nav", id="tabs").find("a")]
    assert texts[1] == "Team 3+"
    assert texts[2] == "Overdue 3"


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("due_at", "due_at IS NULL, due_at, id"),
        ("priority", "priority DESC, id"),
        ("created_at", "id"),
    ],
)
def test_each_order_is_kept_over_all_pages(desk: Desk, monkeypatch: pytest.MonkeyPatch, sort: str, key: str) -> None:
    monkeypatch.setattr("signoff_api.inbox.lists.PAGE", 3)
    wanted = [str(row[0]) for row in desk.sql(f"SELECT id FROM human_tasks WHERE state = 'open' ORDER BY {key}")]
    found = _all_rows(desk.as_("sam"), f"/inbox?sort={sort}&workflow=")
    assert found == [row for row in wanted if row in set(found)]
    assert len(found) == len(set(found)) > 9
    assert _all_rows(desk.as_("admin"), f"/inbox?view=all&sort={sort}") == wanted


def test_done_has_the_latest_first_page_by_page(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signoff_api.inbox.lists.PAGE", 1)
    wanted = [
        str(row[0])
        for row in desk.sql("SELECT id FROM human_tasks WHERE completed_at IS NOT NULL ORDER BY completed_at DESC")
    ]
    assert len(wanted) == 3
    assert _all_rows(desk.as_("admin"), "/inbox?view=done") == wanted


def test_a_further_piece_is_only_rows(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signoff_api.inbox.lists.PAGE", 3)
    sam = desk.as_("sam")
    link = sam.get("/inbox").one("li", class_="more").one("a")
    assert link.attrs["href"] == link.attrs["hx-get"]
    response = sam.send("GET", link.attrs["hx-get"] or "", headers={"HX-Request": "true"})
    assert "<html" not in response.text
    assert len(_rows(parse(response.text))) == 3
    # A cursor is of one list.
    cursor = (link.attrs["href"] or "").rpartition("cursor=")[2]
    sam.get(f"/inbox?view=team&sort=priority&cursor={cursor}", 422)
    sam.get("/inbox?cursor=" + "A" * 5_000, 422)


@pytest.mark.parametrize(
    ("query", "sql"),
    [
        ("q=O_1%25", "title LIKE '%%O\\_1\\%%%%'"),
        ("q=o_1", "title ILIKE '%%o\\_1%%'"),
        ("q=%25", "title LIKE '%%\\%%%%'"),
        ("workflow=refund", "workflow = 'refund'"),
        ("gate=look", "gate = 'look'"),
        ("gate=ok&workflow=pair", "gate = 'ok' AND workflow = 'pair'"),
        ("workflow=none", "false"),
    ],
)
def test_search_and_filters_narrow_the_list(desk: Desk, query: str, sql: str) -> None:
    wanted = {str(row[0]) for row in desk.sql(f"SELECT id FROM human_tasks WHERE state = 'open' AND {sql}", *())}
    page = desk.as_("admin").get(f"/inbox?view=all&{query}")
    assert set(_rows(page)) == wanted
    if not wanted:
        assert "Nothing matches" in page.one("main").text
    for name in ("workflow", "gate"):
        if name in query:
            chip = next(node for node in page.find("a", class_="chip") if node.text.startswith(f"{name}:"))
            assert f"{name}=" not in (chip.attrs["href"] or "")


def test_a_run_is_found_by_its_id_or_a_part_of_it(desk: Desk) -> None:
    task = _rows(desk.as_("sam").get("/inbox?workflow=pair"))[0]
    run = str(desk.run_of(UUID(task)))
    for text in (run, run[9:], run.upper()):
        assert _rows(desk.as_("sam").get(f"/inbox?q={text}")) == [task]


def test_rows_say_what_matters(desk: Desk) -> None:
    page = desk.as_("ana").get("/inbox?view=team")
    rows: list[tuple[Any, str]] = [
        (
            desk.sql("SELECT workflow, due_at, assignee FROM human_tasks WHERE id = %s", node.attrs["data-row"])[0],
            node.text,
        )
        for node in page.find("li", data_row=True)
    ]
    late = [text for (_, due, _), text in rows if due is not None and due < datetime.now(UTC)]
    assert len(late) == 2
    assert all("overdue 1 h" in text for text in late)
    assert any("due in 20 min" in text or "due in 19 min" in text for _, text in rows)
    assert any("no due time" in text for _, text in rows)
    assert any("priority 90" in text for _, text in rows)
    assert any("after the fact" in text for _, text in rows)
    assert any("in grace" in text for _, text in rows)
    assert any("1 of 2" in text for _, text in rows)
    assert any(text.split()[-1] == "you" for (_, _, who), text in rows if who == "ana")
    assert any("sam" in text for (_, _, who), text in rows if who == "sam")
    assert any("double(amount) > 100.0" in text for _, text in rows)
    done = desk.as_("ana").get("/inbox?view=done").one("main").text
    assert "approved ana," in done
    assert "rejected sam," in done
    assert not desk.as_("ana").get("/inbox?view=done").find("input", name="item")


def test_a_decision_that_was_taken_back_is_nobodys_in_the_list(desk: Desk) -> None:
    task = desk.start("grace", {"amount": "9", "order_id": "taken-back"})
    desk.decide(task, "ana", "approve")
    desk.engine.withdraw(task, by=desk.people["ana"])
    desk.engine.cancel(desk.run_of(task), reason="a mistake", by=desk.people["admin"])
    (row,) = [
        node
        for node in desk.as_("sam").get("/inbox?view=done").find("li", data_row=True)
        if node.attrs["data-row"] == str(task)
    ]
    assert "canceled" in row.text
    assert "ana" not in row.text


def test_a_row_leads_to_review_in_the_same_list(desk: Desk) -> None:
    page = desk.as_("sam").get("/inbox?view=mine&q=50&sort=priority")
    for node in page.find("a", data_open_row=True):
        assert (node.attrs["href"] or "").endswith("?view=mine&q=50&sort=priority")
    form = page.one("form", class_="filters")
    assert form.one("input", name="q").value == "50"
    assert form.one("select", name="sort").value == "priority"
    assert form.one("input", name="view").value == "mine"


def test_an_empty_list_says_what_comes_next(desk: Desk) -> None:
    people = desk.as_("max")
    assert "All clear" in people.get("/inbox").one("main").text
    assert "Nobody waits for you." in people.get("/inbox?view=overdue").one("main").text
    assert "Nothing is claimed by you or asked of you by name." in people.get("/inbox?view=mine").one("main").text
    assert "Nothing is done yet" in people.get("/inbox?view=done").one("main").text
    assert "Nothing matches" in people.get("/inbox?q=zzz").one("main").text
    assert people.page.find("a", href="/inbox?view=team")
    desk.sql("UPDATE human_tasks SET assignee = NULL WHERE assignee = 'ana'")
    ana = desk.as_("ana").get("/inbox?view=mine").one("main")
    assert "Next in your team due" in ana.text
    assert ana.find("time")


@pytest.mark.parametrize("name", ["view", "sort", "q", "workflow", "gate", "cursor"])
@pytest.mark.parametrize("value", ["\x00", "x" * 5_000, "<script>", "\u202e", "é" * 201, "' OR 1=1 --"], ids="ABCDEF")
def test_a_bad_parameter_is_named_on_a_page(desk: Desk, name: str, value: str) -> None:
    for path in ("/inbox", "/inbox/counts"):
        response = desk.as_("ana").send("GET", f"{path}?{name}={quote(value)}")
        assert response.status_code in (200, 422)
        assert "<script>" not in response.text
        page = parse(response.text)
        if response.status_code == 422:
            assert name in page.one("main").text


def test_the_navigation_shows_what_one_may_use(desk: Desk) -> None:
    def places(name: str) -> list[str]:
        return [node.text for node in desk.as_(name).get("/inbox").one("nav", class_="places").find("a")]

    assert places("admin") == ["Inbox", "Runs", "Audit", "Insights"]
    assert places("ana") == ["Inbox", "Runs"]
    assert next(node.text for node in desk.as_("ana").get("/inbox").find("a", aria_current="page")) == "Inbox"


def test_times_are_the_databases_in_utc_whatever_its_zone(desk: Desk) -> None:
    (name,) = desk.sql("SELECT current_database()")[0]
    moment = datetime(2030, 1, 7, 9, 5, 3, tzinfo=UTC)
    task = desk.start("plain", {"amount": "7", "order_id": "zone"})
    desk.decide(task, "sam", "approve")
    desk.sql("UPDATE human_tasks SET completed_at = %s WHERE id = %s", moment, task)
    desk.sql(f"ALTER DATABASE \"{name}\" SET timezone = 'Asia/Tokyo'")
    with open_again(desk) as again:
        page = again.as_("sam").get("/inbox?view=done")
        assert "07 Jan 2030, 09:05 UTC" in page.one("main").text


@contextmanager
def open_again(desk: Desk) -> Iterator[Desk]:
    """The app on the same database with connections of its own."""
    engine = build_engine(desk.settings, pool_size=2)
    try:
        app = create_app(engine, desk.settings)
        yield Desk(app=app, engine=engine, settings=desk.settings, people=desk.people, keys=desk.keys)
    finally:
        engine.close()
