"""An OpenID provider that is out of order, and settings that would not do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.integration.inbox.html import parse
from tests.integration.inbox.openid_world import SECRET, World, open_world, words
from tests.servers import free_port

from signoff.errors import ConfigurationError
from signoff_api.inbox import oidc_provider


@pytest.fixture(scope="module")
def site(module_database_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(module_database_url, valkey_url, tmp_path_factory.mktemp("provider")) as made:
        yield made


@pytest.fixture
def world(site: World) -> World:
    """The site with a provider that tells the truth."""
    site.twist()
    return site


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
    assert "sign-in provider" in words(response)
    world.twist()
    assert fresh.desk.browser().send("GET", "/sign-in/oidc").status_code == 503, "it is not asked again at once"
    monkeypatch.setattr(oidc_provider, "RETRY_SECONDS", 0)
    fresh.begin(fresh.desk.browser())


@pytest.mark.parametrize("token", [[500, "{}"], [302, "{}"], [200, "[1]"], [200, "<html>"], [200, "x" * 300_000]])
def test_a_provider_that_is_out_of_order_is_told_apart_from_one_that_refuses(world: World, token: list[Any]) -> None:
    person = world.somebody()
    world.twist(token=token)
    assert "sign-in provider" in words(world.sign_in(person, 503))


def test_a_provider_that_is_away_is_a_page_that_says_so_and_keys_still_work(world: World) -> None:
    away = world.with_(oidc_issuer=f"http://127.0.0.1:{free_port()}")
    browser = away.desk.browser()
    response = browser.send("GET", "/sign-in/oidc?next=/runs")
    assert (response.status_code, "not reachable" in words(response)) == (503, True)
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
        found.append((response.status_code, words(response)))

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
