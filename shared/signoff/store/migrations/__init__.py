"""Schema migrations: `upgrade` brings a database to this release's schema, `revision` says where it stands."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from signoff.errors import ConfigurationError
from signoff.store.database import create_engine

_LOCK = 0x5349474E
"""Advisory lock, so that two processes that start together migrate one after the other."""


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The newest revision this release knows."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


def upgrade(database_url: str, target: str = "head") -> None:
    """Migrate the database at `database_url` forward; no-op when it is there already.

    Raises ConfigurationError when a newer release has been there.
    """
    _run(database_url, target, command.upgrade)


def downgrade(database_url: str, target: str) -> None:
    """Migrate the database backward to `target`. Raises ConfigurationError as `upgrade` does."""
    _run(database_url, target, command.downgrade)


def revision(database_url: str) -> str | None:
    """The revision the database is at, None for an empty one."""
    engine = create_engine(database_url, pool_size=1)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def _run(database_url: str, target: str, run: object) -> None:
    assert callable(run)
    engine = create_engine(database_url, pool_size=1, statement_timeout_seconds=0)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            _refuse_newer(connection)
            run(_config(connection), target)
    finally:
        engine.dispose()


def _refuse_newer(connection: Connection) -> None:
    """Leave alone what a newer release has made: this one doesn't know how to get there, or back from there."""
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current is not None and current not in known:
        raise ConfigurationError(
            f"the database is at revision {current}, which this release does not know; its newest is {head()}",
            fix="install the release that migrated it, or a newer one",
        )
