"""What the claims of an ID token mean here: a name, groups and roles, as settings say which claims give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from signoff.errors import Forbidden
from signoff.identity import ROLES
from signoff.settings import Settings
from signoff.store.identity import is_name
from signoff.store.provider_identities import Known, is_subject

MAX_VALUES = 1_000
"""Values of one claim that are looked at."""


def role_map(pairs: tuple[str, ...]) -> Mapping[str, str]:
    """`value=role` as a mapping. Raises ValueError naming the pair that is none."""
    found = {}
    for pair in pairs:
        value, equals, role = pair.rpartition("=")
        if not equals or not value or role not in ROLES:
            raise ValueError(f"{pair!r} is not value=role, with a role of {', '.join(ROLES)}")
        found[value] = role
    return found


def described(claims: Mapping[str, Any], settings: Settings, *, issuer: str) -> Known:
    """Whom the claims describe. What can't be a name or a group here is left out, not changed into something like it.

    Raises Forbidden when the subject is none.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not is_subject(subject):
        raise Forbidden("the provider names you in a way that can't be kept")
    groups = roles = None
    if settings.oidc_groups_claim:
        prefixes = settings.oidc_group_prefixes or ("",)
        groups = frozenset(
            text for text in _values(claims, settings.oidc_groups_claim) if is_name(text) and text.startswith(prefixes)
        )
    if settings.oidc_roles_claim:
        known = role_map(settings.oidc_roles)
        values = _values(claims, settings.oidc_roles_claim)
        roles = frozenset(known[text] for text in values if text in known)
    name = _name(claims.get(settings.oidc_name_claim))
    return Known(issuer=issuer, subject=subject, name=name, groups=groups, roles=roles)


def _name(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    # Only ASCII is lowered: some letters of other scripts become ASCII by it, and somebody else's name.
    lowered = value.lower() if value.isascii() else value
    return lowered if is_name(lowered) else None


def _values(claims: Mapping[str, Any], claim: str) -> list[str]:
    found = claims.get(claim)
    found = [found] if isinstance(found, str) else found
    return [text for text in found[:MAX_VALUES] if isinstance(text, str)] if isinstance(found, list) else []
