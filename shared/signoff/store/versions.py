"""Workflow versions: registered once, immutable, and kept in memory once read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from signoff.definition.graph import Graph
from signoff.errors import NotFound
from signoff.model import Actor
from signoff.store.clock import DatabaseClock
from signoff.store.database import Cursor
from signoff.store.rows import dump

MAX_CACHED = 500

KNOWN_SECONDS = 5.0
"""How long the newest version and the clock count as known: two clocks part by less than a millisecond in that time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A version of a workflow; `created` says whether this registration made it.

    Runs begin with the `newest`. That is another one where what was registered had been there, and been replaced.
    """

    workflow: str
    number: int
    sha256: str
    created: bool
    newest: int


def register(cursor: Cursor, graph: Graph, *, by: Actor) -> Registered:
    """Store a graph as the workflow's next version; the same content is the version it already was."""
    # Two deployments at once would count to the same number; the lock is per workflow and ends with the transaction.
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 7))", (graph.workflow,))
    cursor.execute(
        "SELECT number, (SELECT max(number) FROM workflow_versions WHERE workflow = %s)"
        " FROM workflow_versions WHERE workflow = %s AND sha256 = %s",
        (graph.workflow, graph.workflow, graph.sha256),
    )
    row = cursor.fetchone()
    if row is not None:
        number, newest = row
        return Registered(workflow=graph.workflow, number=number, sha256=graph.sha256, created=False, newest=newest)
    cursor.execute(
        "INSERT INTO workflow_versions (workflow, number, sha256, graph, created_by, created_at)"
        " SELECT %s, coalesce(max(number), 0) + 1, %s, %s::json, %s::json, clock_timestamp()"
        " FROM workflow_versions WHERE workflow = %s RETURNING number",
        (graph.workflow, graph.sha256, dump(graph.to_json()), dump(by.to_json()), graph.workflow),
    )
    row = cursor.fetchone()
    assert row is not None
    return Registered(workflow=graph.workflow, number=row[0], sha256=graph.sha256, created=True, newest=row[0])


class VersionCache:
    """Graphs by workflow and number. They never change, so a process reads each at most once while it is used."""

    def __init__(self) -> None:
        self._graphs: OrderedDict[tuple[str, int], Graph] = OrderedDict()
        self._newest: dict[str, tuple[int, DatabaseClock]] = {}
        self._lock = threading.Lock()

    def graph(self, cursor: Cursor, workflow: str, number: int) -> Graph:
        """The graph of this version. Raises NotFound."""
        key = (workflow, number)
        with self._lock:
            if key in self._graphs:
                self._graphs.move_to_end(key)
                return self._graphs[key]
        cursor.execute("SELECT graph FROM workflow_versions WHERE workflow = %s AND number = %s", (workflow, number))
        row = cursor.fetchone()
        if row is None:
            raise NotFound(f"there is no version {number} of workflow {workflow!r}")
        graph = Graph.from_json(row[0])
        with self._lock:
            self._graphs[key] = graph
            while len(self._graphs) > MAX_CACHED:
                self._graphs.popitem(last=False)
        return graph

    def known(self, workflow: str) -> tuple[int, DatabaseClock] | None:
        """The newest version as it was heard of a moment ago, and the clock; None where it was not."""
        found = self._newest.get(workflow)
        return None if found is None or found[1].age() > KNOWN_SECONDS else found

    def learn(self, workflow: str, number: int, now: datetime) -> None:
        """Keep what the database has just said: the newest version, and its clock."""
        if workflow not in self._newest and len(self._newest) >= MAX_CACHED:
            self._newest.clear()
        self._newest[workflow] = (number, DatabaseClock.of(now))

    def latest(self, cursor: Cursor, workflow: str) -> int:
        """The newest version's number. Raises NotFound."""
        return self.latest_now(cursor, workflow)[0]

    def latest_now(self, cursor: Cursor, workflow: str) -> tuple[int, datetime]:
        """The same with the database's clock."""
        cursor.execute("SELECT max(number), clock_timestamp() FROM workflow_versions WHERE workflow = %s", (workflow,))
        row = cursor.fetchone()
        if row is None or row[0] is None:
            raise NotFound(f"there is no workflow {workflow!r}", fix="register it with PUT or signoff deploy")
        number, now = row
        self.learn(workflow, number, now)
        return number, now
