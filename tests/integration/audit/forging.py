"""Somebody with all rights in the database, who writes logs anew: with every hash, and the head, as they should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

import orjson
from tests.integration.store.tampering import Archive

from signoff.ids import new_id
from signoff.model import GENESIS_HASH, Event, event_hash
from signoff.store.rows import StoredEvent
from signoff.store.runs import load_events

Log = list[StoredEvent]
Forgery = Callable[[Log, int], Log]
"""A log made from another, at one of its events."""

_RUN_TABLES = ("decisions", "human_tasks", "events", "runs")


def changed(log: Log, at: int) -> Log:
    """One event says that it happened a little later; its hash is left as it is."""
    event = log[at].event
    moved = replace(event, at=event.at + timedelta(microseconds=1))
    return [*log[:at], replace(log[at], event=moved), *log[at + 1 :]]


def deleted(log: Log, at: int) -> Log:
    return [*log[:at], *log[at + 1 :]]


def inserted(log: Log, at: int) -> Log:
    """One event twice."""
    return [*log[: at + 1], *log[at:]]


def swapped(log: Log, at: int) -> Log:
    """One event after the next one; the last one before the one before it."""
    one, other = sorted((at, at + 1 if at + 1 < len(log) else at - 1))
    moved = list(log)
    moved[one], moved[other] = log[other], log[one]
    return moved


def truncated(log: Log, at: int) -> Log:
    return log[:at]


def numbered(log: Log) -> Log:
    """The numbers as they should be; the hashes as they are."""
    return [replace(item, event=replace(item.event, seq=seq)) for seq, item in enumerate(log, start=1)]


def rehashed(log: Log, run_id: UUID) -> Log:
    """Numbers, links and hashes as they should be."""
    made: Log = []
    previous = GENESIS_HASH
    for item in numbered(log):
        computed = event_hash(run_id, item.event, previous)
        made.append(replace(item, prev_hash=bytes.fromhex(previous), hash=bytes.fromhex(computed)))
        previous = computed
    return made


@dataclass(frozen=True, kw_only=True)
class Forger:
    """Writes into an archive, and puts back what was there."""

    archive: Archive

    def log(self, run_id: UUID) -> Log:
        with self.archive.world.engine.database.transaction() as cursor:
            return load_events(cursor, run_id)

    @contextmanager
    def written(self, run_id: UUID, log: Sequence[StoredEvent], *, head: bool) -> Iterator[None]:
        """The run with this log, and with `head` its head as the log's last event has it."""
        connection = self.archive.connection
        try:
            connection.execute("DELETE FROM events WHERE run_id = %s", (run_id,))
            self._insert(run_id, log)
            if head and log:
                last = log[-1]
                connection.execute(
                    "UPDATE runs SET seq = %s, hash = %s, updated_at = %s WHERE id = %s",
                    (last.event.seq, last.hash, last.event.at, run_id),
                )
            yield
        finally:
            self._put_back(run_id)

    @contextmanager
    def gone(self, run_id: UUID) -> Iterator[None]:
        """The run deleted, with all its rows."""
        try:
            self._delete(run_id)
            yield
        finally:
            self._put_back(run_id)

    @contextmanager
    def copied(self, run_id: UUID) -> Iterator[UUID]:
        """The run once more under an id of its own, hashed as it should be."""
        made = new_id()
        connection = self.archive.connection
        log = rehashed(self.log(run_id), made)
        try:
            connection.execute(
                "INSERT INTO runs SELECT (jsonb_populate_record(r, jsonb_build_object('id', %s::text))).* FROM runs r"
                " WHERE id = %s",
                (made, run_id),
            )
            # What passes through jsonb is not byte for byte the same.
            connection.execute(
                "UPDATE runs c SET value = r.value, outputs = r.outputs, feedback = r.feedback, error = r.error,"
                " requester = r.requester, hash = %s FROM runs r WHERE c.id = %s AND r.id = %s",
                (log[-1].hash, made, run_id),
            )
            self._insert(made, log)
            yield made
        finally:
            self._delete(made)

    def _insert(self, run_id: UUID, log: Sequence[StoredEvent]) -> None:
        with self.archive.connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO events (run_id, seq, type, at, actor, data, prev_hash, hash)"
                " VALUES (%s, %s, %s, %s, %s::json, %s::json, %s, %s)",
                [(run_id, *_columns(item.event), item.prev_hash, item.hash) for item in log],
            )

    def _delete(self, run_id: UUID) -> None:
        for table in _RUN_TABLES:
            key = "id" if table == "runs" else "run_id"
            self.archive.connection.execute(f"DELETE FROM {table} WHERE {key} = %s", (run_id,))

    def _put_back(self, run_id: UUID) -> None:
        for table in _RUN_TABLES:
            key = "id" if table == "runs" else "run_id"
            self.archive.connection.execute(f"DELETE FROM {table} WHERE {key} = %s", (run_id,))
            self.archive.connection.execute(
                f"INSERT INTO {table} SELECT * FROM kept.{table} WHERE {key} = %s", (run_id,)
            )


def _columns(event: Event) -> tuple[object, ...]:
    actor, data = orjson.dumps(event.actor.to_json()).decode(), orjson.dumps(dict(event.data)).decode()
    return event.seq, str(event.type), event.at, actor, data
