"""The evidence pack of a run: everything that is stored of it, so that anybody can check it without us."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from signoff.definition.graph import Graph
from signoff.errors import NotFound
from signoff.model import GENESIS_HASH
from signoff.store.database import Cursor, Database
from signoff.store.queries import Prepared
from signoff.store.queries_human_task_views import HumanTaskView
from signoff.store.queries_human_tasks import human_tasks_of_run
from signoff.store.queries_runs import EventView, RunView, get_run, list_events
from signoff.store.schema import runs
from signoff.store.versions import VersionCache

FORMAT = 1
"""Version of the pack's own form."""

HOW_TO_VERIFY = (
    "For each event in order: take seq, type, at, actor, data, run_id and prev_hash as one JSON object, write it as"
    " RFC 8785 canonical JSON, and SHA-256 it; the hexadecimal digest is `hash`. The first `prev_hash` is"
    f" {GENESIS_HASH[:4]}… (64 zeros), each other one the `hash` before it, and the last `hash` is `head.hash`."
    " `definition.sha256` is the SHA-256 of the canonical JSON of `definition.graph`, and each `payload_sha256` that"
    " of a payload. Each of `anchors` was signed outside the database: `signature` is Ed25519 by `key` over the"
    " canonical JSON of `anchor`, whose `root` is that of a Merkle tree: a leaf is the SHA-256 of 00, the run's id,"
    " `seq` in four bytes and `hash`, a node that of 01 and the two below it; one without a sibling goes up as it is."
    " `path` has the siblings of the leaf that is number `index`, from 0, of `heads`. `hash` is that of event `seq`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """All of a pack but the log: the run, its definition, its human tasks, and where the log stood."""

    run: RunView
    graph: Graph
    human_tasks: tuple[HumanTaskView, ...]
    seq: int
    hash: str
    anchors: Sequence[Mapping[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        decisions = [said.to_json() for task in self.human_tasks for said in sorted(task.decisions, key=lambda d: d.at)]
        return {
            "format": FORMAT,
            "verify": HOW_TO_VERIFY,
            "run": self.run.to_json(),
            "definition": {
                "workflow": self.run.workflow,
                "version": self.run.version,
                "sha256": self.graph.sha256,
                "graph": self.graph.to_json(),
            },
            "human_tasks": [task.to_json() for task in self.human_tasks],
            "decisions": decisions,
            "head": {"seq": self.seq, "hash": self.hash},
            "anchors": list(self.anchors),
        }


_HEAD = Prepared(sa.select(runs.c.seq, runs.c.hash).where(runs.c.id == sa.bindparam("id", type_=sa.Uuid())))


def audit_head(database: Database, versions: VersionCache, run_id: UUID) -> AuditHead:
    """The pack of a run as it stands, without its log. Raises NotFound."""
    with database.transaction() as cursor:
        # One snapshot for all of it: the pack must agree with itself.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        head = _HEAD.run(cursor, id=run_id)
        if not head:
            raise NotFound("there is no such run")
        run, _ = get_run(cursor, run_id)
        return AuditHead(
            run=run,
            graph=versions.graph(cursor, run.workflow, run.version),
            human_tasks=human_tasks_of_run(cursor, versions, run_id),
            seq=head[0][0],
            hash=head[0][1].hex(),
        )


def workflow_of_run(cursor: Cursor, run_id: UUID) -> str | None:
    """Which workflow a run is of; None where there is no such run."""
    row = cursor.execute("SELECT workflow FROM runs WHERE id = %s", (run_id,)).fetchone()
    return None if row is None else row[0]


def audit_events(database: Database, head: AuditHead) -> Iterator[EventView]:
    """The log up to the head, oldest first, read a page at a time: it may be larger than memory."""
    after = 0
    while after < head.seq:
        # No connection is held while a slow reader takes what it has; the log only ever grows behind the
        # head.
        with database.autocommit() as cursor:
            page = list_events(cursor, head.run.id, after=after, upto=head.seq)
        yield from page.items
        after = page.items[-1].seq if page.items else head.seq
