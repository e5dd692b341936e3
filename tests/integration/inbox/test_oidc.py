"""Signing in by an OpenID provider: who becomes whom, and what is believed of an answer."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from tests.integration.inbox.desk import Browser, Desk, open_desk
from tests.integration.inbox.html import parse
from tests.servers import eventually, free_port
from werkzeug.test import TestResponse

from signoff.embedded.processes import launch, stop
from signoff.errors import ConfigurationError
from signoff.identity import Principal
from signoff.settings import Settings
from signoff.store.identity import update_principal
from signoff.store.provider_identities import link_identity
from signoff_api.app import create_app
from signoff_api.inbox import oidc, oidc_provider

PROGRAM = Path(__file__).with_name("openid_provider.py")
SECRET = "a secret of 32 characters, or more"


@dataclass
class World:
    """The pages, and the provider that signs people in to them."""

    desk: Desk
    issuer: str
    people: int = 0

    def with_(self, **options: Any) -> World:
        """The same database behind an app of other settings; nothing is remembered of the provider."""
        found: dict[str, Any] = {
            "database_url": self.desk.settings.database_url,
            "broker_url": self.desk.settings.broker_url,
            "public_url": "https://localhost",
            "oidc_issuer": self.issuer,
            "oidc_client_id": "signoff",
            "oidc_client_secret": SECRET,
            "oidc_groups_claim": "groups",
        }
        settings = Settings(**(found | options))
        app = create_app(self.desk.engine, settings)
        return World(desk=replace(self.desk, app=app, settings=settings), issuer=self.issuer)

    def ask(self, method: str, path: str, body: str = "", kind: str = "application/json") -> http.client.HTTPResponse:
        """One request to the provider."""
        connection = http.client.HTTPConnection(urlsplit(self.issuer).netloc, timeout=10)
        connection.request(method, path, body=body, headers={"Content-Type": kind})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response

    def twist(self, **how: Any) -> None:
        """Make the provider lie."""
        self.ask("PUT", "/twist", json.dumps(how))

    def asked(self, path: str) -> int:
        """How often the provider has been asked this."""
        connection = http.client.HTTPConnection(urlsplit(self.issuer).netloc, timeout=10)
        connection.request("GET", "/twist")
        found = json.loads(connection.getresponse().read())
        connection.close()
        return int(found.get(path, 0))

    def has(self, subject: str, **claims: Any) -> None:
        """The provider knows this person."""
        assert self.ask("PUT", f"/users/{subject}", json.dumps(claims)).status == 204

    def begin(self, browser: Browser, path: str = "/sign-in/oidc") -> str:
        """Where the browser is sent."""
        response = browser.send("GET", path)
        assert response.status_code == 303, response.text
        return response.headers["Location"]

    def agree(self, url: str, subject: str) -> str:
        """Sign in at the provider; where it sends the browser back to, without the host."""
        parts = urlsplit(url)
        form = urlencode({"sub": subject})
        response = self.ask("POST", f"{parts.path}?{parts.query}", form, "application/x-www-form-urlencoded")
        assert response.status == 302
        return response.headers["Location"].removeprefix("https://localhost")

    def sign_in(self, subject: str, status: int = 303, browser: Browser | None = None) -> TestResponse:
        """There and back again."""
        browser = browser or self.desk.browser()
        response = browser.send("GET", self.agree(self.begin(browser), subject))
        assert response.status_code == status, response.text
        assert _has_session(response) == (status == 303)
        return response

    def somebody(self, **claims: Any) -> str:
        """A new person at the provider, whose name is their subject."""
        World.people += 1
        name = f"p{World.people}"
        self.has(name, **({"preferred_username": name} | claims))
        return name

    def principal(self, name: str) -> Principal | None:
        rows = self.desk.sql("SELECT id, name, kind, groups, roles FROM principals WHERE name = %s", name)
        if not rows:
            return None
        ((made, name, kind, groups, roles),) = rows
        return Principal(id=made, name=name, kind=kind, groups=frozenset(groups), roles=frozenset(roles))


def _has_session(response: TestResponse) -> bool:
    return any(each.startswith("signoff_session=") for each in response.headers.getlist("Set-Cookie"))


def _words(response: TestResponse) -> str:
    return parse(response.text).one("main").text


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("provider")
    with (folder / "log").open("wb") as log:
        environment = os.environ | {"AUTHLIB_INSECURE_TRANSPORT": "1"}
        process = launch([sys.executable, "-P", PROGRAM, folder], output=log, env=environment)
    try:
        eventually((folder / "port").exists, seconds=30, why=f"the provider, see {folder}/log")
        yield f"http://127.0.0.1:{(folder / 'port').read_text()}"
    finally:
        stop(process, signal.SIGTERM, 10)


@pytest.fixture(scope="module")
def site(module_database_url: str, valkey_url: str, issuer: str) -> Iterator[World]:
    with open_desk(module_database_url, valkey_url) as desk:
        yield World(desk=desk, issuer=issuer).with_()


@pytest.fixture
def world(site: World) -> World:
    """The site with a provider that tells the truth."""
    site.twist()
    return site


def test_the_whole_way_makes_a_person_with_the_groups_of_the_provider(world: World) -> None:
    world.has("sub-1", preferred_username="Lee@Example.com", groups=["leads", "Not One", "night-shift"])
    browser = world.desk.browser()
    page = browser.get("/inbox?view=mine")
    (link,) = [node for node in page.find("a") if node.text.startswith("Sign in with 127.0.0.1")]
    url = world.begin(browser, link.attrs["href"])
    sent = parse_qs(urlsplit(url).query)
    assert sent["redirect_uri"] == ["https://localhost/sign-in/oidc/callback"]
    assert sent["code_challenge_method"] == ["S256"]
    assert {"openid", "profile"} <= set(sent["scope"][0].split())
    response = browser.send("GET", world.agree(url, "sub-1"))
    assert (response.status_code, response.headers["Location"]) == (303, "/inbox?view=mine")
    assert browser.send("GET", "/inbox").status_code == 200
    made = world.principal("lee@example.com")
    assert made is not None
    assert (made.kind, made.groups, made.roles) == ("user", {"leads", "night-shift"}, {"requester", "reviewer"})
    assert world.desk.sql("SELECT issuer, subject FROM provider_identities WHERE principal_id = %s", made.id) == [
        (world.issuer, "sub-1")
    ]


@pytest.mark.parametrize("none", [None, ""])
def test_without_a_provider_there_is_no_way_to_one(world: World, none: str | None) -> None:
    bare = world.with_(oidc_issuer=none)
    browser = bare.desk.browser()
    assert "Sign in with" not in browser.get("/sign-in").text
    for path in ("/sign-in/oidc", oidc.CALLBACK):
        assert browser.send("GET", path).status_code == 404


def test_the_cookie_of_a_sign_in_is_kept_from_scripts_and_other_hosts_and_goes_away(world: World) -> None:
    browser, person = world.desk.browser(), world.somebody()
    response = browser.send("GET", "/sign-in/oidc")
    (cookie,) = response.headers.getlist("Set-Cookie")
    assert cookie.startswith("__Host-signoff_oidc=")
    for part in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"):
        assert part in cookie.split("; ")
    assert "Domain" not in cookie
    back = browser.send("GET", world.agree(response.headers["Location"], person))
    (gone,) = [each for each in back.headers.getlist("Set-Cookie") if each.startswith("__Host-signoff_oidc=")]
    assert "Max-Age=0" in gone


def test_every_sign_in_has_a_state_a_nonce_and_a_proof_of_its_own(world: World) -> None:
    sent = [parse_qs(urlsplit(world.begin(world.desk.browser())).query) for _ in range(3)]
    for name in ("state", "nonce", "code_challenge"):
        assert len({query[name][0] for query in sent}) == 3
        assert all(len(query[name][0]) >= 43 for query in sent)


def test_a_name_is_given_once_and_the_subject_is_who_one_is(world: World) -> None:
    person = world.somebody()
    world.sign_in(person)
    before = world.principal(person)
    world.has(person, preferred_username="somebody-else")
    world.sign_in(person)
    assert world.principal(person) == before
    assert world.principal("somebody-else") is None


def test_groups_are_those_of_the_last_sign_in(world: World) -> None:
    person = world.somebody(groups=["leads", "managers"])
    world.sign_in(person)
    for groups, found in ((["managers"], {"managers"}), ("leads", {"leads"}), ([], set()), (None, set())):
        world.has(person, preferred_username=person, **({} if groups is None else {"groups": groups}))
        world.sign_in(person)
        made = world.principal(person)
        assert made is not None
        assert made.groups == found


def test_groups_are_ours_where_no_claim_gives_them(world: World) -> None:
    person = world.somebody(groups=["managers"])
    other = world.with_(oidc_groups_claim=None)
    other.sign_in(person)
    update_principal(world.desk.engine.database, person, groups=("leads",))
    other.sign_in(person)
    made = world.principal(person)
    assert made is not None
    assert made.groups == {"leads"}


def test_only_groups_with_an_allowed_beginning_are_taken(world: World) -> None:
    person = world.somebody(groups=["signoff-leads", "admins", "x-signoff-x", "so.ops"])
    world.with_(oidc_group_prefixes="signoff-,so.").sign_in(person)
    made = world.principal(person)
    assert made is not None
    assert made.groups == {"signoff-leads", "so.ops"}


def test_roles_are_those_that_the_claim_gives_at_each_sign_in(world: World) -> None:
    mapped = world.with_(oidc_roles_claim="roles", oidc_roles="Signoff Admins=admin, a=b=auditor,r=reviewer")
    person = world.somebody(roles=["Signoff Admins", "a=b", "operator", "admin"])
    mapped.sign_in(person)
    made = world.principal(person)
    assert made is not None
    assert made.roles == {"admin", "auditor"}, "a value is a role only where the setting says so"
    world.has(person, preferred_username=person, roles=["r"])
    mapped.sign_in(person)
    made = world.principal(person)
    assert made is not None
    assert made.roles == {"reviewer"}


@pytest.mark.parametrize("name", ["ana", "ANA", "portal", "robot"])
def test_nobody_takes_a_name_over_that_is_there_already(world: World, name: str) -> None:
    before = world.desk.sql("SELECT * FROM principals WHERE name = %s", name.lower())
    response = world.sign_in(world.somebody(preferred_username=name, groups=["managers"]), 409)
    assert f"There is a principal {name.lower()} already" in _words(response)
    assert world.desk.sql("SELECT * FROM principals WHERE name = %s", name.lower()) == before


def test_a_name_that_the_provider_gives_to_somebody_new_is_not_the_old_ones(world: World) -> None:
    person = world.somebody()
    world.sign_in(person)
    world.sign_in(world.somebody(preferred_username=person), 409)


def test_an_administrator_can_tie_somebody_who_is_there_to_the_provider(world: World) -> None:
    person = world.somebody(preferred_username="sam", groups=["managers"])
    world.sign_in(person, 409)
    link_identity(world.desk.engine.database, "sam", issuer=world.issuer, subject=person)
    world.sign_in(person)
    made = world.principal("sam")
    assert made is not None
    assert (made.id, made.groups) == (world.desk.people["sam"].id, {"managers"})


def test_the_same_subject_of_another_issuer_is_somebody_else(world: World) -> None:
    person = world.somebody()
    link_identity(world.desk.engine.database, "max", issuer="https://elsewhere.example", subject=person)
    world.sign_in(person)
    assert world.principal(person) is not None


@pytest.mark.parametrize("how", ["disabled", "service", "agent"])
def test_who_may_not_sign_in_does_not_by_a_provider_either(world: World, how: str) -> None:
    person = world.somebody(groups=["leads"])
    world.sign_in(person)
    change = "disabled_at = now()" if how == "disabled" else f"kind = '{how}'"
    world.desk.sql(f"UPDATE principals SET {change}, groups = '{{}}' WHERE name = %s", person)
    response = world.sign_in(person, 403)
    assert f"{person} is " in _words(response).lower()
    made = world.principal(person)
    assert made is not None
    assert made.groups == frozenset()


def test_where_nobody_is_made_only_those_sign_in_who_are_known(world: World) -> None:
    person = world.somebody()
    closed = world.with_(oidc_create_people=False)
    assert "Signoff does not" in _words(closed.sign_in(person, 403))
    assert world.principal(person) is None
    world.sign_in(person)
    closed.sign_in(person)


def test_two_windows_of_somebody_new_make_one_person(world: World) -> None:
    person = world.somebody()
    browsers = [world.desk.browser() for _ in range(4)]
    paths = [world.agree(world.begin(browser), person) for browser in browsers]
    barrier = threading.Barrier(len(browsers))
    found: list[int] = []

    def go(browser: Browser, path: str) -> None:
        barrier.wait()
        found.append(browser.send("GET", path).status_code)

    threads = [threading.Thread(target=go, args=pair) for pair in zip(browsers, paths, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [303] * 4
    assert len(world.desk.sql("SELECT 1 FROM provider_identities WHERE subject = %s", person)) == 1


@pytest.mark.parametrize("name", ["an\u200ba", "<script>alert(1)</script>", "x" * 65])
def test_a_name_that_can_not_be_one_is_refused_and_not_shown(world: World, name: str) -> None:
    count = world.desk.sql("SELECT count(*) FROM principals")
    response = world.sign_in(world.somebody(preferred_username=name), 403)
    assert "gives no name that you can have here" in _words(response)
    assert name not in response.text
    assert world.desk.sql("SELECT count(*) FROM principals") == count


def test_a_subject_that_can_not_be_one_is_refused(world: World) -> None:
    person = world.somebody()
    world.twist(claims={"sub": "x" * 256})
    world.sign_in(person, 403)
    assert world.principal(person) is None


def test_more_groups_than_one_can_have_are_refused_instead_of_some_being_picked(world: World) -> None:
    person = world.somebody(groups=[f"g{n}" for n in range(65)])
    assert "65 groups" in _words(world.sign_in(person, 403))


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
    assert "is not one to this sign-in" in _words(response)
    assert "<script>" not in response.text
    assert world.principal(person) is None
    world.twist()
    world.sign_in(person)


def test_a_key_that_is_for_something_else_vouches_for_nothing(world: World) -> None:
    person = world.somebody()
    world.twist(use="enc")
    assert "no keys that sign" in _words(world.with_().sign_in(person, 503))
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
    assert (response.status_code, _has_session(response)) == (403, False)


def test_an_answer_works_in_the_browser_that_began_and_in_no_other(world: World) -> None:
    person, browser, other = world.somebody(), world.desk.browser(), world.desk.browser()
    path = world.agree(world.begin(browser), person)
    assert other.send("GET", path).status_code == 403
    world.begin(other)
    response = other.send("GET", path)
    assert (response.status_code, _has_session(response)) == (403, False)
    assert "not begun in this browser" in _words(response)
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
    assert (response.status_code, _has_session(response)) == (403, False)
    assert "has been used" in _words(response)
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
    assert (response.status_code, _has_session(response)) == (403, False)


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
    assert told in _words(response)
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


@pytest.mark.parametrize(
    "said",
    [
        {"discovery": {"issuer": "https://evil.example"}},
        {"discovery": {"token_endpoint": "http://evil.example/token"}},
        {"discovery": {"authorization_endpoint": "javascript:alert(1)"}},
        {"discovery": {"jwks_uri": None}},
        {"discovery": {"padding": "x" * 300_000}},
    ],
    ids=["issuer", "token", "authorization", "keys", "size"],
)
def test_a_provider_that_describes_itself_wrongly_is_not_used_until_it_does_not(
    world: World, said: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = world.with_()
    world.twist(**said)
    response = fresh.desk.browser().send("GET", "/sign-in/oidc")
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert "sign-in provider" in _words(response)
    world.twist()
    assert fresh.desk.browser().send("GET", "/sign-in/oidc").status_code == 503, "it is not asked again at once"
    monkeypatch.setattr(oidc_provider, "RETRY_SECONDS", 0)
    fresh.begin(fresh.desk.browser())


@pytest.mark.parametrize("token", [[500, "{}"], [302, "{}"], [200, "[1]"], [200, "<html>"], [200, "x" * 300_000]])
def test_a_provider_that_is_out_of_order_is_told_apart_from_one_that_refuses(world: World, token: list[Any]) -> None:
    person = world.somebody()
    world.twist(token=token)
    assert "sign-in provider" in _words(world.sign_in(person, 503))


def test_a_provider_that_is_away_is_a_page_that_says_so_and_keys_still_work(world: World) -> None:
    away = world.with_(oidc_issuer=f"http://127.0.0.1:{free_port()}")
    browser = away.desk.browser()
    response = browser.send("GET", "/sign-in/oidc?next=/runs")
    assert (response.status_code, "not reachable" in _words(response)) == (503, True)
    browser.page = parse(response.text)
    browser.press("Sign in", key=world.desk.keys["max"], next="/runs")
    assert browser.path == "/runs"


@pytest.fixture
def dribbling() -> Iterator[str]:
    """A server that sends a byte every 50 ms, and never all of its answer."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def dribble() -> None:
        client, _ = listener.accept()
        client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not over.wait(0.05):
            try:
                client.sendall(b"x")
            except OSError:
                break
        client.close()

    thread = threading.Thread(target=dribble)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    over.set()
    thread.join(10)
    listener.close()


def test_a_provider_that_dribbles_is_given_up_in_time_and_holds_few_threads(world: World, dribbling: str) -> None:
    slow = world.with_(oidc_issuer=dribbling, oidc_timeout_seconds=1)
    barrier = threading.Barrier(8)
    found: list[tuple[int, str]] = []

    def go() -> None:
        browser = slow.desk.browser()
        barrier.wait()
        response = browser.send("GET", "/sign-in/oidc")
        found.append((response.status_code, _words(response)))

    threads = [threading.Thread(target=go) for _ in range(8)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert time.monotonic() - began < 4
    assert [status for status, _ in found] == [503] * 8
    assert any("Too many people" in words for _, words in found[:4]), "the first answers are those of who did not wait"


def test_what_the_provider_publishes_is_asked_for_once(world: World) -> None:
    fresh, person = world.with_(), world.somebody()
    before = [world.asked(path) for path in ("/.well-known/openid-configuration", "/jwks")]
    for _ in range(3):
        fresh.sign_in(person)
    assert [world.asked(path) for path in ("/.well-known/openid-configuration", "/jwks")] == [n + 1 for n in before]


def test_a_new_key_is_looked_for_but_not_at_every_word_of_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh, person = world.with_(), world.somebody()
    fresh.sign_in(person)
    world.twist(rotate=True)
    before = world.asked("/jwks")
    fresh.sign_in(person, 403)
    assert world.asked("/jwks") == before, "it was looked for just now"
    monkeypatch.setattr(oidc_provider, "REFETCH_SECONDS", 0)
    fresh.sign_in(person)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"oidc_client_id": None}, "SIGNOFF_OIDC_CLIENT_ID"),
        ({"oidc_client_secret": ""}, "SIGNOFF_OIDC_CLIENT_SECRET"),
        ({"public_url": None}, "SIGNOFF_PUBLIC_URL"),
        ({"public_url": "http://signoff.example"}, "SIGNOFF_PUBLIC_URL"),
        ({"oidc_issuer": "http://idp.example"}, "SIGNOFF_OIDC_ISSUER"),
        ({"oidc_issuer": "https://idp.example?x=1"}, "SIGNOFF_OIDC_ISSUER"),
        ({"oidc_scopes": "profile"}, "SIGNOFF_OIDC_SCOPES"),
        ({"oidc_roles": "leads=king"}, "SIGNOFF_OIDC_ROLES"),
        ({"oidc_roles": "reviewer"}, "SIGNOFF_OIDC_ROLES"),
    ],
)
def test_half_a_configuration_stops_the_api_with_the_name_of_the_variable(
    world: World, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        world.with_(**options)


@pytest.mark.parametrize("algorithms", ["none", "HS256", "RS256,HS256", ""])
def test_no_setting_makes_a_weak_algorithm_believed(world: World, algorithms: str) -> None:
    with pytest.raises(ValueError, match="oidc_algorithms"):
        world.with_(oidc_algorithms=algorithms)


def test_neither_code_nor_state_nor_secret_is_logged(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    browser = world.desk.browser()
    path = world.agree(world.begin(browser), world.somebody())
    browser.send("GET", path)
    world.twist(sign="none")
    world.sign_in(world.somebody(), 403)
    logged = "".join(capsys.readouterr())
    assert "path=/sign-in/" in logged
    query = parse_qs(urlsplit(path).query)
    for secret in (query["code"][0], query["state"][0], SECRET):
        assert secret not in logged
