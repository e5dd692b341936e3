"""What a worker does to several runs at once: take those that wait, record a step of each, give back the rest.

Taking runs together changes how many statements there are, and nothing of what is true of any one run: each is claimed,
fenced and recorded on its own conditions, and its next step begins only when the one before is on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg
import structlog

from signoff.broker import queue_name
from signoff.canonical import Json
from signoff.engine import approved
from signoff.engine.core import Core, Message
from signoff.engine.execution import (
    Claimed,
    Completed,
    GoOn,
    claimed_from,
    completed_untouched,
    expect_bounded,
    refuse,
)
from signoff.errors import SignoffError
from signoff.failpoints import hit
from signoff.store import together
from signoff.store.clock import DatabaseClock
from signoff.store.recording import record

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of steps that were recorded together.

    `following` are the next steps that the worker goes straight on with. `left` is what was not written: the run was
    touched meanwhile, or its output is refused. Each of those is to be recorded by itself, which says why.
    """

    following: list[Claimed]
    left: list[tuple[Claimed, Json]]


def claim_waiting(core: Core, queue: str, *, steps: Sequence[str], limit: int, worker: str) -> list[Claimed]:
    """Take up to `limit` runs of a queue that stand at one of `steps` (by `step_key`) and have lost no worker there."""
    with core.database.autocommit() as cursor:
        found = together.claim_waiting(
            cursor, queue, steps=steps, limit=limit, worker=worker, lease_seconds=core.settings.lease_seconds
        )
        if found:
            hit("together.after_claim")
        graphs = [core.versions.graph(cursor, row.state.workflow, row.state.version) for row, _ in found]
        said = [approved.examined(cursor, row, graph) for (row, _), graph in zip(found, graphs, strict=True)]
    taken = []
    for (row, now), graph, of_it in zip(found, graphs, said, strict=True):
        claimed = claimed_from(row, graph, DatabaseClock.of(now), settled=of_it.settled)
        if of_it.objection is None:
            taken.append(claimed)
        else:
            refuse(core, claimed, of_it.objection)
    return taken


def complete_together(core: Core, done: Sequence[tuple[Claimed, Json]], *, worker: str, go_on: GoOn) -> Recorded:
    """Record the outputs of several runs' steps in one transaction. Raises Unavailable, with nothing known."""
    made: list[tuple[Claimed, Json, Completed]] = []
    left: list[tuple[Claimed, Json]] = []
    for claimed, output in done:
        batch = _batch(core, claimed, output, worker=worker, go_on=go_on)
        if batch is None:
            left.append((claimed, output))
        else:
            made.append((claimed, output, batch))
    if not made:
        return Recorded(following=[], left=left)
    hit("together.before_update")
    try:
        saved = _save(core, [batch for _, _, batch in made])
    except psycopg.Error as error:
        # One value that the database refuses must not keep the others from being recorded.
        log.warning("not_recorded_together", count=len(made), error=repr(error))
        return Recorded(following=[], left=list(done))
    following = []
    messages: list[Message] = []
    for claimed, output, batch in made:
        written = saved.get(claimed.run_id)
        if written is None:
            left.append((claimed, output))
            continue
        messages += core.messages(batch.locked, batch.lease)
        if batch.following is not None:
            now, last_hash = written
            following.append(batch.going_on(DatabaseClock.of(now), last_hash))
    hit("together.before_publish")
    core.send(messages)
    hit("together.after_publish")
    return Recorded(following=following, left=left)


def give_back_all(core: Core, held: Sequence[Claimed]) -> None:
    """Hand back runs whose steps have not begun; the next worker takes them at once."""
    with core.database.autocommit() as cursor:
        given = together.give_back_all(cursor, [(claimed.run_id, claimed.epoch) for claimed in held])
    core.send(
        [
            Message(run_id=claimed.run_id, epoch=claimed.epoch, queue=queue_name(claimed.step.queue))
            for claimed in held
            if claimed.run_id in given
        ]
    )


def _batch(core: Core, claimed: Claimed, output: Json, *, worker: str, go_on: GoOn) -> Completed | None:
    """The events that end the step, made of what the worker holds; None when this run is to be recorded by itself."""
    try:
        expect_bounded(core, claimed, output)
        return completed_untouched(core, claimed, output, worker=worker, go_on=go_on)
    except SignoffError:
        return None


def _save(core: Core, batches: Sequence[Completed]) -> dict[UUID, tuple[datetime, bytes]]:
    with core.database.autocommit() as cursor:
        return record(cursor, [each.locked.batch(each.lease) for each in batches])
