"""What is due is found by an index up to now, and not by looking at all that will ever be due."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from signoff.store import idempotency, leases


class Explaining:
    """A cursor that asks for the plan of what it is given."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._cursor = connection.cursor()
        self.plan = ""

    rowcount = 0

    def execute(self, statement: str, values: Any = None) -> None:
        rows = self._cursor.execute(b"EXPLAIN " + statement.encode(), values).fetchall()
        self.plan += "\n".join(row[0] for row in rows) + "\n"

    def fetchall(self) -> list[Any]:
        return []


@pytest.mark.parametrize(
    ("ask", "moment"),
    [
        (lambda cursor: leases.due_human_tasks(cursor, limit=200), "wake_at"),
        (lambda cursor: leases.expired_leases(cursor, limit=200), "due_at"),
        (
            lambda cursor: leases.take_due_messages(cursor, limit=200, first_seconds=5, longest_seconds=300),
            "due_at",
        ),
        (lambda cursor: leases.lapsed_claims(cursor, limit=200), "claim_expires_at"),
        (lambda cursor: idempotency.forget_old(cursor, keep_hours=72, limit=200), "created_at"),
    ],
    ids=["human tasks", "leases", "messages", "claims", "keys"],
)
def test_a_sweep_costs_what_is_due(database_url: str, ask: Callable[[Any], object], moment: str) -> None:
    with psycopg.connect(database_url) as connection:
        # An empty table has no good plan; what is asked is whether the index can be used at all.
        connection.execute("SET enable_seqscan = off")
        connection.execute("SET enable_bitmapscan = off")
        connection.execute("SET enable_sort = off")
        cursor = Explaining(connection)
        ask(cursor)
    assert f"Index Cond: ({moment} <" in cursor.plan, cursor.plan
