"""Migrating and seeding a development database, and seeing that it is done."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from signoff.embedded import preparation
from signoff.embedded.identities import IDENTITIES, seed
from signoff.embedded.places import prepare_home, read_keys
from signoff.embedded.preparation import prepare
from signoff.store.database import Database
from signoff.store.identity import authenticate


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return prepare_home(tmp_path / "home")


def test_each_identity_gets_a_key_that_opens_what_it_may(empty_database_url: str, home: Path) -> None:
    keys = prepare(empty_database_url, home)

    database = Database.connect(empty_database_url, pool_size=1)
    try:
        found = {name: authenticate(database, key) for name, key in keys.items()}
    finally:
        database.close()
    assert {name: (who.kind, who.groups, who.roles) for name, who in found.items() if who is not None} == {
        each.name: (each.kind, frozenset(each.groups), frozenset(each.roles)) for each in IDENTITIES
    }


def test_the_second_time_nothing_is_done_and_the_keys_are_the_same(
    empty_database_url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = prepare(empty_database_url, home)
    monkeypatch.setattr("signoff.store.migrations.upgrade", lambda _url: pytest.fail("migrated again"))

    assert prepare(empty_database_url, home) == keys


def test_another_release_migrates_again(empty_database_url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(empty_database_url, home)
    migrated: list[str] = []
    monkeypatch.setattr("signoff.store.migrations.upgrade", migrated.append)
    monkeypatch.setattr(preparation, "_release", lambda: "newer")

    prepare(empty_database_url, home)

    assert migrated == [empty_database_url]


def test_a_database_that_was_made_anew_is_prepared_whatever_the_home_remembers(
    empty_database_url: str, database_url: str, home: Path
) -> None:
    old = prepare(database_url, home)

    new = prepare(empty_database_url, home)

    assert new.keys() == old.keys()
    assert new.values() != old.values()
    assert read_keys(home) == new


def test_only_the_key_that_was_revoked_is_replaced(database_url: str, home: Path) -> None:
    before = prepare(database_url, home)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE api_keys SET revoked_at = now() FROM principals p WHERE p.id = principal_id AND p.name = 'ana'"
        )

    after = prepare(database_url, home)

    assert {name for name in after if after[name] != before[name]} == {"ana"}


def test_an_identity_that_was_changed_is_what_it_should_be_again(database_url: str, home: Path) -> None:
    before = prepare(database_url, home)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE principals SET groups = '{}' WHERE name = 'ana'")

    assert seed(database_url, home) == before

    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT groups FROM principals WHERE name = 'ana'").fetchone()
    assert row == (["support-leads"],)
