"""Links that lead one person to one human task, to decide on it once.

A token is `sl_<prefix>_<secret>`, kept as SHA-256 and looked up by equality, as API keys are: the prefix names it in
lists, the secret has 256 random bits. Whether a link is still good is asked again by the statement that uses it up,
in the transaction that records the decision.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

from signoff.errors import NotFound
from signoff.identity import Principal
from signoff.ids import new_id
from signoff.model import format_time
from signoff.store.database import Cursor, Database
from signoff.store.identity import principal_from_row

MAX_LINKS = 5
"""Links of one person to one human task that open anything; a newer one ends the oldest."""

LinkState: TypeAlias = Literal["good", "used", "revoked", "expired"]

_TOKEN = re.compile(r"sl_[a-z2-7]{8}_[A-Za-z0-9_-]{43}")

_STATE = """CASE WHEN l.used_at IS NOT NULL THEN 'used' WHEN l.revoked_at IS NOT NULL THEN 'revoked'
 WHEN l.expires_at <= clock_timestamp() THEN 'expired' ELSE 'good' END"""
_LINK = (
    f"SELECT l.id, l.human_task_id, l.prefix, {_STATE}, l.created_at, l.expires_at, l.used_at, l.browser_hash,"  # noqa: S608
    " p.id, p.name, p.kind, p.groups, p.roles FROM task_links l JOIN principals p ON p.id = l.principal_id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLink:
    """What is kept of a link. `person` has the groups and roles of now; `browser_hash` is whose browser may use it."""

    id: UUID
    human_task_id: UUID
    person: Principal
    prefix: str
    state: LinkState
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    browser_hash: bytes | None

    def to_json(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "human_task_id": str(self.human_task_id),
            "principal": self.person.name,
            "prefix": self.prefix,
            "state": self.state,
            "created_at": format_time(self.created_at),
            "expires_at": format_time(self.expires_at),
            "used_at": None if self.used_at is None else format_time(self.used_at),
        }


def add_link(cursor: Cursor, human_task_id: UUID, person: Principal, *, lasts: timedelta) -> str:
    """A new link's token, which is seen this once. Of this person's links to this human task the oldest end."""
    prefix = base64.b32encode(secrets.token_bytes(5)).decode().lower()
    token = f"sl_{prefix}_{secrets.token_urlsafe(32)}"
    # Two at once would each leave the other's out of count.
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"link {human_task_id} {person.id}",))
    cursor.execute(
        "INSERT INTO task_links (id, human_task_id, principal_id, prefix, hash, created_at, expires_at)"
        " SELECT %s, %s, %s, %s, %s, at, at + %s FROM clock_timestamp() AS at",
        (new_id(), human_task_id, person.id, prefix, _digest(token), lasts),
    )
    cursor.execute(
        "UPDATE task_links SET revoked_at = clock_timestamp() WHERE id IN (SELECT id FROM task_links"
        " WHERE human_task_id = %s AND principal_id = %s AND used_at IS NULL AND revoked_at IS NULL"
        " AND expires_at > clock_timestamp() ORDER BY created_at DESC, id DESC OFFSET %s)",
        (human_task_id, person.id, MAX_LINKS),
    )
    return token


def find_link(database: Database, token: str) -> TaskLink | None:
    """The link of this token, whatever its state; None when there is none or its person is disabled.

    Looking changes nothing, so a scanner that follows a link does no harm.
    """
    # What can't be a link is not worth a connection.
    if not _TOKEN.fullmatch(token):
        return None
    with database.autocommit() as cursor:
        row = cursor.execute(
            f"{_LINK} WHERE l.hash = %s AND p.disabled_at IS NULL AND p.kind = 'user'", (_digest(token),)
        ).fetchone()
    return None if row is None else _link(row)


def bind_link(database: Database, link_id: UUID) -> str | None:
    """Give the link to one browser: what the browser has to hold from now on, or None when another has it already."""
    held = secrets.token_urlsafe(32)
    with database.autocommit() as cursor:
        cursor.execute(
            "UPDATE task_links SET browser_hash = %s WHERE id = %s AND browser_hash IS NULL AND used_at IS NULL"
            " AND revoked_at IS NULL AND expires_at > clock_timestamp()",
            (_digest(held), link_id),
        )
        return held if cursor.rowcount == 1 else None


def is_held_by(link: TaskLink, held: str) -> bool:
    """Whether the browser that holds this is the one that the link was given to."""
    return link.browser_hash is not None and secrets.compare_digest(link.browser_hash, _digest(held))


def use_link(cursor: Cursor, link: TaskLink, *, human_task_id: UUID, person: Principal, decision_id: UUID) -> bool:
    """Use the link up in the transaction of its decision; False when it does not, or no longer, allow this one."""
    cursor.execute(
        "UPDATE task_links l SET used_at = clock_timestamp(), decision_id = %s WHERE l.id = %s"
        " AND l.human_task_id = %s AND l.principal_id = %s AND l.used_at IS NULL AND l.revoked_at IS NULL"
        " AND l.expires_at > clock_timestamp()"
        " AND EXISTS (SELECT 1 FROM principals p WHERE p.id = l.principal_id AND p.disabled_at IS NULL)",
        (decision_id, link.id, human_task_id, person.id),
    )
    return cursor.rowcount == 1


def list_links(database: Database, human_task_id: UUID) -> list[TaskLink]:
    """All links to this human task that are not forgotten, the newest first."""
    with database.autocommit() as cursor:
        rows = cursor.execute(
            f"{_LINK} WHERE l.human_task_id = %s ORDER BY l.created_at DESC, l.id DESC", (human_task_id,)
        ).fetchall()
    return [_link(row) for row in rows]


def revoke_link(database: Database, link_id: UUID) -> None:
    """End a link; once more is no error. Raises NotFound."""
    with database.autocommit() as cursor:
        cursor.execute(
            "UPDATE task_links SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE id = %s", (link_id,)
        )
        if cursor.rowcount == 0:
            raise NotFound("there is no such link")


def _digest(token: str) -> bytes:
    # As for API keys: there is nothing to guess in 256 random bits.
    return hashlib.sha256(token.encode()).digest()


def _link(row: Sequence[Any]) -> TaskLink:
    return TaskLink(
        id=row[0],
        human_task_id=row[1],
        prefix=row[2],
        state=row[3],
        created_at=row[4],
        expires_at=row[5],
        used_at=row[6],
        browser_hash=row[7],
        person=principal_from_row(row[8:]),
    )
