"""Signing in by an OpenID provider: who becomes whom."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.integration.inbox.desk import Browser
from tests.integration.inbox.openid_world import World, open_world, words

from signoff.store.identity import update_principal
from signoff.store.provider_identities import link_identity
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
    assert f"There is a principal {name.lower()} already" in words(response)
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
    assert f"{person} is " in words(response).lower()
    made = world.principal(person)
    assert made is not None
    assert made.groups == frozenset()


def test_where_nobody_is_made_only_those_sign_in_who_are_known(world: World) -> None:
    person = world.somebody()
    closed = world.with_(oidc_create_people=False)
    assert "Signoff does not" in words(closed.sign_in(person, 403))
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
    assert "gives no name that you can have here" in words(response)
    assert name not in response.text
    assert world.desk.sql("SELECT count(*) FROM principals") == count


def test_a_subject_that_can_not_be_one_is_refused(world: World) -> None:
    person = world.somebody()
    world.twist(claims={"sub": "x" * 256})
    world.sign_in(person, 403)
    assert world.principal(person) is None


def test_more_groups_than_one_can_have_are_refused_instead_of_some_being_picked(world: World) -> None:
    person = world.somebody(groups=[f"g{n}" for n in range(65)])
    assert "65 groups" in words(world.sign_in(person, 403))
