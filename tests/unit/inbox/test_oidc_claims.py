"""What hostile claims become: nothing, or a refusal; never somebody else's name or group."""

from __future__ import annotations

from typing import Any

import pytest

from signoff.errors import Forbidden
from signoff.settings import Settings
from signoff.store.provider_identities import Known
from signoff_api.inbox.oidc_claims import described, role_map
from signoff_api.inbox.oidc_fetch import is_safe


def _described(settings: Settings | None = None, **claims: Any) -> Known:
    found = {"sub": "sub-1", "preferred_username": "ana"} | claims
    return described(found, settings or Settings(oidc_groups_claim="groups"), issuer="https://idp.example")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 65,
        "an\u200ba",
        "\u202eana",
        "\uff41na",
        "\u212aim",
        "\u0130na",
        "a b",
        "a\x00b",
        "ana\n",
        "<script>",
        "../admin",
        7,
        True,
        ["ana"],
        {"a": 1},
        None,
    ],
)
def test_a_name_that_can_not_be_one_is_none(name: object) -> None:
    assert _described(preferred_username=name).name is None


def test_a_name_in_capitals_is_the_same_in_small_letters() -> None:
    assert _described(preferred_username="Ana.Lee@Example.com").name == "ana.lee@example.com"


def test_the_claim_that_gives_the_name_is_a_setting() -> None:
    assert _described(Settings(oidc_name_claim="email"), email="a@b.example").name == "a@b.example"


@pytest.mark.parametrize("subject", ["", "x" * 256, "a\u200b", "a\x00", "a\n", 7, None, ["a"]])
def test_a_subject_that_can_not_be_one_is_refused(subject: object) -> None:
    with pytest.raises(Forbidden):
        _described(sub=subject)


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        (["leads", "night-shift"], {"leads", "night-shift"}),
        ("leads", {"leads"}),
        (7, set()),
        (None, set()),
        ({"leads": 1}, set()),
        ([7, None, ["leads"], "LEADS", "le\u200bads", "\uff4ceads", "x" * 65, ""], set()),
    ],
)
def test_groups_that_are_none_are_left_out_and_none_is_changed_into_another(groups: object, found: set[str]) -> None:
    assert _described(groups=groups).groups == found


def test_roles_are_those_of_the_mapping_alone() -> None:
    settings = Settings(oidc_roles_claim="roles", oidc_roles=("a=b=auditor", "r=reviewer"))
    assert _described(settings, roles=["a=b", "admin", "auditor", 7]).roles == {"auditor"}
    assert _described(settings).roles == frozenset()
    assert _described().roles is None
    assert _described(Settings()).groups is None


@pytest.mark.parametrize("pair", ["reviewer", "=reviewer", "leads=", "leads=king", ""])
def test_a_pair_that_gives_no_role_is_refused(pair: str) -> None:
    with pytest.raises(ValueError, match="value=role"):
        role_map((pair,))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "idp.example",
        "http://idp.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "https://",
        "https://me:pw@idp.example",
        "https://idp.example:port",
        "https://idp.example/a b",
        "https://idp.example/\r\nX: y",
        "https://\u0456dp.example",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "ftp://idp.example",
    ],
)
def test_an_address_that_secrets_do_not_travel_to_is_not_safe(url: str) -> None:
    assert not is_safe(url)


@pytest.mark.parametrize(
    "url", ["https://idp.example/x?y=1", "http://127.0.0.1:80/x", "http://[::1]:9", "http://localhost"]
)
def test_https_is_safe_and_this_machine(url: str) -> None:
    assert is_safe(url)
