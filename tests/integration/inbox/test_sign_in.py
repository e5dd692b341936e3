"""Signing in to the pages: who gets in, what the cookie is, and when it opens nothing any more."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.inbox.desk import Browser, Desk, open_desk
from tests.integration.inbox.html import parse
from werkzeug.http import parse_cookie
from werkzeug.test import TestResponse

from signoff.errors import NotFound
from signoff.store.identity import create_api_key, create_principal, list_api_keys, revoke_api_key, update_principal
from signoff.store.sessions import create_sign_in_link, list_sessions, revoke_session

ELSEWHERE = (
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https://evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\x00",
    " /inbox",
    "evil.example",
    "/" + "x" * 2_001,
)


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as opened:
        yield opened


def _set_cookies(response: TestResponse) -> dict[str, str]:
    found = {}
    for header in response.headers.getlist("Set-Cookie"):
        found[header.partition("=")[0]] = header
    return found


def _sign_in(browser: Browser, key: str, status: int = 303, **fields: str) -> TestResponse:
    page = browser.get("/sign-in")
    csrf = page.find("input", name="csrf")[0].value
    response = browser.send("POST", "/sign-in", data={"csrf": csrf, "key": key, **fields})
    assert response.status_code == status, response.text
    return response


def _link(desk: Desk, name: str, minutes: float = 15) -> str:
    return "/sign-in/" + create_sign_in_link(desk.engine.database, name, lasts=timedelta(minutes=minutes))


def _is_in(browser: Browser) -> bool:
    return browser.send("GET", "/inbox").status_code == 200


def _person(desk: Desk, name: str) -> str:
    """A new reviewer, and their key."""
    desk.people[name] = create_principal(
        desk.engine.database, name=name, kind="user", groups=("leads",), roles=("reviewer",)
    )
    return create_api_key(desk.engine.database, name)


def test_a_key_signs_in_and_the_cookies_are_kept_from_scripts_and_other_sites(desk: Desk) -> None:
    browser = desk.browser()
    browser.get("/sign-in")
    assert browser.response is not None
    form = _set_cookies(browser.response)["signoff_sign_in"]
    for part in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/sign-in"):
        assert part in form
    response = _sign_in(browser, desk.keys["ana"])
    assert response.headers["Location"] == "/inbox"
    cookies = _set_cookies(response)
    session = cookies["signoff_session"]
    for part in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/", f"Max-Age={12 * 3600}"):
        assert part in session.split("; "), session
    assert "Domain" not in session
    token = parse_cookie(session)["signoff_session"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token or "")
    assert "Max-Age=0" in cookies["signoff_sign_in"], "the form's cookie has had its day"
    assert _is_in(browser)
    stored = desk.sql("SELECT s::text FROM sessions s")
    assert not any(str(token) in text for (text,) in stored), "what is stored opens nothing"


def test_the_session_is_a_new_one_at_each_sign_in_and_the_old_one_ends(desk: Desk) -> None:
    browser = desk.browser()
    first = parse_cookie(_set_cookies(_sign_in(browser, desk.keys["ana"]))["signoff_session"])["signoff_session"]
    second = parse_cookie(_set_cookies(_sign_in(browser, desk.keys["sam"]))["signoff_session"])["signoff_session"]
    assert first != second
    other = desk.browser()
    other.client.set_cookie("signoff_session", first or "", domain="localhost", secure=True)
    assert not _is_in(other)
    assert _is_in(browser)


def test_a_token_that_was_planted_never_becomes_a_session(desk: Desk) -> None:
    browser = desk.browser()
    planted = "A" * 43
    browser.client.set_cookie("signoff_session", planted, domain="localhost", secure=True)
    response = _sign_in(browser, desk.keys["ana"])
    assert parse_cookie(_set_cookies(response)["signoff_session"])["signoff_session"] != planted


def test_signing_out_ends_the_session_everywhere(desk: Desk) -> None:
    browser = desk.browser()
    token = parse_cookie(_set_cookies(_sign_in(browser, desk.keys["ana"]))["signoff_session"])["signoff_session"]
    browser.get("/inbox")
    response = browser.send("POST", "/sign-out", data={"csrf": browser.csrf})
    assert response.status_code == 303
    assert response.headers["Location"] == "/sign-in"
    gone = _set_cookies(response)["signoff_session"]
    for part in ("Max-Age=0", "Secure", "HttpOnly", "Path=/"):
        assert part in gone
    other = desk.browser()
    other.client.set_cookie("signoff_session", token or "", domain="localhost", secure=True)
    assert not _is_in(other)


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_session_is_dead_at_once_when_its_key_is(desk: Desk, how: str) -> None:
    key = _person(desk, f"key-{how}")
    browser = desk.browser()
    _sign_in(browser, key)
    assert _is_in(browser)
    assert [session.by_key for session in list_sessions(desk.engine.database, f"key-{how}")] == [True]
    (kept,) = list_api_keys(desk.engine.database, f"key-{how}")
    if how == "revoked":
        revoke_api_key(desk.engine.database, kept.id)
    else:
        desk.sql("UPDATE api_keys SET expires_at = now() WHERE id = %s", kept.id)
    assert not _is_in(browser)
    assert list_sessions(desk.engine.database, f"key-{how}") == []
    _sign_in(browser, key, 401)


def test_another_key_of_the_same_person_has_sessions_of_its_own(desk: Desk) -> None:
    key = _person(desk, "two-keys")
    create_api_key(desk.engine.database, "two-keys")
    browser = desk.browser()
    _sign_in(browser, key)
    newest = list_api_keys(desk.engine.database, "two-keys")[0]
    revoke_api_key(desk.engine.database, newest.id)
    assert _is_in(browser)


@pytest.mark.parametrize("how", ["disabled", "session revoked", "session expired"])
def test_a_session_is_dead_at_once_when_it_or_its_person_is(desk: Desk, how: str) -> None:
    name = how.replace(" ", "-")
    key = _person(desk, name)
    browser = desk.browser()
    _sign_in(browser, key)
    browser.get("/inbox")
    csrf = browser.csrf
    (session,) = list_sessions(desk.engine.database, name)
    if how == "disabled":
        update_principal(desk.engine.database, name, disabled=True)
    elif how == "session revoked":
        revoke_session(desk.engine.database, session.id)
    else:
        desk.sql("UPDATE sessions SET expires_at = now() WHERE id = %s", session.id)
    assert not _is_in(browser)
    response = browser.send("POST", "/theme", data={"csrf": csrf, "theme": "dark"})
    assert response.status_code == 401
    assert list_sessions(desk.engine.database, name) == []


@pytest.mark.parametrize("name", ["portal", "robot"])
def test_programs_do_not_sign_in(desk: Desk, name: str) -> None:
    browser = desk.browser()
    response = _sign_in(browser, desk.keys[name], 403)
    assert "The inbox is for people." in parse(response.text).one("main").text
    assert "signoff_session" not in _set_cookies(response)
    with pytest.raises(NotFound):
        create_sign_in_link(desk.engine.database, name, lasts=timedelta(minutes=5))
    # Neither by a link or a session that was made for them behind our back.
    token = create_sign_in_link(desk.engine.database, "ana", lasts=timedelta(minutes=5))
    desk.sql(
        "UPDATE sign_in_links SET principal_id = %s WHERE principal_id = %s AND used_at IS NULL",
        desk.people[name].id,
        desk.people["ana"].id,
    )
    browser.get(f"/sign-in/{token}", 404)


@pytest.mark.parametrize("key", ["", "so_", "so_aaaaaaaa_" + "x" * 43, "' OR 1=1", "x" * 5_000, "\x00"])
def test_an_unknown_key_gets_in_nowhere_and_is_not_shown_again(desk: Desk, key: str) -> None:
    browser = desk.browser()
    response = _sign_in(browser, key, 401)
    assert "signoff_session" not in _set_cookies(response)
    page = parse(response.text)
    assert "This key is not known" in page.one("main").text
    assert page.one("input", id="key").value == ""


def test_the_sign_in_form_works_only_in_the_browser_it_was_shown_in(desk: Desk) -> None:
    shown, other = desk.browser(), desk.browser()
    csrf = shown.get("/sign-in").find("input", name="csrf")[0].value
    for data in ({"csrf": csrf}, {"csrf": "0" * 64}, {}):
        assert other.send("POST", "/sign-in", data={"key": desk.keys["ana"], **data}).status_code == 403
    other.get("/sign-in")
    assert other.send("POST", "/sign-in", data={"key": desk.keys["ana"], "csrf": csrf}).status_code == 403
    for site in ("cross-site", "same-site"):
        response = shown.send(
            "POST", "/sign-in", data={"key": desk.keys["ana"], "csrf": csrf}, headers={"Sec-Fetch-Site": site}
        )
        assert response.status_code == 403
        assert "signoff_session" not in _set_cookies(response)


@pytest.mark.parametrize("target", ELSEWHERE)
def test_nobody_is_sent_elsewhere_by_signing_in(desk: Desk, target: str) -> None:
    browser = desk.browser()
    response = _sign_in(browser, desk.keys["ana"], next=target)
    assert response.headers["Location"] == "/inbox"
    page = parse(desk.browser().send("GET", "/sign-in", query_string={"next": target}).text)
    assert {found.value for found in page.find("input", name="next")} == {""}
    browser = desk.browser()
    path = _link(desk, "ana")
    csrf = browser.get(path).one("input", name="csrf").value
    response = browser.send("POST", path, data={"csrf": csrf, "next": target})
    assert response.headers["Location"] == "/inbox"


@pytest.mark.parametrize("target", ["/inbox?view=mine&q=a%20b", "/runs", "/inbox?q=%C3%A9"])
def test_signing_in_goes_on_to_where_one_wanted_to_be(desk: Desk, target: str) -> None:
    browser = desk.browser()
    page = browser.get(target)
    assert browser.path.startswith("/sign-in?next=")
    assert {found.value for found in page.find("input", name="next")} == {target}
    browser.press("Sign in", key=desk.keys["ana"])
    assert browser.path == target


@pytest.mark.parametrize("theme", ["back", "next"])
@pytest.mark.parametrize("target", ELSEWHERE)
def test_the_theme_leads_back_to_pages_of_ours_alone(desk: Desk, target: str, theme: str) -> None:
    ana = desk.as_("ana")
    ana.get("/inbox")
    response = ana.send("POST", "/theme", data={"csrf": ana.csrf, "theme": "dark", theme: target})
    assert response.headers["Location"] == "/inbox"


def test_the_theme_is_kept_and_nothing_else_is_one(desk: Desk) -> None:
    ana = desk.as_("ana")
    ana.get("/inbox")
    ana.post("/theme", 200, theme="dark", back="/inbox")
    assert ana.page.one("html").attrs["data-theme"] == "dark"
    ana.post("/theme", 422, theme='"><script>')
    ana.client.set_cookie("signoff_theme", '"><script>', domain="localhost")
    assert ana.get("/inbox").one("html").attrs["data-theme"] == "system"


def test_looking_at_a_link_uses_nothing_up(desk: Desk) -> None:
    path = _link(desk, "ana")
    before = desk.everything(), desk.sql("SELECT * FROM sessions ORDER BY id")
    for browser in (desk.browser(), desk.browser()):
        assert browser.send("HEAD", path).status_code == 200
        response = browser.send("GET", path, headers={"Purpose": "prefetch"})
        assert response.status_code == 200
        assert "signoff_session" not in _set_cookies(response)
        assert "Sign in as ana?" in parse(response.text).one("main").text
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-store"
    assert (desk.everything(), desk.sql("SELECT * FROM sessions ORDER BY id")) == before


def test_a_link_works_once(desk: Desk) -> None:
    path = _link(desk, "ana")
    first, second = desk.browser(), desk.browser()
    second.get(path)
    first.get(path)
    first.press("Sign in as ana")
    assert first.path == "/inbox"
    second.press("Sign in as ana", 404)
    assert "has been used, or it has expired" in second.words
    assert not _is_in(second)
    assert second.send("GET", path).status_code == 404


def test_of_two_presses_at_once_on_a_link_one_gets_in(desk: Desk) -> None:
    for _ in range(5):
        path = _link(desk, "ana")
        browsers = [desk.browser() for _ in range(4)]
        tokens = [browser.get(path).one("input", name="csrf").value for browser in browsers]
        barrier = threading.Barrier(len(browsers))
        found: list[int] = []

        def press(browser: Browser, csrf: str, path: str = path, barrier: Any = barrier, found: Any = found) -> None:
            barrier.wait()
            found.append(browser.send("POST", path, data={"csrf": csrf}).status_code)

        threads = [threading.Thread(target=press, args=pair) for pair in zip(browsers, tokens, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(found) == [303, 404, 404, 404]


@pytest.mark.parametrize("how", ["expired", "disabled"])
def test_a_link_ends_with_its_time_and_its_person(desk: Desk, how: str) -> None:
    _person(desk, f"link-{how}")
    path = _link(desk, f"link-{how}")
    browser = desk.browser()
    browser.get(path)
    if how == "expired":
        desk.sql("UPDATE sign_in_links SET expires_at = now() WHERE principal_id = %s", desk.people[f"link-{how}"].id)
    else:
        update_principal(desk.engine.database, f"link-{how}", disabled=True)
    browser.press(f"Sign in as link-{how}", 404)
    assert not _is_in(browser)


def test_a_link_asks_for_the_form_of_the_browser_it_was_opened_in(desk: Desk) -> None:
    path = _link(desk, "ana")
    csrf = desk.browser().get(path).one("input", name="csrf").value
    other = desk.browser()
    assert other.send("POST", path, data={"csrf": csrf}).status_code == 403
    assert other.send("POST", path).status_code == 403
    assert other.send("GET", path).status_code == 200, "nothing was used up"


@pytest.mark.parametrize("token", ["x", "A" * 43, "A" * 44, "%00", "é" * 43])
def test_a_link_that_was_made_up_is_not_there(desk: Desk, token: str) -> None:
    assert desk.browser().send("GET", f"/sign-in/{token}").status_code == 404


def test_neither_key_nor_link_nor_session_is_logged(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    path = _link(desk, "ana")
    browser = desk.browser()
    browser.get(path)
    browser.press("Sign in as ana")
    session = browser.client.get_cookie("signoff_session", domain="localhost")
    assert session is not None
    _sign_in(desk.browser(), desk.keys["sam"])
    # Nor is one that still opens something, by a link that was copied with a little more, or sent in another way.
    unused = _link(desk, "ana")
    for method, place in (
        ("GET", unused + "/"),
        ("PUT", unused),
        ("GET", "/x" + unused),
        ("GET", unused.upper() + "/x"),
    ):
        assert desk.browser().send(method, place).status_code in (404, 405), place
    logged = "".join(capsys.readouterr())
    assert "/sign-in" in logged
    token = unused.rpartition("/")[2]
    for secret in (path.rpartition("/")[2], session.value, desk.keys["sam"], token, token.upper()):
        assert secret not in logged


def test_the_session_notes_when_it_was_used_and_by_what(desk: Desk) -> None:
    key = _person(desk, "seen")
    browser = desk.browser()
    csrf = browser.get("/sign-in").find("input", name="csrf")[0].value
    agent = "Mozilla/5.0 \u202e" + "x" * 500
    browser.send("POST", "/sign-in", data={"csrf": csrf, "key": key}, headers={"User-Agent": agent})
    (session,) = list_sessions(desk.engine.database, "seen")
    assert len(session.user_agent) == 200
    assert session.user_agent.startswith("Mozilla/5.0 ")
    assert session.expires_at - session.created_at == timedelta(hours=12)
    assert abs(datetime.now(UTC) - session.seen_at) < timedelta(minutes=1)
