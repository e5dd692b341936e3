"""What anchors cost: in proportion to what has changed, and next to nothing when the log is verified."""

from __future__ import annotations

import time
from uuid import UUID

import orjson
import psycopg
import pytest
from tests.integration.audit import forging
from tests.integration.audit.notary import Notary
from tests.integration.engine.flows import CHAIN, REFUND
from tests.integration.engine.world import ANA, World

from signoff.engine import anchoring
from signoff.ids import new_id
from signoff.store.runs import load_events

pytestmark = pytest.mark.long

RUNS = 10_000
LONG = 800
COLUMNS = "run_id, seq, type, at, actor, data, prev_hash, hash"


def _copies(url: str, run_id: UUID, log: forging.Log, count: int) -> None:
    """The run `count` times more, hashed as it should be."""
    ids = sorted(new_id() for _ in range(count))
    with psycopg.connect(url, options="-c session_replication_role=replica") as connection:
        heads: list[tuple[UUID, bytes]] = []
        with connection.cursor() as cursor, cursor.copy(f"COPY events ({COLUMNS}) FROM STDIN") as copy:
            for made in ids:
                copied = forging.rehashed(log, made)
                heads.append((made, copied[-1].hash))
                for item in copied:
                    event = item.event
                    actor, data = orjson.dumps(event.actor.to_json()), orjson.dumps(dict(event.data))
                    copy.write_row((made, event.seq, str(event.type), event.at, actor.decode(), data.decode(),
                                    item.prev_hash, item.hash))  # fmt: skip
        connection.execute("CREATE TEMPORARY TABLE made (id uuid, hash bytea)")
        with connection.cursor() as cursor, cursor.copy("COPY made FROM STDIN") as copy:
            for head in heads:
                copy.write_row(head)
        names = [
            row[0]
            for row in connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = 'runs'"
                " AND table_schema = 'public' AND column_name NOT IN ('id', 'hash')"
            )
        ]
        listed = ", ".join(f'"{name}"' for name in names)
        chosen = ", ".join(f'r."{name}"' for name in names)
        connection.execute(
            f"INSERT INTO runs (id, hash, {listed}) SELECT m.id, m.hash, {chosen} FROM made m, runs r WHERE r.id = %s",
            (run_id,),
        )
        connection.commit()
        connection.autocommit = True
        connection.execute("ANALYZE")


def _log(world: World, run_id: UUID) -> forging.Log:
    with world.engine.database.transaction() as cursor:
        return load_events(cursor, run_id)


def test_ten_thousand_changed_runs_are_anchored_in_seconds_and_one_more_at_once(notary: Notary, world: World) -> None:
    notary.anchor()
    template = world.start(CHAIN, {"n": 1})
    _copies(world.url, template, _log(world, template), RUNS - 1)
    began = time.perf_counter()
    made = notary.world.engine.anchor()
    took = time.perf_counter() - began
    assert made.heads == RUNS
    assert notary.file.stat().st_size < 80 * RUNS
    world.later(3_600)
    world.start(CHAIN, {"n": 1})
    began = time.perf_counter()
    assert notary.world.engine.anchor().heads == 1
    one = time.perf_counter() - began
    began = time.perf_counter()
    log = anchoring.anchors_of(notary.settings)
    read = time.perf_counter() - began
    assert log is not None
    found = notary.verified()
    assert (found.ok, found.runs, found.unanchored) == (True, RUNS + 1, 0)
    print(f"{RUNS} changed runs anchored in {took:.2f} s; one more in {one * 1000:.0f} ms; verified in {read:.2f} s")
    assert took < 10
    # That it reads only what changed is `heads == 1`. 0.04 s where nothing else runs; a second was seen beside others.
    assert one < 5


def test_twenty_thousand_events_a_second_are_verified(notary: Notary, world: World) -> None:
    run_id = world.start(REFUND, {"amount": 10})
    world.work(run_id, {"amount": 12, "text": "a draft"})
    world.engine.comment(world.task(run_id).id, text="is it so?", by=ANA)
    log = _log(world, run_id)
    long = forging.rehashed([*log, *[log[-1]] * LONG], run_id)
    with psycopg.connect(world.url) as connection, connection.cursor() as cursor:
        for item in long[len(log) :]:
            event = item.event
            actor, data = orjson.dumps(event.actor.to_json()).decode(), orjson.dumps(dict(event.data)).decode()
            cursor.execute(
                f"INSERT INTO events ({COLUMNS}) VALUES (%s, %s, %s, %s, %s::json, %s::json, %s, %s)",
                (run_id, event.seq, str(event.type), event.at, actor, data, item.prev_hash, item.hash),
            )
        cursor.execute("UPDATE runs SET seq = %s, hash = %s", (len(long), long[-1].hash))
    assert world.engine.verify(run_id).ok
    short = world.start(CHAIN, {"n": 1})
    for _ in range(3):
        world.work(short, {"done": True})
    _copies(world.url, short, _log(world, short), 1_500)
    notary.anchor()
    rates = [(*_rates(notary.plain), *_rates(notary.world)) for _ in range(2)]
    plain, plain_cpu, anchored, anchored_cpu = (max(measured) for measured in zip(*rates, strict=True))
    print(f"verified: {plain:,.0f} events/s without anchors, {anchored:,.0f} with")
    print(f"a second of this process's own: {plain_cpu:,.0f} events without anchors, {anchored_cpu:,.0f} with")
    # What others do on the machine meanwhile is no part of it.
    assert anchored_cpu > 20_000
    assert anchored_cpu > 0.8 * plain_cpu


def _rates(world: World) -> tuple[float, float]:
    """Events a second, and a second of this process's own."""
    began, began_cpu = time.perf_counter(), time.process_time()
    found = world.engine.verify()
    assert found.ok, found.first_bad
    return found.events / (time.perf_counter() - began), found.events / (time.process_time() - began_cpu)


def test_an_anchor_reads_no_more_than_the_newest_events(notary: Notary, world: World) -> None:
    template = world.start(CHAIN, {"n": 1})
    log = _log(world, template)
    _copies(world.url, template, log, 20_000)
    world.later(7_200)
    notary.anchor(later=0)
    world.start(CHAIN, {"n": 1})
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE events")
        since = notary.lines()[-1]["anchor"]["at"]
        plan = "\n".join(
            row[0]
            for row in connection.execute(
                "EXPLAIN ANALYZE SELECT id, seq, hash FROM runs WHERE id IN"
                " (SELECT run_id FROM events WHERE at >= %s::timestamptz - interval '60 s') ORDER BY id",
                (since,),
            )
        )
    assert "events_by_time" in plan, plan
    assert "Seq Scan on events" not in plan, plan
