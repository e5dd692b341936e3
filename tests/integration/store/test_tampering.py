"""Whatever is changed in the log, in a head, in a human task or in a decision shows when it is verified."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
import pytest
import sqlalchemy as sa
from tests.integration.store.tampering import Archive, changes

from signoff.errors import NotFound
from signoff.ids import new_id
from signoff.model import GENESIS_HASH, Event, EventType, event_hash
from signoff.store import schema
from signoff.store.runs import load_events

# What no log vouches for, and why. A change to one of these says nothing of what was done, by whom or of what.
UNVOUCHED = {
    ("runs", "epoch"): "fences workers off; claims and lost leases raise it",
    ("runs", "resends"): "counts messages",
    ("runs", "due_at"): "when somebody looks again; a retry's moment is in the log",
    ("runs", "worker"): "who has the run now",
    ("runs", "status"): "a retry that has come due, and a lease",
    ("human_tasks", "claim_expires_at"): "how long a claim is held",
    ("human_tasks", "changed_at"): "when the row was last written",
}


def test_what_was_left_alone_verifies(archive: Archive) -> None:
    found = archive.world.engine.verify()
    assert found.ok, found.first_bad
    assert found.runs == len(archive.runs) + 1, "the compensation is a run of its own"
    assert found.events == archive.rows("SELECT count(*) FROM events")[0][0]


# Every column -----------------------------------------------------------------------------------------------------


def _missed(archive: Archive, column: sa.Column[Any], where: str) -> list[str]:
    """The changes to this column that nobody notices."""
    table = column.table
    name = f'"{column.name}"'
    key = " AND ".join(f"{each.name} = %({each.name})s" for each in table.primary_key)
    missed = []
    for run_id, values in _rows(archive, table, where):
        for change in changes(column):
            differs = f"nullif({name}::text, 'null') IS DISTINCT FROM nullif(({change})::text, 'null')"
            statement = f"UPDATE {table.name} SET {name} = {change} WHERE {key} AND {differs}"
            with archive.tampered(statement, **values) as touched:
                # What is said to belong to another run may be found at either.
                where_to_look = None if column.name in ("id", "run_id") else run_id
                if touched and archive.world.engine.verify(where_to_look).ok:
                    before = archive.rows(f"SELECT {name} FROM kept.{table.name} WHERE {key}", **values)
                    missed.append(f"{column}: {before[0][0]!r} to {change}")
    return missed


def _rows(archive: Archive, table: sa.Table, where: str) -> list[tuple[UUID, dict[str, Any]]]:
    """The rows of a table by their keys, each with the run it belongs to."""
    names = [column.name for column in table.primary_key]
    run = "id" if table is schema.runs else "run_id"
    rows = archive.rows(f"SELECT {run}, {', '.join(names)} FROM {table.name} WHERE {where}")
    return [(row[0], dict(zip(names, row[1:], strict=True))) for row in rows]


COLUMNS = [
    pytest.param(column, id=f"{column.table.name}.{column.name}")
    for table in (schema.runs, schema.human_tasks, schema.decisions, schema.events)
    for column in table.columns
]


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_that_is_changed_is_found(archive: Archive, column: sa.Column[Any]) -> None:
    # One run's log has an event of most kinds; the heads are of every state.
    where = (
        "run_id = (SELECT run_id FROM decisions WHERE patch IS NOT NULL)" if column.table is schema.events else "true"
    )
    missed = _missed(archive, column, where if column.table is schema.events else "true")
    if (column.table.name, column.name) in UNVOUCHED:
        assert missed, "this is vouched for after all"
    else:
        assert missed == []


# The log ----------------------------------------------------------------------------------------------------------


LAST = "seq = (SELECT max(seq) FROM kept.events WHERE run_id = %(run_id)s)"


@pytest.mark.parametrize("which", ["seq = 1", "seq = 3", LAST, "seq > 2", "seq < 3", "true"])
def test_events_that_are_deleted_are_missed(archive: Archive, which: str) -> None:
    archive.problem(f"DELETE FROM events WHERE run_id = %(run_id)s AND {which}", run="decided")


def test_deleted_events_are_missed_though_the_others_are_counted_anew(archive: Archive) -> None:
    said = archive.problem(
        "DELETE FROM events WHERE run_id = %(run_id)s AND seq = 3",
        "UPDATE events SET seq = -seq + 1 WHERE run_id = %(run_id)s AND seq > 3",
        "UPDATE events SET seq = -seq WHERE run_id = %(run_id)s AND seq < 0",
        run="decided",
    )
    assert said == "prev_hash is not the hash of the event before"


@pytest.mark.parametrize("seq", ["0", "-1", "100", "(SELECT max(seq) + 1 FROM kept.events WHERE run_id = %(run_id)s)"])
def test_an_event_that_is_put_in_is_found(archive: Archive, seq: str) -> None:
    archive.problem(
        f"INSERT INTO events SELECT run_id, {seq}, type, at, actor, data, prev_hash, hash FROM events"
        " WHERE run_id = %(run_id)s AND seq = 2",
        run="decided",
    )


def test_events_that_are_swapped_are_found(archive: Archive) -> None:
    archive.problem(
        "UPDATE events SET seq = 5 - seq + 1000 WHERE run_id = %(run_id)s AND seq IN (2, 3)",
        "UPDATE events SET seq = seq - 1000 WHERE run_id = %(run_id)s AND seq > 1000",
        run="decided",
    )


def test_an_event_of_another_run_is_none_of_this_ones(archive: Archive) -> None:
    archive.problem(
        "DELETE FROM events WHERE run_id = %(run_id)s AND seq = 1",
        "INSERT INTO events SELECT %(run_id)s, seq, type, at, actor, data, prev_hash, hash FROM events"
        " WHERE run_id = %(other)s AND seq = 1",
        run="decided",
        other=archive.runs["sent back"],
    )


DATA = [
    ("""jsonb_set(data::jsonb, '{output,amount}', '13')""", "a number"),
    ("""data::jsonb || '{"more": null}'""", "a key more"),
    ("""data::jsonb - 'output'""", "a key less"),
    (r"""'{"step": "\ud800"}'""", "half a character"),
    ("""'{"step": 9007199254740993}'""", "a number that has no exact form"),
    ("""'{"step": 1e999}'""", "a number that is none"),
    ("""(repeat('[', 900) || repeat(']', 900))""", "too deep to be looked at"),
    ("""(repeat('[', 5000) || repeat(']', 5000))""", "too deep to be read"),
    ("""'"text"'""", "no object"),
]


@pytest.mark.parametrize("made", [pytest.param(made, id=name) for made, name in DATA])
def test_data_of_any_form_is_found_and_nothing_breaks(archive: Archive, made: str) -> None:
    archive.problem(f"UPDATE events SET data = ({made})::json WHERE run_id = %(run_id)s AND seq = 2", run="decided")


def test_an_actor_who_is_said_to_be_more_is_found(archive: Archive) -> None:
    changed = """(actor::jsonb || '{"on_behalf_of": "max"}')::json"""
    said = archive.problem(f"UPDATE events SET actor = {changed} WHERE run_id = %(run_id)s AND seq = 3", run="decided")
    assert "actor" in said


def _rehashed(archive: Archive, run: str, change: Any) -> tuple[list[str], dict[str, Any]]:
    """Statements that write the run's whole log anew after `change` of its events, every hash as it should be."""
    run_id = archive.runs[run]
    with archive.world.engine.database.transaction() as cursor:
        events = [change(stored.event) for stored in load_events(cursor, run_id)]
    statements, values, previous = [], {"run_id": run_id}, GENESIS_HASH
    for event in events:
        made, n = event_hash(run_id, event, previous), event.seq
        statements.append(
            f"UPDATE events SET type = %(t{n})s, data = %(d{n})s::json, prev_hash = %(p{n})s, hash = %(h{n})s"
            f" WHERE run_id = %(run_id)s AND seq = {n}"
        )
        values |= {f"t{n}": str(event.type), f"d{n}": orjson.dumps(dict(event.data)).decode()}
        values |= {f"p{n}": bytes.fromhex(previous), f"h{n}": bytes.fromhex(made)}
        previous = made
    return statements, values | {"last": bytes.fromhex(previous)}


def _rejecting(event: Event) -> Event:
    """The same event, if the person had said no."""
    if event.type is not EventType.DECISION_RECORDED:
        return event
    return Event(
        seq=event.seq, type=event.type, at=event.at, actor=event.actor, data={**event.data, "decision": "reject"}
    )


def test_a_log_that_is_hashed_anew_is_not_what_the_head_names(archive: Archive) -> None:
    statements, values = _rehashed(archive, "half decided", _rejecting)
    del values["run_id"]
    used = values.pop("last")
    assert archive.problem(*statements, run="half decided", **values) == "the head names another last event"
    head = "UPDATE runs SET hash = %(last)s WHERE id = %(run_id)s"
    said = archive.problem(*statements, head, run="half decided", last=used, **values)
    assert said == "the head's human_tasks is not the log's"


def test_a_head_of_an_earlier_moment_is_found(archive: Archive) -> None:
    archive.problem(
        "UPDATE runs SET seq = seq - 1, hash = (SELECT e.hash FROM events e WHERE e.run_id = runs.id"
        " AND e.seq = runs.seq - 1) WHERE id = %(run_id)s",
        run="decided",
    )


# Rows beside the head ---------------------------------------------------------------------------------------------

ANYBODYS = {
    "a human task is gone": ("DELETE FROM human_tasks WHERE run_id = %(run_id)s", "decided"),
    "a human task is put in": (
        "INSERT INTO human_tasks SELECT (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid(),"
        " 'run_id', %(run_id)s::text))).* FROM human_tasks t WHERE run_id = %(other)s", "queued"),
    "a human task is put in beside others": (
        "INSERT INTO human_tasks SELECT (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid()))).*"
        " FROM human_tasks t WHERE run_id = %(run_id)s", "decided"),
    "a decision is gone": ("DELETE FROM decisions WHERE run_id = %(run_id)s", "half decided"),
    "a decision is put in": (
        "INSERT INTO decisions SELECT (jsonb_populate_record(d, jsonb_build_object('id', gen_random_uuid(),"
        " 'principal_id', 'mallory'))).* FROM decisions d WHERE run_id = %(run_id)s", "half decided"),
    "a decision is put in that says it is of another run": (
        "INSERT INTO decisions SELECT (jsonb_populate_record(d, jsonb_build_object('id', gen_random_uuid(),"
        " 'run_id', %(other)s::text, 'principal_id', 'mallory'))).* FROM decisions d WHERE run_id = %(run_id)s",
        "half decided"),
}  # fmt: skip


@pytest.mark.parametrize("what", ANYBODYS)
def test_rows_that_come_and_go_are_found(archive: Archive, what: str) -> None:
    statement, run = ANYBODYS[what]
    archive.problem(statement, run=run, other=archive.runs["claimed"])


def test_true_is_not_one(archive: Archive) -> None:
    # What makes no difference in Python makes one to whoever reads the JSON.
    archive.problem("""UPDATE runs SET value = '{"done": 1}' WHERE id = %(run_id)s""", run="completed")


# The definition ---------------------------------------------------------------------------------------------------


def test_another_graph_under_the_same_number_is_found_by_a_process_that_knew_the_first(archive: Archive) -> None:
    archive.problem(
        """UPDATE workflow_versions SET graph = (graph::jsonb || '{"description": "another"}')::json"""
        " WHERE workflow = 'pair'",
        run="half decided",
    )


def test_a_workflow_version_that_is_gone_is_found(archive: Archive) -> None:
    archive.problem("DELETE FROM workflow_versions WHERE workflow = 'pair'", run="half decided")


# All of them ------------------------------------------------------------------------------------------------------


def test_a_run_that_can_not_be_read_hides_no_other(archive: Archive) -> None:
    unreadable = "UPDATE events SET at = 'infinity' WHERE run_id = %(last)s AND seq = 1"
    changed = "UPDATE runs SET outcome = 'forged' WHERE id = %(first)s"
    first, *_, last = sorted(archive.runs.values())
    found = archive.verified(unreadable, changed, first=first, last=last)
    assert found.first_bad is not None
    assert found.first_bad.run_id == first
    found = archive.verified(unreadable, last=last)
    assert found.first_bad is not None
    assert (found.first_bad.run_id, found.runs) == (last, 1 + sorted(_all_runs(archive)).index(last))


def _all_runs(archive: Archive) -> list[UUID]:
    return [row[0] for row in archive.rows("SELECT id FROM runs")]


def test_what_is_not_there_is_not_verified(archive: Archive) -> None:
    with pytest.raises(NotFound):
        archive.world.engine.verify(new_id())
