"""The connection to PostgreSQL: one pool per process, and what every connection of it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import orjson
import psycopg
import sqlalchemy as sa
from psycopg.types.json import set_json_loads
from sqlalchemy.pool import QueuePool

from signoff.errors import ConfigurationError, Unavailable

Row: TypeAlias = tuple[Any, ...]
Cursor: TypeAlias = psycopg.Cursor[Row]

_UNAVAILABLE = (psycopg.OperationalError, sa.exc.OperationalError, sa.exc.TimeoutError, sa.exc.InterfaceError)


def sqlalchemy_url(database_url: str) -> sa.URL:
    """The URL with psycopg as its driver. Raises ConfigurationError for another database."""
    try:
        url = sa.make_url(database_url)
    except sa.exc.ArgumentError as error:
        raise ConfigurationError("SIGNOFF_DATABASE_URL is not a database URL") from error
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"SIGNOFF_DATABASE_URL names {url.get_backend_name()!r}; Signoff needs PostgreSQL 14 or later"
        )
    return url.set(drivername="postgresql+psycopg")


def create_engine(
    database_url: str,
    *,
    pool_size: int = 10,
    pool_timeout_seconds: float = 5.0,
    statement_timeout_seconds: float = 15.0,
) -> sa.Engine:
    """A SQLAlchemy engine whose connections have our time limits and read JSON by orjson.

    Statements are prepared by psycopg at their second use; a half-open connection is noticed within a minute.
    """
    engine = sa.create_engine(
        sqlalchemy_url(database_url),
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout_seconds,
        pool_use_lifo=True,
        isolation_level="READ COMMITTED",
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
        connect_args={
            "prepare_threshold": 1,
            "connect_timeout": 5,
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "application_name": "signoff",
            "options": (
                f"-c statement_timeout={round(statement_timeout_seconds * 1000)}"
                " -c idle_in_transaction_session_timeout=60000 -c timezone=UTC -c jit=off"
            ),
        },
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: psycopg.Connection[Row], _record: object) -> None:
        set_json_loads(orjson.loads, connection)

    return engine


class Database:
    """The pool, and the two ways in: psycopg transactions for what changes, SQLAlchemy for what is looked up."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    @classmethod
    def connect(cls, database_url: str, **options: Any) -> Database:
        """A database by its URL; no connection is made before the first use. Options as `create_engine`."""
        return cls(create_engine(database_url, **options))

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """A psycopg cursor in one transaction: committed at the end, rolled back on any exception.

        Raises Unavailable when the database can't be reached or no connection becomes free in time.
        """
        try:
            pooled = self.engine.raw_connection()
        except _UNAVAILABLE as error:
            raise Unavailable("the database is not reachable") from error
        try:
            connection = pooled.driver_connection
            assert connection is not None
            with connection.cursor() as cursor:
                yield cursor
            pooled.commit()
        except BaseException as error:
            _give_up(pooled, error)
            if isinstance(error, _UNAVAILABLE):
                raise Unavailable("the database went away or took too long") from error
            raise
        finally:
            pooled.close()

    @contextmanager
    def autocommit(self) -> Iterator[Cursor]:
        """A psycopg cursor whose every statement is a transaction of its own: one round trip instead of three.

        Raises Unavailable as `transaction` does.
        """
        try:
            pooled = self.engine.raw_connection()
        except _UNAVAILABLE as error:
            raise Unavailable("the database is not reachable") from error
        connection: psycopg.Connection[Row] | None = None
        try:
            connection = pooled.driver_connection
            assert connection is not None
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor
        except _UNAVAILABLE as error:
            pooled.invalidate(error)
            raise Unavailable("the database went away or took too long") from error
        finally:
            if connection is not None and not connection.closed:
                connection.autocommit = False
            pooled.close()

    @contextmanager
    def query(self) -> Iterator[sa.Connection]:
        """A SQLAlchemy connection for reading. Raises Unavailable as `transaction` does."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except _UNAVAILABLE as error:
            raise Unavailable("the database is not reachable") from error

    def ping(self) -> None:
        """Ask the database for a sign of life. Raises Unavailable."""
        with self.query() as connection:
            connection.execute(sa.text("SELECT 1"))

    def close(self) -> None:
        """Close the pool's connections."""
        self.engine.dispose()


def _give_up(pooled: sa.PoolProxiedConnection, error: BaseException) -> None:
    """Undo what was begun; a connection that is broken leaves the pool instead of being handed out again."""
    try:
        pooled.rollback()
    except (psycopg.Error, sa.exc.SQLAlchemyError):
        pooled.invalidate(error)
        return
    if isinstance(error, psycopg.OperationalError):
        pooled.invalidate(error)
