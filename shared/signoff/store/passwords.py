"""Signing in with a name and a password, and changing it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import structlog

from signoff.errors import Forbidden, NotFound, TooManyAttempts
from signoff.identity import Principal
from signoff.passwords import check_password, hash_password, is_outdated, verify_password
from signoff.store import sign_in_attempts as attempts
from signoff.store.database import Cursor, Database
from signoff.store.identity import PRINCIPAL, is_name, principal_from_row
from signoff.store.identity_changes import Changer, record
from signoff.store.sessions import end_sessions

_log = structlog.get_logger("signoff.sign_in")

_ACCOUNT = (
    f"SELECT {PRINCIPAL}, w.hash FROM principals p JOIN passwords w ON w.principal_id = p.id"  # noqa: S608
    " WHERE p.name = %s AND p.kind = 'user' AND p.disabled_at IS NULL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A person who gave the right password. `hash` is the one it was compared with: see `is_still_right`."""

    principal: Principal
    hash: str


def prove(database: Database, name: str, password: str, *, address: str | None) -> Proof | None:
    """Who this is; None for a name that nobody has, that has no password, and for a wrong password alike.

    No connection is held while it is computed. Raises TooManyAttempts, and Unavailable where too many are at it.
    """
    of_address, of_account = attempts.address(address), attempts.account(name)
    with database.transaction() as cursor:
        wait = attempts.count(cursor, of_address) if of_address is not None else None
        wait = wait or attempts.count(cursor, of_account)
        # What can't be a name is nobody's, and not for the database: it may hold characters that are no text there.
        known = wait is None and is_name(name)
        row = cursor.execute(_ACCOUNT, (name,)).fetchone() if known else None
    if wait is not None:
        _log.warning("password_refused", why="too_many_attempts", wait_seconds=wait, address=address)
        raise TooManyAttempts(wait_seconds=wait)
    kept: str | None = row[-1] if row is not None else None
    right = verify_password(kept, password)
    if row is None or kept is None or not right:
        # A name that nobody has may be a password in the wrong field: it is not for the log.
        _log.warning("password_refused", why="wrong", principal=row[1] if row is not None else None, address=address)
        return None
    with database.transaction() as cursor:
        if of_address is not None:
            attempts.take_back(cursor, of_address)
        attempts.forget(cursor, of_account)
    proof = Proof(principal=principal_from_row(row[:-1]), hash=kept)
    return _made_anew(database, proof, password) if is_outdated(kept) else proof


def is_still_right(cursor: Cursor, proof: Proof) -> bool:
    """Whether the password is still the one that was proven; it stays so until the transaction ends."""
    row = cursor.execute(
        "SELECT 1 FROM passwords WHERE principal_id = %s AND hash = %s FOR SHARE", (proof.principal.id, proof.hash)
    ).fetchone()
    return row is not None


def has_password(database: Database, principal: Principal) -> bool:
    """Whether this person can sign in with a password."""
    with database.autocommit() as cursor:
        return cursor.execute("SELECT 1 FROM passwords WHERE principal_id = %s", (principal.id,)).fetchone() is not None


def set_password(database: Database, name: str, password: str, *, by: Changer | None = None) -> int:
    """Give a person this password, and end all their sessions and unused links; how many sessions.

    Raises InvalidInput for what is no password, NotFound for who is no person.
    """
    check_password(name, password)
    made = hash_password(password)
    with database.transaction() as cursor:
        principal_id = _person(cursor, name)
        _keep(cursor, principal_id, made)
        record(cursor, by, "password.set", principal_id=principal_id, subject=name)
        attempts.forget(cursor, attempts.account(name))
        return end_sessions(cursor, principal_id, by=by)


def remove_password(database: Database, name: str, *, by: Changer | None = None) -> int:
    """Let a person sign in by password no more, and end all their sessions; how many. Raises NotFound."""
    with database.transaction() as cursor:
        principal_id = _person(cursor, name)
        cursor.execute("DELETE FROM passwords WHERE principal_id = %s", (principal_id,))
        if cursor.rowcount == 0:
            raise NotFound(f"{name} has no password")
        record(cursor, by, "password.removed", principal_id=principal_id, subject=name)
        return end_sessions(cursor, principal_id, by=by)


def change_password(
    database: Database, principal: Principal, *, current: str, new: str, session_id: UUID, address: str | None
) -> None:
    """Let a person change their own password; their other sessions and unused links end.

    Raises InvalidInput, TooManyAttempts, Unavailable, and Forbidden (code `wrong_password`).
    """
    check_password(principal.name, new)
    proof = prove(database, principal.name, current, address=address)
    made = hash_password(new) if proof is not None else ""
    with database.transaction() as cursor:
        if proof is None or proof.principal.id != principal.id or not is_still_right(cursor, proof):
            raise Forbidden("the current password is not this one", code="wrong_password")
        _keep(cursor, principal.id, made)
        by = Changer.of(principal)
        record(cursor, by, "password.set", principal_id=principal.id, subject=principal.name)
        end_sessions(cursor, principal.id, but=session_id, by=by)
    _log.info("password_changed", principal=principal.name)


def _made_anew(database: Database, proof: Proof, password: str) -> Proof:
    """The same password, hashed as it is done today."""
    made = hash_password(password)
    with database.transaction() as cursor:
        cursor.execute(
            "UPDATE passwords SET hash = %s WHERE principal_id = %s AND hash = %s",
            (made, proof.principal.id, proof.hash),
        )
        return Proof(principal=proof.principal, hash=made) if cursor.rowcount == 1 else proof


def _person(cursor: Cursor, name: str) -> UUID:
    row = cursor.execute("SELECT id FROM principals WHERE name = %s AND kind = 'user' FOR UPDATE", (name,)).fetchone()
    if row is None:
        raise NotFound(f"there is no person {name!r}", fix="signoff principal list")
    found: UUID = row[0]
    return found


def _keep(cursor: Cursor, principal_id: UUID, made: str) -> None:
    cursor.execute(
        "INSERT INTO passwords (principal_id, hash, changed_at) VALUES (%s, %s, now())"
        " ON CONFLICT (principal_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at",
        (principal_id, made),
    )
