"""What a principal, a group and a narrowed key can be; every fault is told at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias
from uuid import UUID

from signoff.authorization import SCOPE_NAMES
from signoff.errors import FieldError, InvalidInput
from signoff.identity import ROLES, Principal
from signoff.ids import new_id

Kind: TypeAlias = Literal["user", "service", "agent"]
"""What a principal with a key may be; `system` is the engine alone and never signs in."""

KINDS: tuple[Kind, ...] = ("user", "service", "agent")
MAX_GROUPS = 64
MAX_KEY_WORKFLOWS = 100
"""Workflows that one key may be narrowed to."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_FORM = "1 to 64 of a-z, 0-9, '.', '_', '@' and '-', starting with a letter or a digit"


def is_name(text: str) -> bool:
    """Whether a principal or a group can have this name."""
    return _NAME.fullmatch(text) is not None


def check_narrowed(scopes: Sequence[str] | None, workflows: Sequence[str] | None) -> None:
    """Raise InvalidInput for what a key can't be narrowed to."""
    faults = []
    for path, listed, is_one, fix in (
        ("/scopes", scopes, SCOPE_NAMES.__contains__, f"some of {', '.join(SCOPE_NAMES)}"),
        ("/workflows", workflows, is_name, f"names of workflows, at most {MAX_KEY_WORKFLOWS}"),
    ):
        if listed is not None and not 1 <= len(listed) <= MAX_KEY_WORKFLOWS:
            faults.append(FieldError(path=path, message=f"there are {len(listed)}", fix=fix))
        for value in listed or ():
            if not is_one(value):
                faults.append(FieldError(path=path, message=f"{value!r} is not one", fix=fix))
    if faults:
        raise InvalidInput(errors=faults)


def checked_principal(
    *, name: str, kind: Any, groups: Iterable[str], roles: Iterable[str], id: UUID | None = None
) -> Principal:
    """A principal of these, with a new id if none is given. Raises InvalidInput naming each bad field."""
    groups, roles = frozenset(groups), frozenset(roles)
    faults = [] if _NAME.fullmatch(name) else [("/name", f"{name!r} is not a name", _FORM)]
    if kind not in KINDS:
        faults.append(("/kind", f"{kind!r} is not a kind", f"one of {', '.join(KINDS)}"))
    if len(groups) > MAX_GROUPS:
        faults.append(("/groups", f"there are {len(groups)}", f"at most {MAX_GROUPS}"))
    for group in sorted(groups):
        if not _NAME.fullmatch(group):
            faults.append(("/groups", f"{group!r} is not a name", _FORM))
    for role in sorted(roles.difference(ROLES)):
        faults.append(("/roles", f"{role!r} is not a role", f"some of {', '.join(ROLES)}"))
    if faults:
        raise InvalidInput(errors=[FieldError(path=path, message=message, fix=fix) for path, message, fix in faults])
    return Principal(id=id or new_id(), name=name, kind=kind, groups=groups, roles=roles)
