"""Plans that were made while the tables were small are kept, and read no table as a whole when it has grown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.engine.flows import CHAIN, GATE
from tests.integration.engine.world import ANA, REQUESTER, World, shift_clock
from tests.servers import eventually

from signoff.engine import DecisionRequest, Engine, build_engine
from signoff.model import SYSTEM
from signoff.settings import Settings

OFTEN = 20
"""PostgreSQL makes its plan for all parameters at the sixth time, and keeps it until it has analyzed the table."""
GROWN = 5_000


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    shift_clock(database_url)
    made = World.on(database_url)
    for table in ("runs", "human_tasks", "decisions", "events"):
        made.sql(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    for graph in (GATE, CHAIN):
        made.engine.register(graph, by=SYSTEM)
    yield made
    made.engine.close()


def _decided(engine: Engine, world: World, count: int) -> None:
    for _ in range(count):
        run_id = engine.start(workflow=GATE.workflow, input={"amount": 5}, requester=REQUESTER).run_id
        task = world.task(run_id)
        said = DecisionRequest(decision="approve", payload_sha256=task.payload_sha256)
        engine.decide(task.id, said, by=ANA)


def _grow(world: World) -> None:
    for table in ("runs", "human_tasks"):
        world.sql(
            f"INSERT INTO {table} SELECT (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid()))).*"
            f" FROM {table} t, generate_series(1, {GROWN}) WHERE t.id = (SELECT id FROM {table} LIMIT 1)"
        )


def _read_whole(world: World) -> dict[str, int]:
    """Rows that were read by reading a table as a whole, by table; a connection tells of all it did as it ends."""
    rows = world.sql("SELECT relname, seq_tup_read FROM pg_stat_user_tables WHERE relname IN ('runs', 'human_tasks')")
    return dict(rows)


def test_a_decision_finds_its_run_by_its_key(world: World, database_url: str) -> None:
    settings = Settings(database_url=database_url, broker_url="redis://127.0.0.1:1/0")  # type: ignore[arg-type]
    engine = build_engine(settings, pool_size=1)
    try:
        _decided(engine, world, OFTEN)
        _grow(world)
        _decided(engine, world, OFTEN)
    finally:
        engine.close()
    here = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    eventually(lambda: world.sql(here) == [(1,)], why="the engine's connection has ended")
    read = _read_whole(world)
    # It includes the growing, which reads both tables once or twice.
    assert all(rows < 4 * GROWN for rows in read.values()), read
