"""What is believed of the answer of an OpenID provider: nothing that is not to this sign-in."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from tests.integration.inbox.openid_world import World, has_session, open_world, words

from signoff_api.inbox import oidc


@pytest.fixture(scope="module")
def site(module_database_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(module_database_url, valkey_url, tmp_path_factory.mktemp("provider")) as made:
        yield made


@pytest.fixture
def world(site: World) -> World:
    """The site with a provider that tells the truth."""
    site.twist()
    return site


LIES: dict[str, dict[str, Any]] = {
    "another issuer": {"claims": {"iss": "https://evil.example"}},
    "no issuer": {"claims": {"iss": None}},
    "for somebody else": {"claims": {"aud": "another-client"}},
    "for somebody else, by us": {"claims": {"aud": "another-client", "azp": "signoff"}},
    "for us and others, by another": {"claims": {"aud": ["signoff", "x"], "azp": "x"}},
    "for us and others, by nobody": {"claims": {"aud": ["signoff", "x"]}},
    "for nobody": {"claims": {"aud": None}},
    "another sign-in": {"claims": {"nonce": "x" * 43}},
    "no nonce": {"claims": {"nonce": None}},
    "expired": {"moments": {"exp": -61, "iat": -3600}},
    "without an end": {"claims": {"exp": None}},
    "from tomorrow": {"moments": {"iat": 120}},
    "not yet": {"moments": {"nbf": 120}},
    "moments that are none": {"claims": {"exp": "never"}},
    "not signed": {"sign": "none"},
    "signed with the public key as a secret": {"sign": "HS256"},
    "signed by another key of that name": {"sign": "stranger"},
    "signed by an algorithm that we do not take": {"sign": "ES256"},
    "signed by a key that is too short": {"sign": "weak"},
    "by a key that is not known": {"head": {"kid": "nobody"}},
    "another access token": {"claims": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}},
    "no proof": {"no_proof": True},
    "no ID token": {"token": [200, "{}"]},
    "an ID token that is none": {"token": [200, '{"id_token": "a.b.c"}']},
    "an ID token of another kind": {"token": [200, '{"id_token": {"sub": "ana"}}']},
    "a code that was used": {"token": [400, '{"error": "invalid_grant\\u202e<script>"}']},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_an_answer_that_is_not_for_this_sign_in_signs_nobody_in(world: World, lie: dict[str, Any]) -> None:
    person = world.somebody()
    world.twist(**lie)
    response = world.sign_in(person, 403)
    assert "is not one to this sign-in" in words(response)
    assert "<script>" not in response.text
    assert world.principal(person) is None
    world.twist()
    world.sign_in(person)


def test_a_key_that_is_for_something_else_vouches_for_nothing(world: World) -> None:
    person = world.somebody()
    world.twist(use="enc")
    assert "no keys that sign" in words(world.with_().sign_in(person, 503))
    world.twist(use="sig")
    world.with_().sign_in(person)


def test_clocks_may_differ_by_a_minute(world: World) -> None:
    person = world.somebody()
    world.twist(moments={"exp": -30, "iat": 30})
    world.sign_in(person)


def test_an_algorithm_that_a_setting_names_is_taken_and_the_other_then_is_not(world: World) -> None:
    person, elliptic = world.somebody(), world.with_(oidc_algorithms="ES256")
    elliptic.sign_in(person, 403)
    world.twist(sign="ES256")
    elliptic.sign_in(person)


def test_the_proof_that_is_sent_is_that_of_this_browser(world: World) -> None:
    # The provider checks the verifier: a code that was caught is worth nothing in another sign-in.
    person, caught, own = world.somebody(), world.desk.browser(), world.desk.browser()
    code = parse_qs(urlsplit(world.agree(world.begin(caught), person)).query)["code"][0]
    state = parse_qs(urlsplit(world.begin(own)).query)["state"][0]
    response = own.send("GET", f"{oidc.CALLBACK}?code={code}&state={state}")
    assert (response.status_code, has_session(response)) == (403, False)


def test_an_answer_works_in_the_browser_that_began_and_in_no_other(world: World) -> None:
    person, browser, other = world.somebody(), world.desk.browser(), world.desk.browser()
    path = world.agree(world.begin(browser), person)
    assert other.send("GET", path).status_code == 403
    world.begin(other)
    response = other.send("GET", path)
    assert (response.status_code, has_session(response)) == (403, False)
    assert "not begun in this browser" in words(response)
    for changed in (path.replace("state=", "state=x"), path.partition("&state")[0]):
        assert browser.send("GET", changed).status_code == 403
    assert browser.send("GET", path).status_code == 303, "what others tried has used nothing up"


def test_an_answer_works_once_even_with_its_cookie(world: World) -> None:
    person, browser = world.somebody(), world.desk.browser()
    path = world.agree(world.begin(browser), person)
    cookie = browser.client.get_cookie(oidc.COOKIE, domain="localhost")
    assert cookie is not None
    assert browser.send("GET", path).status_code == 303
    before = world.asked("/oauth2/token")
    browser.client.set_cookie(oidc.COOKIE, cookie.value, domain="localhost", secure=True)
    response = browser.send("GET", path)
    assert (response.status_code, has_session(response)) == (403, False)
    assert "has been used" in words(response)
    assert world.asked("/oauth2/token") == before


@pytest.mark.parametrize("how", ["changed", "made up", "of another secret", "too old"])
def test_a_cookie_that_we_have_not_just_signed_is_none(world: World, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    person, browser = world.somebody(), world.desk.browser()
    begun = world.with_(oidc_client_secret="another secret") if how == "of another secret" else world
    response = begun.desk.browser().send("GET", "/sign-in/oidc")
    path = world.agree(response.headers["Location"], person)
    value = response.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    value = {"changed": f"W{value[1:]}x", "made up": "W10.x.y"}.get(how, value)
    browser.client.set_cookie(oidc.COOKIE, value, domain="localhost", secure=True)
    if how == "too old":
        later = time.time() + 601
        monkeypatch.setattr("itsdangerous.timed.time.time", lambda: later)
    response = browser.send("GET", path)
    assert (response.status_code, has_session(response)) == (403, False)


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "/x" * 1_001])
def test_nobody_is_sent_elsewhere_by_signing_in(world: World, target: str) -> None:
    browser = world.desk.browser()
    url = world.begin(browser, f"/sign-in/oidc?next={quote(target, safe='')}")
    response = browser.send("GET", world.agree(url, world.somebody()))
    assert response.headers["Location"] == "/inbox"


def test_a_path_that_no_cookie_holds_is_forgotten_and_the_sign_in_goes_on(world: World) -> None:
    browser = world.desk.browser()
    url = world.begin(browser, f"/sign-in/oidc?next=/inbox?q={secrets.token_urlsafe(3_600)}")
    assert browser.send("GET", world.agree(url, world.somebody())).status_code == 303


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        ("access_denied", 403, "did not let you in"),
        ("server_error", 503, "at the moment"),
        ("<script>alert(1)</script>", 403, "did not sign you in"),
        ("\u202egnp", 403, "did not sign you in"),
        ("", 403, "did not sign you in"),
    ],
)
def test_what_the_provider_says_itself_is_not_shown(world: World, error: str, status: int, told: str) -> None:
    browser = world.desk.browser()
    state = parse_qs(urlsplit(world.begin(browser)).query)["state"][0]
    query = urlencode({"state": state, "error": error, "error_description": "<b>call \u202e us-at-once"})
    response = browser.send("GET", f"{oidc.CALLBACK}?{query}")
    assert response.status_code == status
    assert told in words(response)
    for text in ("<script>", "us-at-once", "\u202e"):
        assert text not in response.text


@pytest.mark.parametrize("code", ["", "x" * 4_097, "a\u200b", "a%00"])
def test_a_code_that_can_not_be_one_is_not_sent_on(world: World, code: str) -> None:
    browser, before = world.desk.browser(), world.asked("/oauth2/token")
    state = parse_qs(urlsplit(world.begin(browser)).query)["state"][0]
    assert browser.send("GET", f"{oidc.CALLBACK}?state={state}&code={code}").status_code == 403
    assert world.asked("/oauth2/token") == before


def test_an_answer_says_from_whom_it_is_where_the_provider_says_that_it_does(world: World) -> None:
    person, browser = world.somebody(), world.desk.browser()
    path = world.agree(world.begin(browser), person)
    assert browser.send("GET", f"{path}&iss=https://evil.example").status_code == 403
    path = world.agree(world.begin(browser), person)
    assert browser.send("GET", f"{path}&iss={quote(world.issuer)}").status_code == 303
    world.twist(discovery={"authorization_response_iss_parameter_supported": True})
    world.with_().sign_in(person, 403)
