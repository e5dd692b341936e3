"""The development identities of `signoff dev`, with API keys that stay the same from start to start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from signoff.embedded.places import KEYS_FILE, read_keys, write_private
from signoff.identity import ROLES

# The command line asks on each `show` who there is, and the store takes longer to import than all else of it.
if TYPE_CHECKING:
    from signoff.store.database import Database
    from signoff.store.identity import Kind

_PERSON = ("requester", "reviewer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A principal for trying things out: a person by default, who may start runs and decide what they are asked."""

    name: str
    kind: Kind = "user"
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = _PERSON


IDENTITIES = (
    Identity(name="admin", roles=ROLES),
    Identity(name="requester", kind="service", roles=("requester",)),
    Identity(name="ana", groups=("support-leads",)),
    Identity(name="sam", groups=("support-leads",)),
    Identity(name="max", groups=("support-managers",)),
    Identity(name="uma", groups=("underwriters",)),
    Identity(name="cleo", groups=("compliance",), roles=(*_PERSON, "auditor")),
)


def seed(database_url: str, home: Path) -> dict[str, str]:
    """An API key for each development identity, by name; identities and keys are made where they are missing.

    Keys are kept in the home, readable by its owner alone, and one that no longer opens anything (the
    database was made anew, the key was revoked) is replaced.
    """
    from signoff.store.database import Database

    database = Database.connect(database_url, pool_size=1)
    try:
        kept = read_keys(home)
        keys = {identity.name: _key_of(database, identity, kept) for identity in IDENTITIES}
    finally:
        database.close()
    if keys != kept:
        write_private(home / KEYS_FILE, json.dumps(keys, indent=2) + "\n")
    return keys


def _key_of(database: Database, identity: Identity, kept: Mapping[str, str]) -> str:
    from signoff.store.identity import authenticate, create_api_key, ensure_principal
    from signoff.store.identity_changes import account

    key = kept.get(identity.name, "")
    owner = authenticate(database, key)
    if owner is None or owner.name != identity.name:
        key = ""
    if owner is None or (owner.groups, owner.roles) != (
        frozenset(identity.groups),
        frozenset(identity.roles),
    ):
        ensure_principal(
            database, name=identity.name, kind=identity.kind, groups=identity.groups, roles=identity.roles, by=account()
        )
    return key or create_api_key(database, identity.name, by=account())
