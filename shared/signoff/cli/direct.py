"""Straight to the database, without the API: for deployments, migrations and identities."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from signoff.cli.target import dev_state, home
from signoff.embedded.dev_file import NAME
from signoff.errors import Unavailable

if TYPE_CHECKING:
    from signoff.engine import Engine
    from signoff.settings import Settings
    from signoff.store.database import Database
    from signoff.store.identity_changes import Changer

DATABASE_VARIABLE = "SIGNOFF_DATABASE_URL"
BROKER_VARIABLE = "SIGNOFF_BROKER_URL"


class NoPublisher:
    """Sends nothing. What only reads, or registers versions, has nothing to send."""

    def publish_all(self, messages: Iterable[tuple[UUID, int, str]]) -> bool:  # noqa: ARG002  # the publisher's form
        """Leave them to the sweep."""
        return False

    def backlog(self, queue: str) -> int:  # noqa: ARG002  # the form is the publisher's
        """There is no queue."""
        return 0

    def ping(self) -> None:
        """There is nothing to reach."""

    def close(self) -> None:
        """There is nothing to close."""


def development_environment() -> dict[str, str]:
    """The servers of the running `signoff dev`, for the variables that are not set."""
    state = dev_state()
    if state is None:
        return {}
    found = {DATABASE_VARIABLE: state.database_url, BROKER_VARIABLE: state.broker_url}
    return {name: value for name, value in found.items() if not os.environ.get(name)}


def load() -> Settings:
    """The settings, completed by the running `signoff dev`. Raises ConfigurationError."""
    from pydantic import SecretStr

    from signoff.settings import load_settings

    settings = load_settings()
    fields = {DATABASE_VARIABLE: "database_url", BROKER_VARIABLE: "broker_url"}
    return settings.model_copy(
        update={fields[name]: SecretStr(value) for name, value in development_environment().items()}
    )


@contextmanager
def opened_database() -> Iterator[Database]:
    """One connection to the database. Raises ConfigurationError, Unavailable."""
    from signoff.store.database import Database

    settings = load()
    database = Database.connect(
        settings.require_database_url(),
        pool_size=1,
        statement_timeout_seconds=settings.statement_timeout_seconds,
    )
    try:
        yield database
    except Unavailable as error:
        if error.fix is not None:
            raise
        cause = str(error.__cause__ or "").strip().splitlines()
        raise Unavailable(": ".join([error.detail, *cause[:1]]), fix=database_fix()) from error
    finally:
        database.close()


def operator() -> Changer:
    """Who runs this command, as changes to identities are recorded."""
    from signoff.store.identity_changes import account

    return account()


def database_fix() -> str:
    """What to do about a database that can't be reached, by where its address came from."""
    if DATABASE_VARIABLE in development_environment():
        return f"start `signoff dev`: the one that {home() / NAME} describes was killed"
    return f"start it, or correct ${DATABASE_VARIABLE}"


@contextmanager
def reachable() -> Iterator[None]:
    """Turn what the database's driver raises while it can't be reached into Unavailable."""
    from sqlalchemy import exc

    try:
        yield
    except (exc.OperationalError, exc.InterfaceError) as error:
        reason = str(error.orig or error).strip().splitlines()[0]
        raise Unavailable(f"the database is not reachable: {reason}", fix=database_fix()) from error


@contextmanager
def opened_engine() -> Iterator[Engine]:
    """An engine that can do everything but send messages."""
    from signoff.engine import Engine

    with opened_database() as database:
        yield Engine(database=database, publisher=NoPublisher(), settings=load())
