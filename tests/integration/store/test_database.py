"""The pool and the two ways in: what breaks is undone, leaves the pool, and is told as what it is."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from tests import servers
from tests.servers import eventually

from signoff.errors import ConfigurationError, NotFound, Unavailable
from signoff.store.database import Database, sqlalchemy_url
from signoff.store.rows import dump

WAYS = ("transaction", "autocommit")


@pytest.fixture
def database(empty_database_url: str) -> Iterator[Database]:
    made = Database.connect(empty_database_url, pool_size=2, pool_timeout_seconds=0.3, statement_timeout_seconds=0.3)
    with made.autocommit() as cursor:
        cursor.execute("CREATE TABLE kept (n int UNIQUE DEFERRABLE INITIALLY DEFERRED, value json)")
    yield made
    made.close()


def _kept(database: Database) -> list[int]:
    with database.autocommit() as cursor:
        return [row[0] for row in cursor.execute("SELECT n FROM kept ORDER BY n")]


def _pid(database: Database) -> int:
    with database.autocommit() as cursor:
        row = cursor.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    pid: int = row[0]
    return pid


def _is_clean(database: Database) -> None:
    """Both of the pool's connections are there and good for either way."""
    with database.transaction() as one, database.autocommit() as other:
        for cursor in (one, other):
            assert cursor.execute("SELECT 1").fetchone() == (1,)
        assert other.connection.autocommit
        assert not one.connection.autocommit
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


# Transactions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [NotFound(), ValueError(), KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_whatever_is_raised_undoes_the_transaction(database: Database, error: BaseException) -> None:
    before = _pid(database)
    with pytest.raises(type(error)), database.transaction() as cursor:  # noqa: PT012
        cursor.execute("INSERT INTO kept VALUES (1)")
        raise error
    assert _kept(database) == []
    assert _pid(database) == before, "the connection was in order and is used again"
    _is_clean(database)


def test_a_transaction_is_all_or_nothing_when_the_commit_is_what_fails(database: Database) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation), database.transaction() as cursor:
        cursor.execute("INSERT INTO kept VALUES (1), (1)")
    assert _kept(database) == []
    _is_clean(database)


def test_each_statement_of_autocommit_stands_by_itself(database: Database) -> None:
    with pytest.raises(ValueError, match="later"), database.autocommit() as cursor:  # noqa: PT012
        cursor.execute("INSERT INTO kept VALUES (1)")
        raise ValueError("later")
    with pytest.raises(psycopg.errors.UndefinedTable), database.autocommit() as cursor:  # noqa: PT012
        cursor.execute("INSERT INTO kept VALUES (2)")
        cursor.execute("SELECT * FROM nowhere")
    assert _kept(database) == [1, 2]
    _is_clean(database)


@pytest.mark.parametrize("way", WAYS)
def test_a_statement_that_was_interrupted_gives_its_connection_up(database: Database, way: str) -> None:
    # As a time limit does: an exception out of a signal handler, in the middle of a statement.
    def strike(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError("struck")

    before = signal.signal(signal.SIGALRM, strike)
    try:
        for _ in range(3):
            with pytest.raises(TimeoutError, match="struck"), getattr(database, way)() as cursor:  # noqa: PT012
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                cursor.execute("SELECT pg_sleep(10)")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    _is_clean(database)


@pytest.mark.parametrize("error", [None, ValueError()])
def test_a_transaction_that_was_left_open_by_hand_leaves_nothing_behind(
    database: Database, error: Exception | None
) -> None:
    for _ in range(3):
        with suppress(ValueError), database.autocommit() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("INSERT INTO kept VALUES (1)")
            if error is not None:
                raise error
    _is_clean(database)
    assert _kept(database) == []


# What is not available --------------------------------------------------------------------------------------------


def _ways(database: Database) -> list[Callable[[], AbstractContextManager[Any]]]:
    return [database.transaction, database.autocommit, database.query]


def test_an_exhausted_pool_is_unavailable_within_its_time(database: Database) -> None:
    with database.transaction(), database.transaction():
        for way in _ways(database):
            began = time.monotonic()
            with pytest.raises(Unavailable), way():
                pass
            assert 0.2 < time.monotonic() - began < 2
    _is_clean(database)


def test_a_connection_that_becomes_free_in_time_is_had(database: Database) -> None:
    taken, free = threading.Event(), threading.Event()

    def hold() -> None:
        with database.transaction(), database.transaction():
            taken.set()
            free.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(10)
    threading.Timer(0.1, free.set).start()
    with database.transaction() as cursor:
        cursor.execute("SELECT 1")
    holder.join(10)
    _is_clean(database)


def test_a_statement_that_takes_too_long_is_unavailable(database: Database) -> None:
    for way in WAYS:
        with pytest.raises(Unavailable), getattr(database, way)() as cursor:
            cursor.execute("SELECT pg_sleep(10)")
    with pytest.raises(Unavailable), database.query() as connection:
        connection.execute(sa.text("SELECT pg_sleep(10)"))
    _is_clean(database)


def test_two_that_wait_for_each_other_are_told_that_it_took_too_long(database: Database) -> None:
    with database.autocommit() as cursor:
        cursor.execute("INSERT INTO kept VALUES (1), (2)")
        cursor.execute("ALTER TABLE kept ALTER COLUMN n SET NOT NULL")
    barrier, results = threading.Barrier(2), []

    def lock(first: int, second: int) -> None:
        try:
            with database.transaction() as cursor:
                cursor.execute("SET LOCAL deadlock_timeout = '20ms'")
                cursor.execute("SET LOCAL statement_timeout = '5s'")
                cursor.execute("SELECT 1 FROM kept WHERE n = %s FOR UPDATE", (first,))
                barrier.wait(10)
                cursor.execute("SELECT 1 FROM kept WHERE n = %s FOR UPDATE", (second,))
            results.append("done")
        except Unavailable as error:
            results.append(type(error.__cause__).__name__)

    threads = [threading.Thread(target=lock, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(results) == ["DeadlockDetected", "done"]
    _is_clean(database)


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_that_was_cut_leaves_the_pool(database: Database, way: str) -> None:
    with pytest.raises(Unavailable), getattr(database, way)() as cursor:  # noqa: PT012
        with psycopg.connect(database.engine.url.render_as_string().replace("+psycopg", ""), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (cursor.connection.info.backend_pid,))
        for _ in range(2):
            cursor.execute("INSERT INTO kept VALUES (1)")
    assert _kept(database) == []
    _is_clean(database)


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_only_reads_is_unavailable_and_asked_by_a_new_connection(database: Database, way: str) -> None:
    # As after a failover: the connection is well, and leads to what is a standby now.
    with database.autocommit() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    with pytest.raises(Unavailable), getattr(database, way)() as cursor:
        cursor.execute("INSERT INTO kept VALUES (1)")
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO kept VALUES (1)")
    assert _kept(database) == [1]


def test_a_transaction_that_idled_too_long_is_unavailable(database: Database) -> None:
    with pytest.raises(Unavailable), database.transaction() as cursor:  # noqa: PT012
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '20ms'")
        pid = cursor.connection.info.backend_pid
        with database.autocommit() as other:
            eventually(lambda: other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).rowcount == 0)
        cursor.execute("SELECT 1")
    _is_clean(database)


def test_nobody_listening_is_unavailable() -> None:
    database = Database.connect(f"postgresql://postgres@127.0.0.1:{servers.free_port()}/none")
    for way in _ways(database):
        with pytest.raises(Unavailable), way():
            pass
    with pytest.raises(Unavailable):
        database.ping()


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://root@localhost/x", "sqlite://"])
def test_what_is_no_url_of_a_postgresql_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        sqlalchemy_url(url)
    assert "SIGNOFF_DATABASE_URL" in caught.value.detail


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_was_restarted_is_reached_again_after_one_refusal(tmp_path: Path, way: str) -> None:
    with servers.postgres(tmp_path / "pg") as server:
        database = Database.connect(server.url("postgres"), pool_size=6, pool_timeout_seconds=5)
        _fill(database, 6)
    with servers.postgres(tmp_path / "pg") as again:
        assert again.sockets == server.sockets
        refused = [_refused(getattr(database, way)) for _ in range(12)]
        assert refused == [True] + [False] * 11, "what the pool had from before is dropped all at once"
        _fill(database, 6)
        database.close()


def _refused(way: Callable[[], AbstractContextManager[Any]]) -> bool:
    try:
        with way() as cursor:
            cursor.execute("SELECT 1")
    except Unavailable:
        return True
    return False


def _fill(database: Database, size: int) -> None:
    """Use every connection that the pool may have at once."""
    held = [database.transaction() for _ in range(size)]
    for one in held:
        one.__enter__().execute("SELECT 1")
    for one in held:
        one.__exit__(None, None, None)


# JSON -------------------------------------------------------------------------------------------------------------

VALUES = [
    None, True, False, 0, -0.0, 1, -1, 1e17, 1e-7, 5e-324, 1.7976931348623157e308, 2**53 - 1, 2**53, -(2**53),
    2**63 - 1, 0.1, 1 / 3, 2.0**60, "", "é",
    "\U0001f9d1\u200d\U0001f91d\u200d\U0001f9d1", "\u202e\u2066\ufeff", "\x01\x1f\x7f",
    "'; DROP TABLE kept; --", "%s", {}, [], [[]], {"": None}, {"a": None}, {"z": 1, "a": 2}, {"é": {"\ue000": [{}]}},
    [1, 1.0, True, None, "1"],
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_json_comes_back_as_it_went(database: Database, value: Any) -> None:
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO kept VALUES (1, %s::json)", (dump(value),))
        stored = cursor.execute("SELECT value, value::text FROM kept").fetchone()
    assert stored is not None
    assert repr(stored[0]) == repr(value), "types, signs and the order of keys too"
    assert stored[1] == dump(value), "json keeps the bytes that were hashed"
    with database.query() as connection:
        assert repr(connection.execute(sa.text("SELECT value FROM kept")).scalar_one()) == repr(value)


def test_json_null_and_nothing_at_all_are_two_things(database: Database) -> None:
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO kept VALUES (1, %s::json), (2, NULL)", (dump(None),))
        rows = cursor.execute("SELECT value, value IS NULL FROM kept ORDER BY n").fetchall()
    assert rows == [(None, False), (None, True)]


def test_a_large_value_comes_back_whole(database: Database) -> None:
    value = {"text": "é" * 4_000_000, "list": list(range(200_000))}
    with database.transaction() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '30s'")
        cursor.execute("INSERT INTO kept VALUES (1, %s::json)", (dump(value),))
        stored = cursor.execute("SELECT value FROM kept").fetchone()
    assert stored == (value,)
