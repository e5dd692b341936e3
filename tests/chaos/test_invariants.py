"""`check_invariants.sql` finds nothing in a database with runs in every state, and each thing that is done to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.oracle import CHECK_INVARIANTS
from tests.integration.engine.world import World, shift_clock
from tests.integration.store.tampering import Archive

BROKEN = {
    "the log has no holes": "DELETE FROM events WHERE run_id = %(run)s AND seq = 2",
    "each event names the hash before it": "UPDATE events SET prev_hash = hash WHERE run_id = %(run)s AND seq = 2",
    "the head is that of the log": "UPDATE runs SET seq = seq + 1 WHERE id = %(run)s",
    "a gate has one outcome": """
        INSERT INTO events SELECT run_id, seq + 100, type, at, actor, data, prev_hash, hash FROM events
        WHERE run_id = %(run)s AND type = 'gate.decided'""",
    "a step is recorded once a visit": """
        INSERT INTO events
        SELECT run_id, seq + n, 'step.completed', at, actor, json_build_object('step', 'twice'), prev_hash, hash
        FROM events, generate_series(100, 101) n WHERE run_id = %(run)s AND seq = 1""",
    "a run has one end": """
        INSERT INTO events SELECT run_id, seq + n, 'run.canceled', at, actor, data, prev_hash, hash
        FROM events, generate_series(100, 101) n WHERE run_id = %(run)s AND seq = 1""",
    "a run that stands still is held by nobody": """
        UPDATE runs SET due_at = now() WHERE id = %(run)s""",
    "a run that moves is looked at again": "UPDATE runs SET status = 'queued', due_at = NULL WHERE id = %(run)s",
    "a run is held by a worker exactly while it runs": "UPDATE runs SET worker = 'somebody' WHERE id = %(run)s",
    "a waiting run waits for somebody": "UPDATE runs SET status = 'waiting', node = 'nowhere' WHERE id = %(run)s",
    "nobody is asked about a run that is over": """
        UPDATE human_tasks SET state = 'open', mode = 'before' WHERE run_id = %(run)s""",
    "a finished run says when": "UPDATE runs SET finished_at = NULL WHERE id = %(run)s",
    "a human task has an outcome once it is completed": "UPDATE human_tasks SET outcome = NULL WHERE run_id = %(run)s",
    "what is over wakes nobody": "UPDATE human_tasks SET wake_at = now() WHERE run_id = %(run)s",
    "a decision is in the log": "UPDATE decisions SET decision = 'another' WHERE run_id = %(run)s",
    "a decision of the log has its row": "DELETE FROM decisions WHERE run_id = %(run)s",
    "a decision is on its own run": "UPDATE human_tasks SET run_id = gen_random_uuid() WHERE run_id = %(run)s",
}
"""For each invariant something that breaks it in one run."""
OF_A_FINISHED_RUN = {
    "a run that stands still is held by nobody",
    "nobody is asked about a run that is over",
    "a finished run says when",
}
ELSEWHERE = {
    # A unique index or a transaction keeps these; they are asked all the same, as nobody knows who drops an index.
    "one person has one voice on a revision",
    "a key is stored with its result",
    "an event is told once to an endpoint",
}


@pytest.fixture(scope="module")
def archive(module_database_url: str) -> Iterator[Archive]:
    shift_clock(module_database_url)
    world = World.on(module_database_url)
    with Archive.of(world) as found:
        yield found
    world.engine.close()


def violated(archive: Archive) -> set[str]:
    return {invariant for invariant, _, _ in archive.rows(CHECK_INVARIANTS)}


def test_runs_in_every_state_violate_none(archive: Archive) -> None:
    assert violated(archive) == set()


@pytest.mark.parametrize("invariant", BROKEN)
def test_each_is_found_when_it_is_violated(archive: Archive, invariant: str) -> None:
    run = archive.runs["timed out" if invariant in OF_A_FINISHED_RUN else "compensated"]
    with archive.tampered(BROKEN[invariant], run=run) as touched:
        assert touched, "this changes nothing"
        assert invariant in violated(archive)
    assert violated(archive) == set()


def test_each_invariant_has_something_that_violates_it() -> None:
    named = {line.split("'")[1] for line in CHECK_INVARIANTS.splitlines() if line.startswith("SELECT '")}
    assert named == set(BROKEN) | ELSEWHERE
