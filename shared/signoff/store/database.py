"""The connection to PostgreSQL: one pool per process, and what every connection of it is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import orjson
import psycopg
import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from psycopg.types.json import set_json_loads
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from signoff.errors import ConfigurationError, Unavailable

Row: TypeAlias = tuple[Any, ...]
Cursor: TypeAlias = psycopg.Cursor[Row]

_UNAVAILABLE = (
    psycopg.OperationalError,
    # After a failover the connection may be well, and lead to a server that is a standby now.
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
    sa.exc.OperationalError,
    sa.exc.TimeoutError,
    sa.exc.InterfaceError,
)

_MADE = "made"
"""When a connection was made, by the process's clock that only goes forward."""


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
    by_keys: bool = False,
) -> sa.Engine:
    """A SQLAlchemy engine whose connections have our time limits and read JSON by orjson.

    Statements are prepared by psycopg at their second use; a half-open connection is noticed within a minute. With
    `by_keys` tables are not read as a whole where an index will do. It is for who names rows by keys and what is due,
    and keeps plans: one that was made while the tables of a new installation were small would read them as a whole
    until PostgreSQL has next analyzed them, which may be minutes, at many times the cost.
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
                + (" -c enable_seqscan=off" if by_keys else "")
            ),
        },
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: psycopg.Connection[Row], record: ConnectionPoolEntry) -> None:
        set_json_loads(orjson.loads, connection)
        record.info[_MADE] = time.monotonic()

    return engine


class Database:
    """The pool, and the two ways in: psycopg transactions for what changes, SQLAlchemy for what is looked up."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._broken_at = 0.0
        sa.event.listen(engine, "checkout", self._check_out)

    @classmethod
    def connect(cls, database_url: str, **options: Any) -> Database:
        """A database by its URL; no connection is made before the first use. Options as `create_engine`."""
        return cls(create_engine(database_url, **options))

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """A psycopg cursor in one transaction: committed at the end, rolled back on any exception.

        Raises Unavailable when the database can't be reached or no connection becomes free in time.
        """
        with self._taken() as (pooled, connection):
            with connection.cursor() as cursor:
                yield cursor
            pooled.commit()

    @contextmanager
    def autocommit(self) -> Iterator[Cursor]:
        """A psycopg cursor whose every statement is a transaction of its own: one round trip instead of three.

        Raises Unavailable as `transaction` does.
        """
        with self._taken() as (_, connection):
            connection.autocommit = True
            try:
                with connection.cursor() as cursor:
                    yield cursor
            finally:
                # What is in the middle of something can't be switched back, and leaves the pool.
                if connection.info.transaction_status is TransactionStatus.IDLE:
                    connection.autocommit = False

    @contextmanager
    def query(self) -> Iterator[sa.Connection]:
        """A SQLAlchemy connection for reading. Raises Unavailable as `transaction` does."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except _UNAVAILABLE as error:
            raise Unavailable("the database is not reachable") from error
        except sa.exc.DBAPIError as error:
            if isinstance(error.orig, _UNAVAILABLE):
                raise Unavailable("the database went away or took too long") from error
            raise

    def ping(self) -> None:
        """Ask the database for a sign of life. Raises Unavailable."""
        with self.query() as connection:
            connection.execute(sa.text("SELECT 1"))

    def close(self) -> None:
        """Close the pool's connections."""
        self.engine.dispose()

    @contextmanager
    def _taken(self) -> Iterator[tuple[sa.PoolProxiedConnection, psycopg.Connection[Row]]]:
        """A connection from the pool. It goes back only when it is as it was, whatever happens meanwhile."""
        try:
            pooled = self.engine.raw_connection()
        except _UNAVAILABLE as error:
            raise Unavailable("the database is not reachable") from error
        connection: psycopg.Connection[Row] | None = pooled.driver_connection
        assert connection is not None
        try:
            yield pooled, connection
        except BaseException as error:
            self._give_up(pooled, connection, error)
            if isinstance(error, _UNAVAILABLE):
                raise Unavailable("the database went away or took too long") from error
            raise
        finally:
            if connection.autocommit and pooled.is_valid:
                pooled.invalidate()
            pooled.close()

    def _give_up(
        self, pooled: sa.PoolProxiedConnection, connection: psycopg.Connection[Row], error: BaseException
    ) -> None:
        """Undo what was begun; a connection that is broken leaves the pool instead of being handed out again."""
        if connection.broken:
            self._broken_at = time.monotonic()
        try:
            pooled.rollback()
        except (psycopg.Error, sa.exc.SQLAlchemyError):
            pooled.invalidate(error)
            return
        if isinstance(error, _UNAVAILABLE):
            pooled.invalidate(error)

    def _check_out(self, _connection: object, record: ConnectionPoolEntry, _pooled: object) -> None:
        # Where one connection broke, the server was most likely restarted: the others of its time are not tried one
        # after the other, each at the cost of somebody's request. The pool makes a new one when it is told this.
        if record.info[_MADE] <= self._broken_at:
            raise sa.exc.DisconnectionError("made before the last break")
