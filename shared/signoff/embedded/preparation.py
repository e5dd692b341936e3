"""Brings a database to this release's schema with the development identities in it, and sees when that is
done.

Migrating and seeding take SQLAlchemy and Alembic, half a second to import. The second start of `signoff dev`
finds out with two statements that there is nothing to do.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import psycopg

from signoff.embedded.places import read_keys, write_private

_NOTE = "prepared.json"
_SIGNOFF = Path(__file__).parents[1]


def preload() -> None:
    """Import what `prepare` will need. Worth it while initdb keeps us waiting."""
    import signoff.embedded.identities
    import signoff.store.identity
    import signoff.store.migrations  # noqa: F401


def prepare(database_url: str, home: Path) -> dict[str, str]:
    """Migrate and seed where needed. Returns the API keys of the development identities by name.

    Raises Unavailable when the database doesn't answer.
    """
    keys = read_keys(home)
    if _is_prepared(database_url, home, keys):
        return keys
    from signoff.embedded.identities import seed
    from signoff.store.migrations import upgrade

    upgrade(database_url)
    keys = seed(database_url, home)
    write_private(home / _NOTE, json.dumps({"release": _release(), "revision": _revision(database_url)}))
    return keys


def _is_prepared(database_url: str, home: Path, keys: dict[str, str]) -> bool:
    """Whether this release prepared this database before, and it still has that schema and takes these keys."""
    try:
        note = json.loads((home / _NOTE).read_text())
        return bool(
            note["release"] == _release()
            and note["revision"] == _revision(database_url)
            and keys
            and _names_of(database_url, keys) == set(keys)
        )
    except (OSError, ValueError, KeyError, TypeError, psycopg.Error):
        return False


def _release() -> str:
    """What changes when a migration or an identity does."""
    sources = [*sorted((_SIGNOFF / "store" / "migrations" / "versions").glob("*.py"))]
    sources.append(_SIGNOFF / "embedded" / "identities.py")
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _revision(database_url: str) -> str | None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row is not None else None


def _names_of(database_url: str, keys: dict[str, str]) -> set[str]:
    """Who can sign in with these keys; see `signoff.store.identity` for what a key has to be."""
    hashes = {name: hashlib.sha256(key.encode()).digest() for name, key in keys.items()}
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT p.name, k.hash FROM api_keys k JOIN principals p ON p.id = k.principal_id"
            " WHERE k.hash = ANY(%s) AND k.revoked_at IS NULL AND p.disabled_at IS NULL"
            " AND (k.expires_at IS NULL OR k.expires_at > now())",
            (list(hashes.values()),),
        ).fetchall()
    return {name for name, found in rows if hashes.get(name) == bytes(found)}
