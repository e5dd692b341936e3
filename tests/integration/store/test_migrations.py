"""Migrations: up, down, up again, twice, at once, and never backward past what the code knows."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from tests.integration.engine.world import World, together
from tests.integration.store.states import a_run_in_every_state
from tests.servers import eventually

from signoff.errors import ConfigurationError
from signoff.store import migrations, schema
from signoff.store.database import create_engine

REVISIONS = [
    script.revision for script in reversed(list(ScriptDirectory.from_config(migrations._config()).walk_revisions()))
]

CATALOG = """
SELECT 'column', table_name, column_name, data_type || coalesce(column_default, '') || is_nullable
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'other', relname, relkind::text, '' FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('i', 'r')
UNION ALL SELECT 'function', proname, '', '' FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'type', typname, '', '' FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype <> 'c'
ORDER BY 1, 2, 3, 4
"""


def _catalog(url: str) -> list[tuple[Any, ...]]:
    """All there is in the database, but for the table in which Alembic notes where it stands."""
    with psycopg.connect(url) as connection:
        return [row for row in connection.execute(CATALOG).fetchall() if "alembic_version" not in row[1]]


def _set_revision(url: str, revision: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", (revision,))


def test_up_down_to_nothing_and_up_again(empty_database_url: str) -> None:
    assert migrations.revision(empty_database_url) is None
    migrations.upgrade(empty_database_url)
    assert migrations.revision(empty_database_url) == migrations.head()
    first = _catalog(empty_database_url)
    migrations.downgrade(empty_database_url, "base")
    assert migrations.revision(empty_database_url) is None
    assert _catalog(empty_database_url) == []
    migrations.upgrade(empty_database_url)
    assert _catalog(empty_database_url) == first


def test_each_step_down_is_the_step_up_undone(empty_database_url: str) -> None:
    stages = []
    for revision in REVISIONS:
        migrations.upgrade(empty_database_url, revision)
        stages.append(_catalog(empty_database_url))
    for revision, stage in reversed(list(zip(REVISIONS, stages, strict=True))[:-1]):
        migrations.downgrade(empty_database_url, revision)
        assert _catalog(empty_database_url) == stage, f"down to {revision}"


def test_there_is_one_line_of_revisions_from_nothing_to_the_head() -> None:
    scripts = ScriptDirectory.from_config(migrations._config())
    assert len(scripts.get_heads()) == len(scripts.get_bases()) == 1
    assert sorted(REVISIONS) == REVISIONS
    assert REVISIONS[-1] == migrations.head()


def test_the_tables_that_queries_see_are_those_that_migrations_make(database_url: str) -> None:
    engine = create_engine(database_url, pool_size=1)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "compare_server_default": True}
            )
            assert compare_metadata(context, schema.metadata) == []
    finally:
        engine.dispose()


def test_tables_made_from_their_description_are_the_same_to_the_last_index(
    database_url: str, empty_database_url: str
) -> None:
    # Comparing by Alembic leaves out what an index is made of.
    engine = create_engine(empty_database_url, pool_size=1)
    try:
        schema.metadata.create_all(engine)
    finally:
        engine.dispose()
    assert _without_order(_catalog(empty_database_url)) == _without_order(_catalog(database_url))


def _without_order(catalog: list[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    return {row for row in catalog if row[0] != "type"}


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    before = _catalog(database_url)
    migrations.upgrade(database_url)
    assert _catalog(database_url) == before


def test_upgrades_at_once_are_one(empty_database_url: str) -> None:
    results = together(*[lambda: migrations.upgrade(empty_database_url)] * 4)
    assert results == [None] * 4
    assert migrations.revision(empty_database_url) == migrations.head()


def test_two_commands_that_start_together_both_succeed(empty_database_url: str) -> None:
    commands = [
        subprocess.Popen(
            [Path(sys.executable).with_name("signoff"), "db", "upgrade"],
            env={"SIGNOFF_DATABASE_URL": empty_database_url, "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = [(command.communicate(timeout=60)[0], command.returncode) for command in commands]
    assert [code for _, code in said] == [0, 0], said
    assert migrations.revision(empty_database_url) == migrations.head()


def test_an_upgrade_waits_for_the_one_before_it(empty_database_url: str) -> None:
    thread = threading.Thread(target=migrations.upgrade, args=(empty_database_url,))
    with psycopg.connect(empty_database_url) as before, psycopg.connect(empty_database_url, autocommit=True) as watch:
        before.execute("SELECT pg_advisory_xact_lock(%s)", (migrations._LOCK,))
        thread.start()
        waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        eventually(lambda: watch.execute(waits).fetchone(), why="it waits for the lock")
        assert _catalog(empty_database_url) == []
    thread.join(30)
    assert migrations.revision(empty_database_url) == migrations.head()


def test_a_migration_that_fails_leaves_the_database_as_it_was(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("CREATE TABLE decisions (n int)")
    before = _catalog(empty_database_url)
    with pytest.raises(sa.exc.ProgrammingError, match="decisions"):
        migrations.upgrade(empty_database_url)
    assert _catalog(empty_database_url) == before
    assert migrations.revision(empty_database_url) is None


def test_a_database_of_a_newer_release_is_refused_and_left_alone(database_url: str) -> None:
    _set_revision(database_url, "9999")
    before = _catalog(database_url)
    for change in (migrations.upgrade, lambda url: migrations.downgrade(url, "base")):
        with pytest.raises(ConfigurationError) as caught:
            change(database_url)
        assert "9999" in caught.value.detail
        assert migrations.head() in caught.value.detail
        assert caught.value.fix
    assert _catalog(database_url) == before
    assert migrations.revision(database_url) == "9999"


def test_runs_in_every_state_come_through_every_step_down_and_up(world: World) -> None:
    a_run_in_every_state(world)
    before = world.engine.verify()
    where = "SELECT id, surface, reading_ms FROM decisions ORDER BY id"
    said = world.sql(where)
    assert len({row[1:] for row in said}) == 3, "with both, with one of them, with neither"
    log = world.sql("SELECT run_id, seq, hash FROM events ORDER BY run_id, seq")
    # The first revision makes the tables: there is nothing below it that could hold a run.
    for revision in REVISIONS[:-1]:
        migrations.downgrade(world.url, revision)
        migrations.upgrade(world.url)
    world.engine.database.close()
    found = world.engine.verify()
    assert found.ok, found.first_bad
    assert found == before
    assert world.sql("SELECT run_id, seq, hash FROM events ORDER BY run_id, seq") == log
    assert world.sql(where) == said
