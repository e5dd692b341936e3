"""The first administrator: made where there is no principal at all, so that somebody can make the others."""

from __future__ import annotations

from signoff.store.database import Database
from signoff.store.identity import insert_api_key, insert_principal
from signoff.store.identity_changes import Changer

NAME = "admin"

_LOCK = 8_700_009
"""An advisory lock of ours: of two that begin at once, the second finds what the first has made."""


def make_first_admin(database: Database, *, by: Changer | None = None) -> str | None:
    """The key of a new administrator, which is seen this once; None where there is somebody already."""
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        if cursor.execute("SELECT 1 FROM principals LIMIT 1").fetchone() is not None:
            return None
        insert_principal(cursor, name=NAME, kind="user", roles=("admin",), by=by)
        return insert_api_key(cursor, NAME, by=by)
