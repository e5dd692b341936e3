"""Which API a command talks to, and as whom: options, then the environment, then the running `signoff dev`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signoff.cli.client import CALL_SECONDS, Client
from signoff.embedded.dev_file import NAME, DevState, read_dev_state
from signoff.errors import ConfigurationError

URL_VARIABLE = "SIGNOFF_API_URL"
KEY_VARIABLE = "SIGNOFF_API_KEY"
_NO_API = "start `signoff dev`, or name the API by --api or $SIGNOFF_API_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An API and a key for it. `key` is None where nobody has said who asks.

    `identities` are the development identities that could be chosen by `--as`; `acting_as` the one that was.
    """

    api_url: str
    key: str | None
    acting_as: str | None = None
    identities: Sequence[str] = ()
    hint: str | None = None

    def client(self, *, seconds: float = CALL_SECONDS) -> Client:
        """A client for it; a call takes at most `seconds`."""
        return Client(self.api_url, self.key, seconds=seconds, hint=self.hint)


def home() -> Path:
    """The folder in which `signoff dev` keeps its state."""
    return Path(os.environ.get("SIGNOFF_HOME") or ".signoff")


def find_target(api: str | None, key: str | None, acting_as: str | None, *, default: str | None) -> Target:
    """The API to call. In a development folder `default` is the identity that asks when none is named.

    Keys of `signoff dev` go to its own API and nowhere else. Raises ConfigurationError when there is no API, no key,
    or no such identity.
    """
    if key and acting_as:
        raise ConfigurationError("--key and --as both say who asks", code="usage", fix="give one of them")
    state = read_dev_state(home())
    named = api or os.environ.get(URL_VARIABLE) or None
    if named is None and state is None:
        raise ConfigurationError(f"no API is named, and there is no {home() / NAME}", code="no_api", fix=_NO_API)
    url = (named or (state.api_url if state is not None else "")).rstrip("/")
    development = state if state is not None and state.api_url.rstrip("/") == url else None
    given = key or (None if acting_as else os.environ.get(KEY_VARIABLE)) or None
    hint = None if named or development is None else f"{home() / NAME} is of one that was killed: {_NO_API}"
    if given is not None:
        return Target(api_url=url, key=given, hint=hint)
    if development is None:
        raise _no_key(url, acting_as)
    chosen = acting_as or default
    if chosen is not None and chosen not in development.keys:
        known = ", ".join(sorted(development.keys))
        raise ConfigurationError(f"`signoff dev` has no identity {chosen!r}", code="no_identity", fix=f"one of {known}")
    return Target(
        api_url=url,
        key=development.keys[chosen] if chosen is not None else None,
        acting_as=chosen,
        identities=tuple(development.keys),
        hint=hint,
    )


def development_client(target: Target, name: str) -> Client:
    """A client of the same API as another development identity."""
    state = read_dev_state(home())
    key = state.keys.get(name) if state is not None and state.api_url.rstrip("/") == target.api_url else None
    return Client(target.api_url, key, hint=target.hint)


def who_could_decide(identities: Sequence[str], human_task: Mapping[str, Any]) -> list[str]:
    """The development identities that are candidates of a human task."""
    # The identities live beside the store, whose import is slow; only a development folder ever gets here.
    from signoff.embedded.identities import IDENTITIES

    users = set(human_task["candidates"]["users"])
    groups = set(human_task["candidates"]["groups"])
    return [
        identity.name
        for identity in IDENTITIES
        if identity.name in identities
        and identity.kind == "user"
        and (identity.name in users or not groups.isdisjoint(identity.groups))
    ]


def dev_state() -> DevState | None:
    """What runs in this folder, as far as its file says."""
    return read_dev_state(home())


def _no_key(url: str, acting_as: str | None) -> ConfigurationError:
    if acting_as is not None:
        return ConfigurationError(
            f"--as {acting_as} names an identity of `signoff dev`, and {url} is not the one in {home()}",
            code="no_identity",
            fix="give a key by $SIGNOFF_API_KEY or --key",
        )
    return ConfigurationError(
        f"there is no API key for {url}",
        code="no_key",
        fix="set $SIGNOFF_API_KEY; `signoff key create NAME` makes one, next to the database",
    )
