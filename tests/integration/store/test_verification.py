"""Verification beside everything else that happens: it disturbs nobody, and raises no false alarm."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from tests.integration.engine.flows import BESIDE, CHAIN, REFUND
from tests.integration.engine.world import ANA, BEN, World
from tests.mutants import mutate

from signoff.engine import verification
from signoff.store.database import Cursor, Database


def _through_all(world: World) -> None:
    """One run with two drafts, a comment, a claim and a decision."""
    run_id = world.start(REFUND, {"amount": 10})
    for decision in ("request_changes", "approve"):
        world.engine.complete(world.claim(run_id), {"amount": 12}, worker="w", go_on=False)
        task = world.task(run_id)
        world.engine.comment(task.id, text="so", by=BEN)
        world.engine.claim(task.id, by=ANA)
        world.decide(run_id, ANA, decision, note="so")
    world.work(run_id, {"paid": True})
    beside = world.start(BESIDE, {"amount": 1})
    world.work(beside, {"amount": 2})
    world.decide(beside, ANA, "reject")


def test_runs_that_move_meanwhile_are_no_false_alarm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "check", lambda self, run_id: None)
    stop, failures = threading.Event(), []

    def keep_moving() -> None:
        try:
            while not stop.is_set():
                _through_all(world)
        except BaseException as error:  # noqa: BLE001  # told below
            failures.append(error)

    movers = [threading.Thread(target=keep_moving) for _ in range(2)]
    for mover in movers:
        mover.start()
    try:
        found = world.engine.verify()
        while found.ok and found.runs < 60 and not failures:
            found = world.engine.verify()
    finally:
        stop.set()
        for mover in movers:
            mover.join(30)
    assert failures == []
    assert found.ok, found.first_bad


def test_read_in_pieces_runs_that_move_are_a_false_alarm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, verification._verify_together, "in_one_snapshot(cursor)", "pass")
    run_id = world.start(CHAIN, {})
    claimed = world.claim(run_id)
    transaction, moved = Database.transaction, []

    class Interrupted:
        """A cursor beside which the run moves, between the statement that reads its head and the next."""

        def __init__(self, cursor: Cursor) -> None:
            self.connection, self.fetchall, self._cursor = cursor.connection, cursor.fetchall, cursor

        def execute(self, *arguments: object) -> object:
            if "FROM human_tasks" in str(arguments[0]) and not moved:
                moved.append(True)
                world.engine.complete(claimed, {}, worker="w", go_on=False)
            return self._cursor.execute(*arguments)  # type: ignore[arg-type]

    @contextmanager
    def interrupted(database: Database) -> Iterator[object]:
        with transaction(database) as cursor:
            yield cursor if moved else Interrupted(cursor)

    monkeypatch.setattr(Database, "transaction", interrupted)
    assert not world.engine.verify(run_id).ok, "the snapshot is what makes them agree"


def test_it_waits_for_nobody_and_writes_nothing(world: World) -> None:
    run_id = world.start(CHAIN, {})
    with psycopg.connect(world.url) as other:
        other.execute("SELECT 1 FROM runs FOR UPDATE")
        other.execute("LOCK TABLE events IN EXCLUSIVE MODE")
        assert world.engine.verify().ok
        assert world.engine.verify(run_id).ok
    with psycopg.connect(world.url, autocommit=True) as other:
        other.execute(f'ALTER DATABASE "{other.info.dbname}" SET default_transaction_read_only = on')
    world.engine.database.close()
    assert world.engine.verify().ok


def test_many_runs_take_no_more_transactions_than_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(12):
        world.start(CHAIN, {})
    monkeypatch.setattr(verification, "BATCH", 5)
    opened, transaction = [], Database.transaction

    def counted(database: Database) -> object:
        opened.append(database)
        return transaction(database)

    monkeypatch.setattr(Database, "transaction", counted)
    found = world.engine.verify()
    assert (found.ok, found.runs, found.events, len(opened)) == (True, 12, 12, 3)
