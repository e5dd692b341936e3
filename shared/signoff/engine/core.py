"""What every engine operation shares: the pool, the graphs, and saving a batch of events with its lease."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from signoff.broker import Publisher, queue_name
from signoff.canonical import Json, canonical
from signoff.definition.graph import Graph, StepNode
from signoff.engine.authority import route_up
from signoff.errors import InvalidInput, NotFound, TooLarge
from signoff.model import RunState, RunStatus
from signoff.settings import Settings
from signoff.store.database import Cursor, Database
from signoff.store.recording import Batch, Lease, Provided, record
from signoff.store.rows import RunRow
from signoff.store.runs import (
    load_events,
    load_values,
    lock_run,
    lock_run_of_human_task,
    lock_runs,
    read_run_of_human_task,
)
from signoff.store.staff import StoredStaff
from signoff.store.versions import VersionCache
from signoff.strict_json import MAX_DEPTH
from signoff.transitions import runs
from signoff.transitions.fold import Fold
from signoff.transitions.staff import Staff

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

MAX_NESTING = MAX_DEPTH
"""Levels of lists and objects in one value, as for input. Writers of JSON end at 254, and events and packs wrap it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A hint to send once the transaction has committed."""

    run_id: UUID
    epoch: int
    queue: str


@dataclass(slots=True, kw_only=True)
class Core:
    """The parts an engine is made of. `new_id` makes the ids of human tasks, decisions and runs."""

    database: Database
    publisher: Publisher
    settings: Settings
    versions: VersionCache
    new_id: Callable[[], UUID]

    def lock(self, cursor: Cursor, run_id: UUID, *, skip_locked: bool = False) -> Locked | None:
        """The run under lock, ready to take events. None when it is not there (or locked, with `skip_locked`)."""
        found = lock_run(cursor, run_id, skip_locked=skip_locked)
        return None if found is None else self._locked(cursor, *found, StoredStaff(cursor))

    def lock_by_human_task(self, cursor: Cursor, human_task_id: UUID) -> Locked | None:
        """`lock` of the run that a human task belongs to, with its input. None when there is no such human task."""
        return self._with_input(cursor, lock_run_of_human_task(cursor, human_task_id))

    def read_by_human_task(self, cursor: Cursor, human_task_id: UUID) -> Locked | None:
        """The same without the lock, for `save_as_read`."""
        return self._with_input(cursor, read_run_of_human_task(cursor, human_task_id))

    def lock_several(self, cursor: Cursor, run_ids: Sequence[UUID], staff: Staff) -> list[Locked]:
        """Those of the runs that nobody else has locked, as `lock`; people are asked for from `staff`."""
        return [self._locked(cursor, row, now, staff) for row, now in lock_runs(cursor, run_ids)]

    def _with_input(self, cursor: Cursor, found: tuple[RunRow, datetime, Json] | None) -> Locked | None:
        if found is None:
            return None
        row, now, run_input = found
        return replace(self._locked(cursor, row, now, StoredStaff(cursor)), run_input=run_input)

    def _locked(self, cursor: Cursor, row: RunRow, now: datetime, staff: Staff) -> Locked:
        run_id = row.state.run_id
        fold = Fold(
            self.versions.graph(cursor, row.state.workflow, row.state.version),
            row.state,
            run_id=run_id,
            now=now,
            history=lambda: [stored.event for stored in load_events(cursor, run_id)],
            staff=staff,
        )
        return Locked(row=row, fold=fold, now=now)

    def save(self, cursor: Cursor, locked: Locked, lease: Lease) -> list[Message]:
        """Write the batch and answer what to send after the commit."""
        return self._save(cursor, [(locked, lease)])

    def save_as_read(self, cursor: Cursor, read: Locked, lease: Lease, *, provided: Provided) -> list[Message] | None:
        """`save` of what was read without a lock: None, and nothing written, where anything it rests on has changed."""
        route_up(cursor, read.fold)
        written = record(cursor, [read.batch(lease)], provided=provided)
        return self.messages(read, lease) if written else None

    def save_several(self, cursor: Cursor, several: Sequence[Locked]) -> list[Message]:
        """`save` of several runs, whose events are not their workers' own."""
        return self._save(cursor, [(locked, self.lease_after(locked)) for locked in several])

    def _save(self, cursor: Cursor, several: Sequence[tuple[Locked, Lease]]) -> list[Message]:
        if not several:
            return []
        for locked, _ in several:
            route_up(cursor, locked.fold)
        batches = [locked.batch(lease) for locked, lease in several]
        if len(record(cursor, batches)) < len(batches):
            raise RuntimeError("a run was written by somebody else while it was locked")
        return [message for locked, lease in several for message in self.messages(locked, lease)]

    def messages(self, locked: Locked, lease: Lease) -> list[Message]:
        """What to send once the batch is committed."""
        return self._messages(locked.fold, lease, resumes=locked.row.row_status is RunStatus.WAITING)

    def insert(self, cursor: Cursor, fold: Fold) -> list[Message]:
        """Write a new run and answer what to send after the commit."""
        made = self.insert_provided(cursor, fold, Provided())
        assert made is not None
        return made[0]

    def insert_provided(self, cursor: Cursor, fold: Fold, provided: Provided) -> tuple[list[Message], datetime] | None:
        """`insert` with the database's clock; None, and nothing written, where what is `provided` does not hold."""
        route_up(cursor, fold)
        lease = self.resting_lease(fold.graph, fold.state, epoch=0)
        batch = Batch(before=None, state=fold.state, events=fold.events, lease=lease)
        written = record(cursor, [batch], provided=provided).get(fold.run_id)
        return None if written is None else (self._messages(fold, lease, resumes=False), written[0])

    def resting_lease(self, graph: Graph, state: RunState, *, epoch: int) -> Lease:
        """The lease of a run that no worker has: when somebody has to look at it again."""
        due_at: datetime | None
        match state.status:
            case RunStatus.QUEUED | RunStatus.RUNNING:
                due_at = state.updated_at + timedelta(seconds=self.settings.republish_seconds)
            case RunStatus.RETRYING:
                due_at = state.retry_at
            case RunStatus.WAITING | RunStatus.COMPLETED | RunStatus.FAILED | RunStatus.CANCELED:
                due_at = None
        return Lease(status=state.status, epoch=epoch, queue=queue_of(graph, state), due_at=due_at)

    def lease_after(self, locked: Locked) -> Lease:
        """The lease after events that were not the worker's own: whoever has the run keeps it."""
        row, state = locked.row, locked.fold.state
        moved = (row.state.status, row.state.node) != (state.status, state.node)
        if moved or row.row_status is not RunStatus.RUNNING:
            return self.resting_lease(locked.fold.graph, state, epoch=row.epoch)
        return Lease(
            status=RunStatus.RUNNING,
            epoch=row.epoch,
            queue=row.queue,
            due_at=row.due_at,
            worker=row.worker,
        )

    def insert_compensation(self, cursor: Cursor, locked: Locked) -> list[Message]:
        """Start the child runs that the batch's late rejections call for, in the same transaction."""
        messages: list[Message] = []
        for event in locked.fold.events:
            child_id = event.data.get("compensation_run_id")
            if child_id is None:
                continue
            state = locked.fold.state
            task = state.human_tasks[UUID(event.data["human_task_id"])]
            stored = load_values(cursor, state.run_id, [1, *state.outputs.values()])
            target = event.data["compensation_entry"]
            fold = runs.create_branch(
                locked.fold.graph,
                state,
                run_id=UUID(child_id),
                entry=target,
                value=event.data.get("output", task.payload),
                run_input=stored[1]["input"],
                carried=outputs_of(stored, state.outputs),
                feedback=event.data["feedback"],
                human_task_id=task.id,
                now=locked.fold.now,
                new_id=self.new_id,
                staff=StoredStaff(cursor),
            )
            messages += self.insert(cursor, fold)
        return messages

    def send(self, messages: list[Message]) -> bool:
        """Send hints, after the commit. Whether the broker took them."""
        return not messages or self.publisher.publish_all(
            [(message.run_id, message.epoch, message.queue) for message in messages]
        )

    def expressible(self, value: Json, what: str) -> int:
        """Refuse a value that has no canonical form, and answer how many bytes it has. `what` names it."""
        try:
            written = canonical(value)
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidInput(f"{what} has a value that JSON can't carry exactly: {error}") from error
        if written.count(b"[") + written.count(b"{") > MAX_NESTING and nests_deeper(value, MAX_NESTING):
            raise InvalidInput(f"{what} nests deeper than {MAX_NESTING} levels", fix="flatten it")
        return len(written)

    def bounded(self, value: Json, what: str) -> None:
        """Refuse a value that has no canonical form or is too large. `what` is its path in the message."""
        size = self.expressible(value, what)
        if size > self.settings.max_payload_bytes:
            raise TooLarge(
                f"{what} is {size} bytes; the limit is {self.settings.max_payload_bytes}",
                fix="pass a reference (a key or a URL) and let the step fetch it, or raise SIGNOFF_MAX_PAYLOAD_BYTES",
            )

    def _messages(self, fold: Fold, lease: Lease, *, resumes: bool) -> list[Message]:
        if lease.status is not RunStatus.QUEUED or lease.queue is None:
            return []
        return [Message(run_id=fold.run_id, epoch=lease.epoch, queue=queue_name(lease.queue, resumes=resumes))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A run whose row this transaction holds, and the batch of events it is given.

    Or one that was read and is not held: what is made of it counts only if it is saved as it was read.
    """

    row: RunRow
    fold: Fold
    now: datetime
    run_input: Json = None
    """What the run was started with, where it was locked by one of its human tasks."""

    @property
    def state(self) -> RunState:
        return self.fold.state

    def batch(self, lease: Lease) -> Batch:
        """What is to be recorded of it."""
        return Batch(before=self.row, state=self.state, events=self.fold.events, lease=lease)


def is_storable(text: str, limit: int) -> bool:
    """Whether `text` is short enough and can be stored: PostgreSQL takes no NUL, UTF-8 no half of a surrogate pair."""
    return len(text) <= limit and not _UNSTORABLE.search(text)


def nests_deeper(value: Json, limit: int) -> bool:
    """Whether lists and objects lie in each other more than `limit` deep."""
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(item, (dict, list)) for item in level)


def found(locked: Locked | None) -> Locked:
    """The run, or NotFound."""
    if locked is None:
        raise NotFound("there is no such run, or none that you may see")
    return locked


def queue_of(graph: Graph, state: RunState) -> str | None:
    """The queue of the step the run stands at; None at a gate or at the end."""
    node = graph.nodes.get(state.node or "")
    return node.queue if isinstance(node, StepNode) and not state.status.finished else None


def outputs_of(stored: Mapping[int, Mapping[str, Json]], outputs: Mapping[str, int]) -> dict[str, Json]:
    """The latest output of each step and gate, from the events that hold them."""
    values: dict[str, Json] = {}
    for name, seq in outputs.items():
        data = stored[seq]
        values[name] = data["carried"][name] if "carried" in data else data["output"]
    return values
