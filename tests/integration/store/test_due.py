"""What is due is found by an index up to now, and not by looking at all that will ever be due."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from signoff.ids import new_id
from signoff.store import diagnosis, idempotency, leases, notification_events, notifications
from signoff.store.outbox import NOTIFICATIONS, WEBHOOKS
from signoff.store.runs import load_human_tasks, lock_run, lock_runs
from signoff.store.sessions import forget_ended
from signoff.store.snoozes import forget_snoozes

PACE = notifications.Pace(burst=5, window_seconds=60)


class Explaining:
    """A cursor that asks for the plan of each statement it is given, and finds nothing, or `first`."""

    rowcount = 0

    def __init__(self, connection: psycopg.Connection[Any], first: tuple[Any, ...] | None = None) -> None:
        self.first = first
        self._cursor = connection.cursor()
        self.plans: list[str] = []

    def execute(self, statement: str, values: Any = None) -> Explaining:
        rows = self._cursor.execute(b"EXPLAIN " + statement.encode(), values).fetchall()
        self.plans.append("\n".join(row[0] for row in rows))
        return self

    def fetchall(self) -> list[Any]:
        return []

    def fetchone(self) -> tuple[Any, ...] | None:
        return self.first


def plans(database_url: str, ask: Callable[[Any], object], first: tuple[Any, ...] | None = None) -> list[str]:
    """The plans of what is asked, where whatever can be done by an index is."""
    with psycopg.connect(database_url) as connection:
        # An empty table has no good plan; what is asked is whether the index can be used at all.
        connection.execute("SET enable_seqscan = off")
        connection.execute("SET enable_bitmapscan = off")
        connection.execute("SET enable_sort = off")
        cursor = Explaining(connection, first)
        ask(cursor)
    assert cursor.plans
    return cursor.plans


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
        (lambda cursor: forget_ended(cursor, limit=200), "(expires_at|last_at)"),
        (lambda cursor: forget_snoozes(cursor, limit=200), "until_at"),
        (lambda cursor: notification_events.expand(cursor, limit=200), "due_at"),
        (lambda cursor: WEBHOOKS.due(cursor, hold_seconds=5), "due_at"),
        (lambda cursor: NOTIFICATIONS.due(cursor, hold_seconds=5), "due_at"),
        (lambda cursor: WEBHOOKS.take(cursor, new_id(), limit=9, lease_seconds=5), "due_at"),
        (lambda cursor: NOTIFICATIONS.take(cursor, new_id(), limit=9, lease_seconds=5), "due_at"),
        (lambda cursor: WEBHOOKS.forget(cursor, keep_days=7, limit=200), "created_at"),
        (lambda cursor: NOTIFICATIONS.forget(cursor, keep_days=7, limit=200), "created_at"),
        (lambda cursor: notifications._at_once(cursor, new_id(), PACE), "due_at"),
        (lambda cursor: notifications._at_once(cursor, new_id(), PACE), "attempted_at"),
        (lambda cursor: cursor.execute(diagnosis._OVERDUE), "due_at"),
        (lambda cursor: cursor.execute(diagnosis._OVERDUE), "wake_at"),
    ],
    ids=[
        "human tasks", "leases", "messages", "claims", "keys", "ended", "snoozes", "what happened",
        "endpoints", "channels", "deliveries", "notifications", "old deliveries", "old notifications",
        "pace, due", "pace, sent", "doctor, runs", "doctor, human tasks",
    ],
)  # fmt: skip
def test_a_sweep_costs_what_is_due(database_url: str, ask: Callable[[Any], object], moment: str) -> None:
    for plan in plans(database_url, ask, (0, 0, None)):
        assert re.search(rf"Index Cond: .*\b{moment} [<>]", plan), plan


@pytest.mark.parametrize(
    "read",
    [
        lambda cursor: lock_run(cursor, new_id()),
        lambda cursor: lock_runs(cursor, [new_id(), new_id()]),
        lambda cursor: load_human_tasks(cursor, new_id()),
    ],
    ids=["a run", "several runs", "human tasks and decisions"],
)
def test_a_run_is_read_without_a_look_at_others(database_url: str, read: Callable[[Any], object]) -> None:
    for plan in plans(database_url, read):
        assert "Index Cond: " in plan, plan
