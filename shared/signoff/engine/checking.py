"""What a database holds after a restore: whether it adds up, what anchors have seen since, what becomes of each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from signoff.anchors import tree
from signoff.anchors.form import BrokenAnchors, Signed
from signoff.definition.graph import DEFAULT_QUEUE, Graph, StepNode
from signoff.engine.anchoring import anchors_of
from signoff.engine.core import Core
from signoff.engine.verification import Verification, verify
from signoff.errors import NotFound
from signoff.model import RunStatus, format_time
from signoff.store.database import Cursor
from signoff.store.unfinished import UnfinishedRun, unfinished_runs
from signoff.store.versions import VersionCache
from signoff.transitions.steps import may_be_repeated

BATCH = 500
_LEAVES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What becomes of one unfinished run; `continues` by itself or by the people it asks, else somebody has to act."""

    run_id: UUID
    workflow: str
    version: int
    status: str
    node: str | None
    continues: bool
    why: str

    def to_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run_id),
            "workflow": self.workflow,
            "version": self.version,
            "status": self.status,
            "node": self.node,
            "continues": self.continues,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NewerAnchors:
    """Anchors that name events this database does not have, and nothing that it has otherwise: it is older than they.

    `held_at` is of the newest that it holds in full; None where it holds none.
    """

    count: int
    first_at: datetime
    held_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        held_at = None if self.held_at is None else format_time(self.held_at)
        return {"count": self.count, "first_at": format_time(self.first_at), "held_at": held_at}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The verification, and the anchors that are newer than the database where that is what is wrong.

    `log_ok` is whether every log adds up in itself, whatever the anchors say.
    """

    verification: Verification
    log_ok: bool
    newer_anchors: NewerAnchors | None


def check(core: Core) -> Checked:
    """Verify everything; where only the anchors object, say whether they are newer than all that is here."""
    verification = verify(core)
    if verification.ok:
        return Checked(verification=verification, log_ok=True, newer_anchors=None)
    alone = Core(
        database=core.database,
        publisher=core.publisher,
        settings=core.settings.model_copy(update={"anchor_file": None}),
        versions=core.versions,
        new_id=core.new_id,
    )
    log_ok = verify(alone).ok
    return Checked(verification=verification, log_ok=log_ok, newer_anchors=_newer_anchors(core) if log_ok else None)


def outlooks(core: Core) -> Iterator[Outlook]:
    """Every run that neither completed nor was canceled, oldest first: those that failed may be taken up again."""
    versions = VersionCache()
    last: UUID | None = None
    while True:
        with core.database.transaction() as cursor:
            batch = unfinished_runs(cursor, after=last, limit=BATCH)
            found = [_outlook(cursor, versions, run, core.settings.max_lost_leases) for run in batch]
        yield from found
        if len(batch) < BATCH:
            return
        last = batch[-1].run_id


def _outlook(cursor: Cursor, versions: VersionCache, run: UnfinishedRun, max_lost: int) -> Outlook:
    try:
        continues, why = _future(run, versions.graph(cursor, run.workflow, run.version), max_lost)
    except NotFound as error:
        continues, why = False, f"{error.detail}: it can't go on"
    return Outlook(
        run_id=run.run_id,
        workflow=run.workflow,
        version=run.version,
        status=run.status,
        node=run.node,
        continues=continues,
        why=why,
    )


def _future(run: UnfinishedRun, graph: Graph, max_lost: int) -> tuple[bool, str]:
    queue = run.queue or DEFAULT_QUEUE
    match RunStatus(run.status):
        case RunStatus.QUEUED:
            return True, f"the sweep sends it to the workers of queue {queue}"
        case RunStatus.RETRYING:
            assert run.due_at is not None
            return True, f"tried again at {format_time(run.due_at)}, or at the first sweep after it"
        case RunStatus.RUNNING:
            return _of_running(run, graph, max_lost)
        case RunStatus.WAITING if run.asked:
            return True, f"waits for {', '.join(run.asked)}"
        case RunStatus.WAITING:
            return False, f"waits at a gate that asks nobody: assign it to somebody, or signoff cancel {run.run_id}"
        case _:
            code, said = (run.error or {}).get("code", "failed"), (run.error or {}).get("message", "")
            return False, f"failed, {code}: {said}; once that is seen to: signoff retry {run.run_id}"


def _of_running(run: UnfinishedRun, graph: Graph, max_lost: int) -> tuple[bool, str]:
    node = graph.nodes.get(run.node or "")
    if not isinstance(node, StepNode):
        return False, f"its version has no step {run.node!r}"
    if not may_be_repeated(node):
        return False, f"nobody knows whether {node.name} has happened: it ends as outcome_unknown with its lease"
    if run.lost + 1 >= max_lost:
        return False, f"workers were lost at {node.name} again and again: it fails with its lease"
    return True, f"its worker is gone: {node.name} is run again once the lease has ended"


def _newer_anchors(core: Core) -> NewerAnchors | None:
    """None where it is not that: an anchor names an event that is here with another hash, or the file is broken."""
    try:
        log = anchors_of(core.settings)
    except BrokenAnchors:
        return None
    if log is None:
        return None
    newer: list[Signed] = []
    for signed in log.anchors:
        missing, other = _compare(core, signed)
        if other:
            return None
        if missing:
            newer.append(signed)
    if not newer:
        return None
    held = log.anchors[: len(log.anchors) - len(newer)]
    # A log only grows: behind the first anchor that is not held, none is.
    if newer[0] is not log.anchors[len(held)]:
        return None
    return NewerAnchors(count=len(newer), first_at=newer[0].anchor.at, held_at=held[-1].anchor.at if held else None)


def _compare(core: Core, signed: Signed) -> tuple[int, int]:
    """How many of an anchor's heads are not here, and how many are here as something else."""
    missing = other = 0
    leaves = [tree.unleaf(leaf) for leaf in tree.leaves_of(signed.leaves)]
    for begin in range(0, len(leaves), _LEAVES):
        part = leaves[begin : begin + _LEAVES]
        stored = _hashes(core, part)
        for run_id, seq, expected in part:
            found = stored.get((run_id, seq))
            missing += found is None
            other += found is not None and found != expected
    return missing, other


def _hashes(core: Core, leaves: Sequence[tuple[UUID, int, bytes]]) -> dict[tuple[UUID, int], bytes]:
    with core.database.autocommit() as cursor:
        cursor.execute(
            "SELECT run_id, seq, hash FROM events WHERE (run_id, seq) IN (SELECT * FROM unnest(%s::uuid[], %s::int[]))",
            ([run_id for run_id, _, _ in leaves], [seq for _, seq, _ in leaves]),
        )
        return {(row[0], row[1]): bytes(row[2]) for row in cursor.fetchall()}
