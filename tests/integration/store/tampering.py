"""What somebody with all rights in the database can do to it, one thing at a time, and undone again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from tests.integration.engine.world import World
from tests.integration.store.states import a_run_in_every_state

from signoff.engine.verification import Verification

TABLES = ("workflow_versions", "runs", "events", "human_tasks", "decisions")


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Runs that are tampered with, and the copies by which that is undone."""

    world: World
    runs: dict[str, UUID]
    connection: psycopg.Connection[tuple[Any, ...]]

    @classmethod
    @contextmanager
    def of(cls, world: World) -> Iterator[Archive]:
        runs = a_run_in_every_state(world)
        # A superuser who has switched off every constraint that the tables have.
        options = "-c session_replication_role=replica -c synchronous_commit=off"
        with psycopg.connect(world.url, autocommit=True, options=options) as connection:
            connection.execute("CREATE SCHEMA kept")
            for table in TABLES:
                connection.execute(f"CREATE TABLE kept.{table} AS TABLE {table}")
            yield cls(world=world, runs=runs, connection=connection)

    @contextmanager
    def tampered(self, *statements: str, **values: Any) -> Iterator[int]:
        """These statements, done and undone; how many rows the last of them touched."""
        touched = 0
        try:
            for statement in statements:
                touched = self.connection.execute(statement, values).rowcount
            yield touched
        finally:
            for table in {table for table in TABLES if any(table in statement for statement in statements)}:
                self.connection.execute(f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept.{table}")

    def verified(self, *statements: str, run: str | None = None, **values: Any) -> Verification:
        """What verification says after these statements, which touch something."""
        with self.tampered(*statements, **values) as touched:
            assert touched, "this changes nothing"
            return self.world.engine.verify(None if run is None else self.runs[run])

    def problem(self, *statements: str, run: str, **values: Any) -> str:
        """What is found of this run, and of no other."""
        found = self.verified(*statements, **({"run_id": self.runs[run]} | values))
        assert not found.ok, f"not found: {statements}"
        assert found.first_bad is not None
        assert found.first_bad.run_id == self.runs[run]
        assert not self.verified(*statements, run=run, **({"run_id": self.runs[run]} | values)).ok
        return found.first_bad.problem

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, values).fetchall()


WORDS = {
    "status": ("queued", "running", "waiting", "retrying", "completed", "failed", "canceled"),
    "state": ("open", "completed", "canceled", "timed_out"),
    "decided_by": ("human", "policy", "timeout"),
    "outcome": ("approved", "rejected", "changes_requested", "timed_out"),
    "decision": ("approve", "reject", "request_changes"),
    "pending": ("approve", "reject"),
    "mode": ("before", "after"),
    "queue": ("default", "llm"),
    "type": ("run.created", "gate.passed", "human_task.commented", "run.completed"),
}
"""Values that are as good as the one that is there, by the name of the column."""


def changes(column: sa.Column[Any]) -> list[str]:
    """Expressions that make something else of a column's value; some of them leave it as it is."""
    name = f'"{column.name}"'
    made = [f"'{word}'" for word in WORDS.get(column.name, ())]
    match column.type:
        case JSONB():
            made += [f"""{name} || '{{"forged": "1"}}'""", "'{}'", "'[]'"]
        case sa.JSON():
            made += ["""'{"forged": true}'""", "'[]'", "'1e999'", """'{"type": "user", "id": "1", "name": "max"}'"""]
        case sa.ARRAY(item_type=sa.BigInteger()):
            made += [f"array_append({name}, 7::bigint)", "'{}'"]
        case sa.ARRAY():
            made += [f"array_append({name}, 'mallory')", "'{}'"]
        case sa.Text():
            made += [f"coalesce({name}, '') || 'x'", "''"]
        case sa.Boolean():
            made += [f"NOT {name}"]
        case sa.Integer():
            made += [f"coalesce({name}, 0) + 1000", f"-coalesce({name}, 0)"]
        case sa.TIMESTAMP():
            made += [f"coalesce({name}, now()) + interval '1 microsecond'", "'infinity'"]
        case sa.LargeBinary():
            made += [f"set_byte({name}, 0, (get_byte({name}, 0) + 1) %% 256)", r"'\x'"]
        case sa.Uuid():
            made += ["gen_random_uuid()"]
        case other:
            raise AssertionError(f"no idea how to change {other!r}")
    return [*made, "NULL"] if column.nullable else made
