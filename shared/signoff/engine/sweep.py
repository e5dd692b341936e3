"""The sweep: everything that is due and that nobody else will see to. Any number of sweeps at once is harmless.

It costs what is due and not what is parked: each kind of work is found by a partial index over moments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog

from signoff.broker import queue_name
from signoff.engine.core import Core, Locked, Message
from signoff.errors import Unavailable
from signoff.failpoints import hit
from signoff.model import RunStatus
from signoff.store import leases
from signoff.store.database import Cursor
from signoff.store.idempotency import forget_old
from signoff.store.sessions import forget_ended
from signoff.store.snoozes import forget_snoozes
from signoff.store.staff import StoredStaff
from signoff.transitions import collaboration, steps, timers
from signoff.transitions.staff import Member, StaffNotRead

log = structlog.get_logger(__name__)

PATIENT_RESENDS = 2
"""How often a resend is left out while the queue has a backlog: then the message is most likely still in it, and a
second one would only lengthen it. With the default intervals a message that was lost all the same is sent again after
35 seconds under load, and after 5 on a queue that is empty."""


TOGETHER = 25
"""Human tasks that are woken in one transaction. So many runs are locked for as long as it takes, some milliseconds."""


@dataclass(slots=True, kw_only=True)
class Swept:
    """What one sweep did, by count."""

    resent: int = 0
    leases_expired: int = 0
    human_tasks: int = 0
    claims_lapsed: int = 0
    keys_forgotten: int = 0


def sweep(core: Core) -> Swept:
    """One sweep: resend, take over from lost workers, climb the ladders of human tasks."""
    hit("sweep.before")
    swept = Swept()
    budget = core.settings.sweep_max_rows
    stuck_runs = stuck_tasks = 0
    while budget > 0:
        batch = min(core.settings.sweep_batch, budget)
        resent = _resend(core, batch)
        expired, runs = _expire_leases(core, batch, past=stuck_runs)
        woken, tasks = _wake_human_tasks(core, batch, past=stuck_tasks)
        # Rows that could not be moved are still due and come first again: the next round looks past them.
        stuck_runs += runs - expired
        stuck_tasks += tasks - woken
        swept.resent += resent
        swept.leases_expired += expired
        swept.human_tasks += woken
        budget -= resent + runs + tasks
        # A round that filled no batch has reached the end of what is due now.
        if max(resent, runs, tasks) < batch:
            break
    swept.claims_lapsed = _release_claims(core, core.settings.sweep_batch)
    with core.database.autocommit() as cursor:
        swept.keys_forgotten = forget_old(
            cursor, keep_hours=core.settings.idempotency_hours, limit=core.settings.sweep_batch
        )
        forget_ended(cursor, limit=core.settings.sweep_batch)
        forget_snoozes(cursor, limit=core.settings.sweep_batch)
    hit("sweep.after")
    return swept


def _release_claims(core: Core, limit: int) -> int:
    with core.database.autocommit() as cursor:
        lapsed = leases.lapsed_claims(cursor, limit=limit)
    return sum(_guarded(run_id, partial(_release_claim, core, run_id, task_id)) for run_id, task_id in lapsed)


def _release_claim(core: Core, run_id: UUID, human_task_id: UUID) -> bool:
    with core.database.transaction() as cursor:
        locked = core.lock(cursor, run_id, skip_locked=True)
        if locked is None or not leases.claim_has_lapsed(cursor, human_task_id):
            return False
        collaboration.lapse(locked.fold, locked.state.human_tasks[human_task_id])
        core.save(cursor, locked, core.lease_after(locked))
    return True


def _resend(core: Core, limit: int) -> int:
    with core.database.autocommit() as cursor:
        due = leases.take_due_messages(
            cursor,
            limit=limit,
            first_seconds=core.settings.republish_seconds,
            longest_seconds=core.settings.republish_max_seconds,
        )
    if due:
        hit("sweep.before_resend")
    backlogs = {queue: core.publisher.backlog(queue_name(queue)) for queue in {item.queue for item in due}}
    chosen = [item for item in due if not 1 <= item.resends <= PATIENT_RESENDS or backlogs[item.queue] == 0]
    if not core.send([Message(run_id=item.run_id, epoch=item.epoch, queue=queue_name(item.queue)) for item in chosen]):
        with core.database.autocommit() as cursor:
            leases.resent_in_vain(cursor, chosen)
    return len(due)


def _expire_leases(core: Core, limit: int, *, past: int) -> tuple[int, int]:
    """How many runs were taken from lost workers, and how many were looked at."""
    with core.database.autocommit() as cursor:
        run_ids = leases.expired_leases(cursor, limit=limit, past=past)
    return sum(_guarded(run_id, partial(_expire_lease, core, run_id)) for run_id in run_ids), len(run_ids)


def _wake_human_tasks(core: Core, limit: int, *, past: int) -> tuple[int, int]:
    """How many human tasks moved, and how many were looked at."""
    with core.database.autocommit() as cursor:
        due = leases.due_human_tasks(cursor, limit=limit, past=past)
    moved = sum(_wake_some(core, due[begin : begin + TOGETHER]) for begin in range(0, len(due), TOGETHER))
    return moved, len(due)


def _wake_some(core: Core, due: Sequence[tuple[UUID, UUID]]) -> int:
    """How many of these human tasks moved: in one transaction, and one by one what that can't move."""
    moved, left = 0, due
    if len(due) > 1:
        try:
            moved, left, messages = _wake_together(core, due)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  # whichever it is: by itself it is an alarm, and the others move
            log.warning("not_woken_together", count=len(due), error=repr(error))
        else:
            core.send(messages)
    return moved + sum(_guarded(run_id, partial(_wake, core, run_id, task_id)) for run_id, task_id in left)


def _guarded(run_id: UUID, move: Callable[[], bool]) -> bool:
    """One row, one transaction. A row that can't be moved must not keep the others from moving."""
    try:
        return move()
    except Unavailable:
        raise
    except Exception:  # whatever is wrong with one run is an alarm, and no reason to leave the others
        log.exception("sweep_row_failed", run_id=str(run_id))
        return False


def _expire_lease(core: Core, run_id: UUID) -> bool:
    with core.database.transaction() as cursor:
        locked = core.lock(cursor, run_id, skip_locked=True)
        if locked is None or locked.row.row_status is not RunStatus.RUNNING:
            return False
        if locked.row.due_at is None or locked.row.due_at > locked.now:
            return False
        steps.worker_lost(locked.fold, max_lost=core.settings.max_lost_leases)
        lease = core.resting_lease(locked.fold.graph, locked.state, epoch=locked.row.epoch + 1)
        messages = core.save(cursor, locked, lease)
        hit("sweep.before_expire_commit")
    hit("sweep.after_expire_commit")
    log.warning("lease_expired", run_id=str(run_id), worker=locked.row.worker, epoch=locked.row.epoch)
    core.send(messages)
    return True


class _StandIns(StoredStaff):
    """Who gets a human task by turns depends on what the runs before it have given them, so that is not asked here."""

    def members(self, users: Iterable[str], groups: Iterable[str]) -> Sequence[Member]:  # noqa: ARG002
        raise StaffNotRead


def _wake_together(core: Core, due: Sequence[tuple[UUID, UUID]]) -> tuple[int, list[tuple[UUID, UUID]], list[Message]]:
    """How many moved, those that are left to be moved by themselves, and what to send."""
    of_run: dict[UUID, list[UUID]] = {}
    for run_id, human_task_id in due:
        of_run.setdefault(run_id, []).append(human_task_id)
    moved, left, changed = 0, [], []
    with _waking(core) as cursor:
        for locked in core.lock_several(cursor, list(of_run), _StandIns(cursor)):
            task_ids = of_run[locked.fold.run_id]
            try:
                fired = sum(_fire(core, locked, task_id) for task_id in task_ids)
            except StaffNotRead:
                left += [(locked.fold.run_id, task_id) for task_id in task_ids]
                continue
            if fired:
                moved += fired
                changed.append(locked)
        messages = core.save_several(cursor, changed)
        for locked in changed:
            messages += core.insert_compensation(cursor, locked)
    return moved, left, messages


@contextmanager
def _waking(core: Core) -> Iterator[Cursor]:
    with core.database.transaction() as cursor:
        yield cursor
        hit("sweep.before_wake_commit")
    hit("sweep.after_wake_commit")


def _fire(core: Core, locked: Locked, human_task_id: UUID) -> bool:
    before = len(locked.fold.events)
    timers.fire(locked.fold, locked.state.human_tasks[human_task_id], core.new_id)
    return len(locked.fold.events) > before


def _wake(core: Core, run_id: UUID, human_task_id: UUID) -> bool:
    with _waking(core) as cursor:
        locked = core.lock(cursor, run_id, skip_locked=True)
        if locked is None or not _fire(core, locked, human_task_id):
            return False
        messages = core.save(cursor, locked, core.lease_after(locked))
        messages += core.insert_compensation(cursor, locked)
    core.send(messages)
    return True
