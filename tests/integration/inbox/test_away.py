"""Being away, by a form on the account page: the engine's own calls, and nothing that is typed is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.integration.inbox.desk import Browser, Desk, open_desk

from signoff.store.delegations import NewDelegation
from signoff.store.identity import create_api_key
from signoff.store.sessions import start_session


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as opened:
        yield opened


@pytest.fixture
def ana(desk: Desk) -> Iterator[Browser]:
    browser = desk.as_("ana")
    browser.get("/account")
    yield browser
    desk.sql("UPDATE delegations SET ended_at = clock_timestamp() WHERE ended_at IS NULL")


def day(ahead: int) -> str:
    return (datetime.now(UTC) + timedelta(days=ahead)).date().isoformat()


def stored(desk: Desk) -> list[tuple[object, ...]]:
    return desk.sql(
        "SELECT d.kind, f.name, t.name, d.from_at <= clock_timestamp(), d.until_at::date::text, d.created_by->>'name'"
        " FROM delegations d JOIN principals f ON f.id = d.delegator_id LEFT JOIN principals t ON t.id = d.delegate_id"
        " WHERE d.ended_at IS NULL ORDER BY d.id"
    )


def test_who_is_away_from_today_on_says_until_when_and_who_stands_in(desk: Desk, ana: Browser) -> None:
    ana.press("Set as away", **{"from": day(0), "until": day(3), "substitute": "max"})
    assert stored(desk) == [("absence", "ana", "max", True, day(4), "ana")], "the last day is a whole one"
    assert "You are set as away." in ana.words
    assert "max stands in" in ana.words
    assert "You may decide in the stead of ana" in desk.as_("max").get("/account").one("main").text
    task = desk.start("to-sam", {"amount": "1"})
    assert desk.row(task)[0] == "open"
    ana.press("End it now")
    assert stored(desk) == []
    assert "It has ended." in ana.words


def test_one_may_be_away_later_and_name_nobody(desk: Desk, ana: Browser) -> None:
    ana.press("Set as away", **{"from": day(2), "until": day(2)})
    assert stored(desk) == [("absence", "ana", None, False, day(3), "ana")]
    assert "nobody stands in" in ana.words


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"until": ""}, "until"),
        ({"until": "tomorrow"}, "until"),
        ({"until": "9999-12-31"}, "until"),
        ({"until": "2000-01-01"}, "until"),
        ({"from": "2999-01-02", "until": "2999-01-01"}, "until"),
        ({"from": "31.12.2026", "until": "2999-01-01"}, "from"),
        ({"until": "2999-01-01", "substitute": "nobody-there"}, "substitute"),
        ({"until": "2999-01-01", "substitute": "ana"}, "substitute"),
        ({"until": "2999-01-01", "substitute": "robot"}, "substitute"),
    ],
)
def test_what_means_nothing_is_told_at_its_field_and_kept(
    desk: Desk, ana: Browser, typed: dict[str, str], field: str
) -> None:
    page = ana.press("Set as away", 422, **typed)
    (wrong,) = [node for node in page.find("input") if node.attrs.get("aria-invalid") == "true"]
    assert wrong.attrs["name"] == field
    assert page.find("p", id=f"wrong-{field}")
    for name, text in typed.items():
        assert page.find("input", name=name)[0].value == text
    assert stored(desk) == []


def test_nobody_ends_what_is_anothers(desk: Desk, ana: Browser) -> None:
    until = datetime.now(UTC) + timedelta(days=3)
    made = desk.engine.delegate(NewDelegation(kind="absence", delegate="max", until_at=until), by=desk.people["ana"])
    for who, status in (("sam", 404), ("max", 403)):
        desk.as_(who).post(f"/account/away/{made.id}/end", status)
    assert len(stored(desk)) == 1
    assert ana.send("POST", f"/account/away/{made.id}/end", data={"csrf": "0" * 64}).status_code == 403


def test_a_session_of_a_narrowed_key_shows_no_form_that_would_be_refused(desk: Desk) -> None:
    key = create_api_key(desk.engine.database, "ana", scopes=("delegations:read", "tasks:read"))
    token = start_session(desk.engine.database, desk.people["ana"], hours=1, user_agent="test", key=key)
    browser = desk.browser()
    browser.client.set_cookie("signoff_session", token, domain="localhost", secure=True)
    page = browser.get("/account")
    assert page.find("h2", id="away")
    assert not page.find("form", action="/account/away")
    browser.post("/account/away", 403, until=day(3))
    assert stored(desk) == []
