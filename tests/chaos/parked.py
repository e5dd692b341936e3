"""Very many parked runs: a few come from real workers, the others are copies of their rows, with true hashes.

A copy differs from its original in the two ids and in what follows from them: the hashes of its log are recomputed by
the database, event by event, so that a verification takes it for what it is, a run like any other.
"""

from __future__ import annotations

import random
from uuid import UUID

from psycopg import Cursor

from signoff.canonical import canonical
from signoff.engine import Engine
from signoff.ids import new_id
from signoff.store.runs import load_events
from signoff.store.schema import events, human_tasks, runs
from tests.bench.pages_seed import insert_copies

CHUNK = 50_000
"""Runs of one transaction."""

_TABLES = """
CREATE TEMP TABLE seeds (from_run uuid, from_task uuid, run_id uuid, task_id uuid) ON COMMIT DROP;
CREATE TEMP TABLE forms (run_id uuid, seq int, form text, prev text) ON COMMIT DROP;
CREATE TEMP TABLE chain (run_id uuid, seq int, prev_hash bytea, hash bytea) ON COMMIT DROP
"""
_IDS = "replace(replace({0}, s.from_run::text, s.run_id::text), s.from_task::text, s.task_id::text)"
_PREVIOUS = "coalesce(p.hash, decode(repeat('00', 32), 'hex'))"
_FORM = _IDS.format(f"replace(f.form, f.prev, encode({_PREVIOUS}, 'hex'))")
_LINK = f"""
INSERT INTO chain
SELECT s.run_id, f.seq, {_PREVIOUS}, sha256(convert_to({_FORM}, 'UTF8'))
FROM seeds s JOIN forms f ON f.run_id = s.from_run AND f.seq = %(seq)s
    LEFT JOIN chain p ON p.run_id = s.run_id AND p.seq = %(seq)s - 1
"""


def park(engine: Engine, originals: list[UUID], count: int) -> None:
    """So many more parked runs, copies of these, and statistics as autovacuum would have made them."""
    for begin in range(0, count, CHUNK):
        with engine.database.transaction() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
            cursor.execute("SET LOCAL statement_timeout = 0")
            for statement in _TABLES.split(";"):
                cursor.execute(statement.encode())
            seqs = _forms(cursor, originals)
            _seeds(cursor, originals, min(CHUNK, count - begin))
            cursor.execute("ANALYZE seeds")
            _copy(cursor, seqs)
    with engine.database.autocommit() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
        cursor.execute("RESET statement_timeout")


def _forms(cursor: Cursor[tuple[object, ...]], originals: list[UUID]) -> int:
    """What is hashed of each event of the originals; answers how many events each has."""
    lengths = set()
    for run_id in originals:
        log = load_events(cursor, run_id)
        lengths.add(len(log))
        for stored in log:
            prev = stored.prev_hash.hex()
            form = canonical(stored.event.to_json() | {"run_id": str(run_id), "prev_hash": prev}).decode()
            cursor.execute("INSERT INTO forms VALUES (%s, %s, %s, %s)", (run_id, stored.event.seq, form, prev))
    (length,) = lengths
    return length


def _seeds(cursor: Cursor[tuple[object, ...]], originals: list[UUID], count: int) -> None:
    cursor.execute("SELECT run_id, id FROM human_tasks WHERE run_id = ANY(%s)", (originals,))
    tasks = dict(cursor.fetchall())
    order = random.Random(count)
    with cursor.copy("COPY seeds FROM STDIN") as copy:
        for _ in range(count):
            original = order.choice(originals)
            copy.write_row((original, tasks[original], new_id(), new_id()))


def _copy(cursor: Cursor[tuple[object, ...]], seqs: int) -> None:
    for seq in range(1, seqs + 1):
        cursor.execute(_LINK.encode(), {"seq": seq})
        cursor.execute("ANALYZE chain")
    last = f"t.id = s.from_run JOIN chain c ON c.run_id = s.run_id AND c.seq = {seqs}"
    insert_copies(cursor, runs, last, {"id": "s.run_id", "hash": "c.hash"})
    hashed = {"prev_hash": "c.prev_hash", "hash": "c.hash"}
    changed = {"run_id": "s.run_id", "data": _IDS.format("t.data::text") + "::json"} | hashed
    insert_copies(
        cursor, events, "t.run_id = s.from_run JOIN chain c ON c.run_id = s.run_id AND c.seq = t.seq", changed
    )
    insert_copies(cursor, human_tasks, "t.run_id = s.from_run", {"id": "s.task_id", "run_id": "s.run_id"})
