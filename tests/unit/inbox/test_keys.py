"""The keyboard: no press means two things."""

from __future__ import annotations

import pytest

from signoff.errors import ConfigurationError
from signoff_api.inbox.keys import REGISTRY, Key, Registry, Scope


def _key(keys: str, scope: Scope = "inbox", action: str = "do") -> Key:
    return Key(keys=keys, action=action, scope=scope, says="Do it")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (_key("j"), _key("j")),
        (_key("j"), _key("j", "everywhere")),
        (_key("g i", "everywhere"), _key("g i", "review")),
        (_key("g", "review"), _key("g i", "everywhere")),
        (_key("g i", "everywhere"), _key("g")),
        (_key("g i j"), _key("g i")),
    ],
)
def test_keys_that_collide_stop_the_app_from_starting(one: Key, other: Key) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Registry((one, other))
    assert caught.value.code == "key_collision"
    assert one.keys in str(caught.value)


def test_keys_of_screens_that_are_never_open_together_may_be_the_same() -> None:
    both = Registry((_key("a"), _key("a", "review"), _key("g i", "everywhere"), _key("g r", "everywhere"), _key("G")))
    assert both.of("inbox") == (both.keys[0], both.keys[4])


def test_the_promised_keys_are_there() -> None:
    promised = {
        "inbox": {"j", "k", "Enter", "x", "/", "."},
        "review": {"c", "n", "e", "a", "r", "q", "[", "]", "Control+Enter", "Escape"},
        "everywhere": {"g i", "g r", "g a", "g m", "?"},
    }
    for scope in ("inbox", "review", "everywhere"):
        assert {key.keys for key in REGISTRY.of(scope)} == promised[scope]  # type: ignore[arg-type]


def test_no_single_key_commits_a_decision() -> None:
    assert [key.keys for key in REGISTRY.keys if key.action == "commit"] == ["Control+Enter"]
    assert {key.action for key in REGISTRY.keys if key.keys in "arq"} == {
        "arm-approve",
        "arm-reject",
        "arm-request_changes",
    }
