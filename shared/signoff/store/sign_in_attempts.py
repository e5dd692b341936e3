"""How often a password may be tried: counted in the database, so that all processes of the API count together.

An attempt is counted before it is verified and forgotten when it was right, so that many at once are not more than
one after the other. Only sign-ins by password wait; a key, a link or a provider works as ever, and so nobody is kept
out by who guesses at their name.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass

from signoff.store.database import Cursor

FREE = 5
"""Failures of one account before it waits."""

FREE_OF_ADDRESS = 20
"""Failures from one address: more people than one may be behind it."""

FIRST_WAIT_SECONDS = 5
MAX_WAIT_SECONDS = 900
FORGOTTEN_AFTER = "1 hour"

# The clock of the moment, not of the transaction: who has waited for the row comes after whom they waited for.
_OLD = f"a.last_at < clock_timestamp() - interval '{FORGOTTEN_AFTER}'"
_WAIT = f"least({MAX_WAIT_SECONDS}, {FIRST_WAIT_SECONDS} * power(2, least(a.failures + 1 - %(free)s, 20)))"
_COUNT = f"""
INSERT INTO sign_in_attempts AS a (subject, failures, last_at, next_at)
VALUES (%(subject)s, 1, clock_timestamp(), clock_timestamp())
ON CONFLICT (subject) DO UPDATE SET last_at = clock_timestamp(),
    failures = CASE WHEN {_OLD} THEN 1 ELSE a.failures + 1 END,
    next_at = clock_timestamp() + CASE WHEN {_OLD} OR a.failures + 1 < %(free)s THEN interval '0'
        ELSE make_interval(secs => {_WAIT}) END
WHERE a.next_at <= clock_timestamp()
RETURNING failures
"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose attempts are counted together. What was typed is not kept: it may have been a password."""

    digest: bytes
    free: int


def account(name: str) -> Subject:
    """The attempts at one name, whether or not somebody has it."""
    return Subject(digest=hashlib.sha256(b"account:" + name.encode()).digest(), free=FREE)


def address(text: str | None) -> Subject | None:
    """The attempts from one address, of IPv6 from one /64; None for this host itself, which is a proxy or nobody's."""
    try:
        found = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    if found.is_loopback:
        return None
    network = ipaddress.ip_network((found, 64 if found.version == 6 else 32), strict=False)
    return Subject(digest=hashlib.sha256(f"address:{network}".encode()).digest(), free=FREE_OF_ADDRESS)


def count(cursor: Cursor, subject: Subject) -> int | None:
    """Count an attempt as a failure until it is known to be none; the seconds to wait where it may not be made."""
    values = {"subject": subject.digest, "free": subject.free}
    if cursor.execute(_COUNT, values).fetchone() is not None:
        return None
    row = cursor.execute(
        "SELECT ceil(extract(epoch FROM next_at - clock_timestamp()))::int FROM sign_in_attempts WHERE subject = %s",
        (subject.digest,),
    ).fetchone()
    return max(1, row[0]) if row is not None else 1


def forget(cursor: Cursor, subject: Subject) -> None:
    """Begin to count anew: it was the right one."""
    cursor.execute("DELETE FROM sign_in_attempts WHERE subject = %s", (subject.digest,))


def forget_old(cursor: Cursor, *, limit: int) -> int:
    """Delete what was counted a day ago and counts no more; how many."""
    cursor.execute(
        "DELETE FROM sign_in_attempts WHERE subject IN"
        " (SELECT subject FROM sign_in_attempts WHERE last_at < now() - interval '1 day' LIMIT %s)",
        (limit,),
    )
    return cursor.rowcount


def take_back(cursor: Cursor, subject: Subject) -> None:
    """The last attempt was no failure; those before it were, and wait as long next time."""
    cursor.execute(
        "UPDATE sign_in_attempts SET failures = greatest(failures - 1, 0), next_at = now() WHERE subject = %s",
        (subject.digest,),
    )
