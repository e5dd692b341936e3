"""The sign-in link that `signoff dev` prints.

By psycopg alone: `signoff.store.sessions` does the same with a pool, whose import would make the second start slower.
"""

from __future__ import annotations

import hashlib
import secrets

import psycopg

PERSON = "ana"
"""Whom it signs in: a support lead, who has something to decide in the first example."""

_INSERT = """
INSERT INTO sign_in_links (id, principal_id, hash, created_at, expires_at)
SELECT gen_random_uuid(), id, %s, now(), now() + interval '1 day' FROM principals WHERE name = %s
"""


def first_link(database_url: str, api_url: str) -> str | None:
    """A link that signs PERSON in once, within a day; None where there is no such person, or no database just now.

    Without it everything runs as well, and `signoff sign-in` makes another.
    """
    token = secrets.token_urlsafe(32)
    try:
        with psycopg.connect(database_url, autocommit=True) as connection:
            made = connection.execute(_INSERT, (hashlib.sha256(token.encode()).digest(), PERSON)).rowcount
    except psycopg.Error:
        return None
    return f"{api_url}/sign-in/{token}" if made else None
