"""People as an OpenID provider knows them.

An identity is the pair of issuer and subject: a name may change or be given to somebody else, these two are not. It
leads to one principal, which it has made itself or was linked to by an administrator; a principal that is there
already is never taken over because a provider uses its name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

import psycopg

from signoff.errors import Conflict, Forbidden, InvalidInput, NotFound
from signoff.identity import Principal
from signoff.store.database import Cursor, Database
from signoff.store.identity import insert_principal, principal_from_row
from signoff.store.identity_changes import Changer, record, record_rights
from signoff.store.identity_checks import MAX_GROUPS

DEFAULT_ROLES = ("requester", "reviewer")
"""What a person may do whose roles no claim gives: start runs, and decide what they are asked."""

MAX_SUBJECT = 255

_PRINCIPAL = """
SELECT p.id, p.name, p.kind, p.groups, p.roles, p.disabled_at IS NOT NULL
FROM provider_identities i JOIN principals p ON p.id = i.principal_id
WHERE i.issuer = %s AND i.subject = %s FOR UPDATE OF p
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Somebody as their provider describes them. `groups` and `roles` are None where they are a matter of ours."""

    issuer: str
    subject: str
    name: str | None
    groups: frozenset[str] | None
    roles: frozenset[str] | None


def sign_in_from_provider(database: Database, known: Known, *, create: bool) -> Principal:
    """The principal of this identity, with these groups and roles from now on.

    Who is new becomes a person of this name if `create` says so. Raises Forbidden for whoever may not sign in, and
    Conflict when the name belongs to a principal that this identity has not made.
    """
    for last in (False, True):
        try:
            with database.transaction() as cursor:
                row = cursor.execute(_PRINCIPAL, (known.issuer, known.subject)).fetchone()
                if row is None:
                    return _made(cursor, known, create=create)
                return _refreshed(cursor, principal_from_row(row[:5]), known, disabled=row[5])
        except psycopg.errors.UniqueViolation as error:
            # The same person may have been quicker in another window: then they are known by now.
            if last:
                raise Conflict(
                    f"there is a principal {known.name} already, and it was not made by this sign-in",
                    fix="an administrator can tie the two together: signoff principal link",
                ) from error
    raise AssertionError  # the loop has returned or raised


def use_sign_in(database: Database, state: str, *, lasts: timedelta) -> bool:
    """Use up the sign-in of this state, which is good for `lasts`; False when it has been used before."""
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO provider_sign_ins (hash, expires_at) VALUES (%s, now() + %s) ON CONFLICT DO NOTHING",
            (hashlib.sha256(state.encode()).digest(), lasts),
        )
        return cursor.rowcount == 1


def link_identity(database: Database, name: str, *, issuer: str, subject: str, by: Changer | None = None) -> None:
    """Let this identity sign in as the person of this name. Raises NotFound, InvalidInput, Conflict."""
    if not is_subject(subject):
        raise InvalidInput(f"a subject is 1 to {MAX_SUBJECT} printable ASCII characters", fix="the claim `sub`")
    try:
        with database.transaction() as cursor:
            row = cursor.execute(
                "INSERT INTO provider_identities (issuer, subject, principal_id, created_at)"
                " SELECT %s, %s, id, now() FROM principals WHERE name = %s AND kind = 'user' RETURNING principal_id",
                (issuer, subject, name),
            ).fetchone()
            if row is None:
                raise NotFound(f"there is no person {name!r}")
            after = {"issuer": issuer, "subject": subject}
            record(cursor, by, "provider.linked", principal_id=row[0], subject=name, after=after)
    except psycopg.errors.UniqueViolation as error:
        raise Conflict("this subject signs in as somebody already") from error


def is_subject(text: object) -> bool:
    """Whether it can be the `sub` of a claim: OpenID Connect Core 1.0, section 2."""
    return isinstance(text, str) and 1 <= len(text) <= MAX_SUBJECT and text.isascii() and text.isprintable()


def _made(cursor: Cursor, known: Known, *, create: bool) -> Principal:
    if not create:
        raise Forbidden("the provider knows you, but Signoff does not", fix="ask an administrator to let you in")
    if known.name is None:
        raise Forbidden(
            "the provider gives no name that you can have here", fix="ask an administrator about the claim with it"
        )
    roles = DEFAULT_ROLES if known.roles is None else known.roles
    by = Changer.provider(known.issuer)
    made = insert_principal(
        cursor, name=known.name, kind="user", groups=_bounded(known.groups) or (), roles=roles, by=by
    )
    cursor.execute(
        "INSERT INTO provider_identities (issuer, subject, principal_id, created_at) VALUES (%s, %s, %s, now())",
        (known.issuer, known.subject, made.id),
    )
    after = {"issuer": known.issuer, "subject": known.subject}
    record(cursor, by, "provider.linked", principal_id=made.id, subject=made.name, after=after)
    return made


def _refreshed(cursor: Cursor, found: Principal, known: Known, *, disabled: bool) -> Principal:
    if disabled:
        raise Forbidden(f"{found.name} is disabled", fix="ask an administrator")
    if found.kind != "user":
        raise Forbidden(f"{found.name} is a {found.kind}. The inbox is for people.")
    row = cursor.execute(
        "UPDATE principals SET groups = coalesce(%s, groups), roles = coalesce(%s, roles) WHERE id = %s"
        " RETURNING id, name, kind, groups, roles",
        (_bounded(known.groups), None if known.roles is None else sorted(known.roles), found.id),
    ).fetchone()
    assert row is not None  # it is locked
    now = principal_from_row(row)
    record_rights(cursor, Changer.provider(known.issuer), found, now)
    return now


def _bounded(groups: frozenset[str] | None) -> list[str] | None:
    if groups is not None and len(groups) > MAX_GROUPS:
        # Which of them count must not be left to chance.
        raise Forbidden(
            f"the provider gives you {len(groups)} groups, and {MAX_GROUPS} is the most",
            fix="an administrator can take fewer by SIGNOFF_OIDC_GROUP_PREFIXES",
        )
    return None if groups is None else sorted(groups)
