"""Signing in with a name and a password: who gets in, what others are told, how often, and what changing it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from structlog.testing import capture_logs
from tests.integration.inbox.desk import Browser, Desk, open_desk
from werkzeug.test import TestResponse

from signoff.errors import NotFound, Unauthenticated
from signoff.store import sign_in_attempts
from signoff.store.identity import create_api_key, create_principal, update_principal
from signoff.store.passwords import Proof, is_still_right, prove, remove_password, set_password
from signoff.store.sessions import create_sign_in_link, list_sessions, start_session
from signoff_api.context import wiring
from signoff_api.inbox.sign_in import client_address

GOOD = "correct horse battery staple"
OTHER = "another horse battery staple"


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as opened:
        yield opened


@pytest.fixture
def name(desk: Desk) -> str:
    """A person of this test's own, with a password."""
    number = len(desk.sql("SELECT 1 FROM principals"))
    made = f"p{number}"
    create_principal(desk.engine.database, name=made, kind="user", groups=("leads",), roles=("reviewer",))
    set_password(desk.engine.database, made, GOOD)
    return made


def _sign_in(browser: Browser, name: str, password: str, **headers: str) -> TestResponse:
    csrf = browser.get("/sign-in").find("input", name="csrf")[0].value
    data = {"csrf": csrf, "name": name, "password": password}
    return browser.send("POST", "/sign-in/password", data=data, headers=headers)


def _is_in(browser: Browser) -> bool:
    return browser.send("GET", "/inbox").status_code == 200


def _attempts(desk: Desk, name: str) -> list[tuple[int, float]]:
    return desk.sql(
        "SELECT failures, extract(epoch FROM next_at - now())::float FROM sign_in_attempts WHERE subject = %s",
        sign_in_attempts.account(name).digest,
    )


def test_the_right_one_begins_a_session_that_says_so(desk: Desk, name: str) -> None:
    browser = desk.browser()
    response = _sign_in(browser, name.upper(), GOOD)
    assert (response.status_code, response.headers["Location"]) == (303, "/inbox")
    assert _is_in(browser)
    (session,) = list_sessions(desk.engine.database, name)
    assert (session.started_with, session.by_key) == ("password", False)
    assert GOOD not in str(desk.sql("SELECT w::text FROM passwords w"))


def test_a_wrong_one_an_unknown_name_and_a_program_are_told_the_same(desk: Desk, name: str) -> None:
    create_principal(desk.engine.database, name=f"{name}-none", kind="user")
    create_principal(desk.engine.database, name=f"{name}-off", kind="user")
    set_password(desk.engine.database, f"{name}-off", GOOD)
    update_principal(desk.engine.database, f"{name}-off", disabled=True)
    answers = []
    for who, password in (
        (name, OTHER),
        ("nobody-at-all", GOOD),
        (f"{name}-none", GOOD),
        (f"{name}-off", GOOD),
        ("portal", GOOD),
        ("", GOOD),
        ("x" * 300, GOOD),
        ("no\x00text", GOOD),
        ("\U0001f511" * 90, GOOD),
    ):
        response = _sign_in(desk.browser(), who, password)
        answers.append((response.status_code, "do not belong together" in response.text))
    assert set(answers) == {(401, True)}


def test_an_unknown_name_takes_as_long_as_a_wrong_password(desk: Desk, name: str) -> None:
    def quickest(who: str) -> float:
        found = []
        for _ in range(3):
            desk.sql("DELETE FROM sign_in_attempts")
            began = time.perf_counter()
            assert prove(desk.engine.database, who, OTHER, address=None) is None
            found.append(time.perf_counter() - began)
        return min(found)

    quickest(name)
    known, unknown = quickest(name), quickest("nobody-at-all")
    assert 0.4 < unknown / known < 2.5, (known, unknown)


def test_after_five_failures_it_waits_twice_as_long_each_time_and_up_to_a_quarter_of_an_hour(
    desk: Desk, name: str
) -> None:
    waits = []
    digest = sign_in_attempts.account(name).digest
    for _ in range(16):
        with desk.engine.database.transaction() as cursor:
            assert sign_in_attempts.count(cursor, sign_in_attempts.account(name)) is None
        ((failures, wait),) = _attempts(desk, name)
        waits.append(round(wait))
        desk.sql("UPDATE sign_in_attempts SET next_at = now() WHERE subject = %s", digest)
    assert waits == [0, 0, 0, 0, 5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900]
    desk.sql("UPDATE sign_in_attempts SET last_at = now() - interval '61 minutes' WHERE subject = %s", digest)
    with desk.engine.database.transaction() as cursor:
        assert sign_in_attempts.count(cursor, sign_in_attempts.account(name)) is None
    ((failures, wait),) = _attempts(desk, name)
    assert (failures, round(wait)) == (1, 0)


def test_while_it_waits_the_right_one_is_not_tried_and_a_link_and_a_key_work(desk: Desk, name: str) -> None:
    for _ in range(5):
        assert _sign_in(desk.browser(), name, OTHER).status_code == 401
    with capture_logs() as logs:
        response = _sign_in(desk.browser(), name, GOOD)
    assert response.status_code == 429
    assert 1 <= int(response.headers["Retry-After"]) <= 5
    assert [entry["why"] for entry in logs if entry["event"] == "password_refused"] == ["too_many_attempts"]
    assert not any(OTHER in str(entry) or GOOD in str(entry) for entry in logs)
    browser = desk.browser()
    key = create_api_key(desk.engine.database, name)
    csrf = browser.get("/sign-in").find("input", name="csrf")[0].value
    assert browser.send("POST", "/sign-in", data={"csrf": csrf, "key": key}).status_code == 303


def test_many_at_once_are_no_more_than_five(desk: Desk, name: str) -> None:
    answers: list[int | None] = []

    def attempt() -> None:
        with desk.engine.database.transaction() as cursor:
            answers.append(sign_in_attempts.count(cursor, sign_in_attempts.account(name)))

    threads = [threading.Thread(target=attempt) for _ in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert (len(answers), answers.count(None)) == (12, 5)


def test_the_right_one_begins_to_count_anew_for_the_person_and_not_for_the_address(desk: Desk, name: str) -> None:
    for _ in range(3):
        prove(desk.engine.database, name, OTHER, address="192.0.2.7")
    assert prove(desk.engine.database, name, GOOD, address="192.0.2.7") is not None
    assert _attempts(desk, name) == []
    subject = sign_in_attempts.address("192.0.2.7")
    assert subject is not None
    assert desk.sql("SELECT failures FROM sign_in_attempts WHERE subject = %s", subject.digest) == [(3,)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
    ],
)
def test_an_address_of_ipv6_counts_with_its_network(one: str, other: str, same: bool) -> None:
    assert (sign_in_attempts.address(one) == sign_in_attempts.address(other)) is same


@pytest.mark.parametrize("text", [None, "", "127.0.0.1", "::1", "unix:", "not an address"])
def test_this_host_is_nobodys_address(text: str | None) -> None:
    assert sign_in_attempts.address(text) is None


def test_changing_it_ends_every_session_and_every_unused_link(desk: Desk, name: str) -> None:
    database = desk.engine.database
    browser, other = desk.browser(), desk.browser()
    assert _sign_in(browser, name, GOOD).status_code == 303
    assert _sign_in(other, name, GOOD).status_code == 303
    link = create_sign_in_link(database, name, lasts=timedelta(minutes=5))
    assert set_password(database, name, OTHER) == 2
    assert not _is_in(browser)
    assert not _is_in(other)
    assert desk.browser().send("GET", f"/sign-in/{link}").status_code == 404
    assert _sign_in(browser, name, GOOD).status_code == 401
    assert _sign_in(browser, name, OTHER).status_code == 303


def test_a_sign_in_that_was_under_way_when_it_changed_begins_no_session(desk: Desk, name: str) -> None:
    database = desk.engine.database
    proof = prove(database, name, GOOD, address=None)
    assert proof is not None
    set_password(database, name, OTHER)
    with pytest.raises(Unauthenticated):
        start_session(
            database,
            proof.principal,
            hours=1,
            user_agent="",
            key=None,
            started_with="password",
            only_if=lambda cursor: is_still_right(cursor, proof),
        )
    assert list_sessions(database, name) == []


def test_without_one_nobody_signs_in_by_it(desk: Desk, name: str) -> None:
    browser = desk.browser()
    assert _sign_in(browser, name, GOOD).status_code == 303
    assert remove_password(desk.engine.database, name) == 1
    assert not _is_in(browser)
    assert _sign_in(browser, name, GOOD).status_code == 401
    with pytest.raises(NotFound):
        remove_password(desk.engine.database, name)


@pytest.mark.parametrize("who", ["portal", "robot", "not-there"])
def test_only_people_have_one(desk: Desk, who: str) -> None:
    with pytest.raises(NotFound):
        set_password(desk.engine.database, who, GOOD)


def test_one_of_older_parameters_is_hashed_anew_when_it_is_used(desk: Desk, name: str) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(GOOD)
    whose = "principal_id = (SELECT id FROM principals WHERE name = %s)"
    desk.sql(f"UPDATE passwords SET hash = %s WHERE {whose}", old, name)
    browser = desk.browser()
    assert _sign_in(browser, name, GOOD).status_code == 303
    assert _is_in(browser)
    assert desk.sql("SELECT 1 FROM passwords WHERE hash = %s", old) == []
    assert isinstance(prove(desk.engine.database, name, GOOD, address=None), Proof)


class TestAccount:
    def _change(self, browser: Browser, current: str, new: str, again: str | None = None) -> TestResponse:
        browser.get("/account")
        data = {"csrf": browser.csrf, "current": current, "new": new, "again": again or new}
        return browser.send("POST", "/account/password", data=data)

    def test_a_person_changes_their_own_and_stays_signed_in_here_alone(self, desk: Desk, name: str) -> None:
        here, there = desk.browser(), desk.browser()
        for each in (here, there):
            assert _sign_in(each, name, GOOD).status_code == 303
        response = self._change(here, GOOD, OTHER)
        assert (response.status_code, response.headers["Location"]) == (303, "/account?changed=password")
        assert "Your password is changed" in here.get("/account?changed=password").text
        assert _is_in(here)
        assert not _is_in(there)
        assert _sign_in(desk.browser(), name, OTHER).status_code == 303

    def test_not_without_the_current_one(self, desk: Desk, name: str) -> None:
        browser = desk.browser()
        assert _sign_in(browser, name, GOOD).status_code == 303
        assert self._change(browser, OTHER, OTHER).status_code == 403
        assert self._change(browser, GOOD, OTHER, "something else").status_code == 422
        assert self._change(browser, GOOD, "short").status_code == 422
        for _ in range(5):
            response = self._change(browser, "guess guess guess", OTHER)
        assert response.status_code == 429
        desk.sql("DELETE FROM sign_in_attempts")
        assert _sign_in(desk.browser(), name, GOOD).status_code == 303

    def test_who_has_none_is_told_so(self, desk: Desk) -> None:
        assert "An administrator can give you one" in desk.as_("ana").get("/account").text


def test_behind_proxies_the_address_is_what_the_outermost_of_ours_saw(desk: Desk) -> None:
    for proxies, header, expected in (
        (0, "192.0.2.1", "10.0.0.1"),
        (1, "198.51.100.9, 192.0.2.1", "192.0.2.1"),
        (2, "198.51.100.9, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
        (2, "192.0.2.1", "10.0.0.1"),
        (1, "", "10.0.0.1"),
    ):
        headers = {"X-Forwarded-For": header} if header else {}
        with desk.app.test_request_context(headers=headers, environ_base={"REMOTE_ADDR": "10.0.0.1"}):
            parts = wiring()
            changed = parts.settings.model_copy(update={"trusted_proxies": proxies})
            desk.app.extensions["signoff"] = replace(parts, settings=changed)
            try:
                assert client_address() == expected, (proxies, header)
            finally:
                desk.app.extensions["signoff"] = parts
