"""API keys: what is stored opens nothing, what is compared is a digest, and what has ended has ended everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from tests.servers import eventually

from signoff.store import schema
from signoff.store.database import Database
from signoff.store.identity import authenticate, create_api_key, create_principal, list_api_keys, revoke_api_key


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database.connect(database_url, pool_size=2)
    create_principal(made, name="eve", kind="user")
    yield made
    made.close()


class Recording(psycopg.Cursor[tuple[Any, ...]]):
    """A cursor that keeps what is sent to the server."""

    sent: list[tuple[str, Any]] = []  # noqa: RUF012  # one list for all cursors is what is wanted

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        Recording.sent.append((str(query), params))
        return super().execute(query, params, **options)


def test_a_key_never_goes_to_the_server_and_is_looked_up_by_its_digest_alone(database: Database) -> None:
    Recording.sent.clear()
    sa.event.listen(database.engine, "connect", lambda c, _: setattr(c, "cursor_factory", Recording))
    database.engine.dispose()
    key = create_api_key(database, "eve")
    assert authenticate(database, key) is not None
    secret = key.rpartition("_")[2]
    assert Recording.sent
    assert not [sent for sent in Recording.sent if secret in repr(sent)]
    # How long an equality of digests takes tells nothing about the key: nobody can choose a digest.
    statement, parameters = Recording.sent[-1]
    assert parameters == (hashlib.sha256(key.encode()).digest(),)
    assert statement.count("%s") == 1
    assert "k.hash = %s" in statement


def test_no_table_holds_a_key(database: Database, database_url: str) -> None:
    key = create_api_key(database, "eve")
    authenticate(database, key)
    with psycopg.connect(database_url) as connection:
        for table in schema.metadata.tables:
            for row in connection.execute(f"SELECT t::text FROM {table} t"):  # type: ignore[arg-type]
                assert key not in row[0]
                assert key.rpartition("_")[2] not in row[0]
                assert key.encode().hex() not in row[0]


def test_a_digest_opens_nothing(database: Database) -> None:
    key = create_api_key(database, "eve")
    for stolen in (hashlib.sha256(key.encode()).hexdigest(), f"so_{key[3:11]}_" + "A" * 43):
        assert authenticate(database, stolen) is None


def test_two_keys_have_nothing_in_common(database: Database) -> None:
    made = [create_api_key(database, "eve") for _ in range(20)]
    assert len({key.split("_", 2)[1] for key in made}) == len({key.split("_", 2)[2] for key in made}) == 20
    assert len(list_api_keys(database, "eve")) == 20


def test_revoking_in_one_process_ends_a_key_in_all(database: Database, database_url: str) -> None:
    key = create_api_key(database, "eve")
    elsewhere = Database.connect(database_url, pool_size=1)
    try:
        for _ in range(3):  # prepared by now
            assert authenticate(elsewhere, key) is not None
        (kept,) = list_api_keys(database, "eve")
        revoke_api_key(database, kept.id)
        assert authenticate(elsewhere, key) is None
        (after,) = list_api_keys(database, "eve")
        revoke_api_key(database, kept.id)
        assert list_api_keys(database, "eve") == [after], "the first time is when it ended"
    finally:
        elsewhere.close()


def test_a_key_ends_by_the_databases_clock_when_its_time_has_come(database: Database) -> None:
    key = create_api_key(database, "eve", expires_at=datetime.now(UTC) + timedelta(seconds=0.3))
    assert authenticate(database, key) is not None
    eventually(lambda: authenticate(database, key) is None, seconds=5)
    assert authenticate(database, create_api_key(database, "eve", expires_at=datetime.now(UTC))) is None
