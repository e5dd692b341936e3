"""Idempotency keys: one effect for one key, however often, at once or across a crash; and not for ever."""

from __future__ import annotations

from functools import partial
from typing import Any

import psycopg
import pytest
from tests.integration.engine.flows import CHAIN, GATE
from tests.integration.engine.world import ANA, BEN, REQUESTER, World, together

from signoff.engine import Decided, DecisionRequest, IdempotencyKey
from signoff.engine.runs import Started
from signoff.errors import InvalidInput, Unavailable
from signoff.store.idempotency import begin, finish, forget_old

KEY = IdempotencyKey(key="k-1", fingerprint="a" * 64)
OTHER = IdempotencyKey(key="k-1", fingerprint="b" * 64)


@pytest.fixture(autouse=True)
def _registered(world: World) -> None:
    world.start(CHAIN, {})
    world.start(GATE, {"amount": 5})


def _start(world: World, key: IdempotencyKey = KEY, **options: Any) -> Started:
    values = {"workflow": "chain", "input": {}, "requester": REQUESTER} | options
    return world.engine.start(**values, idempotency=key)


def _runs(world: World) -> int:
    count: int = world.sql("SELECT count(*) FROM runs WHERE workflow = 'chain'")[0][0]
    return count - 1


def test_the_same_key_five_times_at_once_starts_one_run(world: World) -> None:
    for n in range(10):
        key = IdempotencyKey(key=f"at once {n}", fingerprint="a")
        results = together(*[partial(_start, world, key)] * 5)
        assert all(isinstance(result, Started) for result in results), results
        assert len({result.run_id for result in results}) == 1
        assert sorted(result.replayed for result in results) == [False, True, True, True, True]
        assert _runs(world) == n + 1


def test_the_same_key_five_times_at_once_decides_once(world: World) -> None:
    run_id = world.start(GATE, {"amount": 5})
    task = world.task(run_id)
    request = DecisionRequest(decision="approve", payload_sha256=task.payload_sha256)
    results = together(*[partial(world.engine.decide, task.id, request, by=ANA, idempotency=KEY)] * 5)
    assert all(isinstance(result, Decided) for result in results), results
    assert len({result.decision_id for result in results}) == 1
    assert sorted(result.replayed for result in results) == [False, True, True, True, True]
    assert world.kinds(run_id).count("decision.recorded") == 1


def test_two_requests_at_once_under_one_key_are_one_effect_and_one_refusal(world: World) -> None:
    for n in range(5):
        one, other = (IdempotencyKey(key=f"two {n}", fingerprint=fingerprint) for fingerprint in "ab")
        results = together(partial(_start, world, one), partial(_start, world, other))
        (refused,) = [result for result in results if isinstance(result, BaseException)]
        assert isinstance(refused, InvalidInput), repr(refused)
        assert refused.code == "idempotency_mismatch"
        assert _runs(world) == n + 1


def test_another_request_with_the_key_is_refused(world: World) -> None:
    _start(world)
    with pytest.raises(InvalidInput) as caught:
        _start(world, OTHER)
    assert caught.value.code == "idempotency_mismatch"
    assert _runs(world) == 1


def test_what_was_refused_leaves_its_key_free(world: World) -> None:
    with pytest.raises(InvalidInput):
        _start(world, labels={"": "none"})
    with pytest.raises(Exception, match="no workflow"):
        _start(world, workflow="none")
    assert world.sql("SELECT * FROM idempotency_keys") == []
    assert not _start(world, OTHER).replayed


def test_what_crashed_before_its_commit_has_not_happened_and_is_done_the_next_time(world: World) -> None:
    with pytest.raises(Unavailable), world.engine.database.transaction() as cursor:  # noqa: PT012
        assert begin(cursor, str(REQUESTER.id), KEY, keep_hours=24) is None
        finish(cursor, str(REQUESTER.id), KEY, {"run_id": "never"})
        with psycopg.connect(world.url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (cursor.connection.info.backend_pid,))
        cursor.execute("SELECT 1")
    assert not _start(world).replayed
    assert _start(world).replayed
    assert _runs(world) == 1


def test_the_same_key_of_somebody_else_is_another_key(world: World) -> None:
    task = world.task(world.start(GATE, {"amount": 5}))
    other = world.task(world.start(GATE, {"amount": 5}))
    for person, on in ((ANA, task), (BEN, other)):
        request = DecisionRequest(decision="approve", payload_sha256=on.payload_sha256)
        key = IdempotencyKey(key="k-1", fingerprint=person.name)
        assert not world.engine.decide(on.id, request, by=person, idempotency=key).replayed
    assert len(world.sql("SELECT * FROM idempotency_keys")) == 2


def test_a_key_is_forgotten_after_its_hours_and_no_earlier(world: World) -> None:
    hours = world.engine.settings.idempotency_hours
    first = _start(world)
    world.later(hours * 3600 - 60)
    assert world.engine.sweep().keys_forgotten == 0
    assert _start(world) == Started(run_id=first.run_id, replayed=True)
    world.later(61)
    # Even where no sweep has been: what is past its time counts as gone.
    again = _start(world, OTHER)
    assert not again.replayed
    assert again.run_id != first.run_id
    assert _start(world, OTHER) == Started(run_id=again.run_id, replayed=True), "it counts anew"
    world.later(hours * 3600 + 1)
    assert world.engine.sweep().keys_forgotten == 1
    assert world.sql("SELECT * FROM idempotency_keys") == []


def test_old_keys_are_deleted_oldest_first_a_batch_at_a_time(world: World) -> None:
    for n in range(5):
        _start(world, IdempotencyKey(key=f"old {n}", fingerprint="a"))
        world.later(60)
    world.later(24 * 3600)
    with world.engine.database.autocommit() as cursor:
        assert forget_old(cursor, keep_hours=24, limit=3) == 3
    assert world.sql("SELECT key FROM idempotency_keys ORDER BY key") == [("old 3",), ("old 4",)]
