"""What people do with human tasks beside deciding: claim, keep, release, assign, comment; and how each is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from signoff.authorization import Action, HumanTaskFacts, authorize, may_release_for_others
from signoff.engine.core import Core, Locked
from signoff.errors import NotFound
from signoff.identity import Mandate, Principal
from signoff.model import Event, HumanTask, TaskState
from signoff.store.callers import still
from signoff.store.database import Cursor
from signoff.store.identity import find_principal
from signoff.store.leases import hold_claim
from signoff.transitions import collaboration


def claim(core: Core, human_task_id: UUID, *, by: Principal) -> None:
    with core.database.transaction() as cursor:
        with opened(core, cursor, human_task_id) as (locked, task):
            by = still(cursor, by)
            authorize(by, Action.CLAIM, facts_of(locked, task))
            collaboration.claim(locked.fold, task, actor=by.actor)
        hold_claim(cursor, human_task_id, minutes=core.settings.claim_minutes, taken=task.assignee is None)


def keep_claim(core: Core, human_task_id: UUID, *, by: Principal) -> bool:
    with core.database.transaction() as cursor:
        locked, task = lock_human_task(core, cursor, human_task_id)
        by = still(cursor, by)
        facts = facts_of(locked, task)
        authorize(by, Action.READ_HUMAN_TASK, facts)
        # Who is no longer asked must not keep it from those who are.
        authorize(by, Action.CLAIM, facts)
        if task.state is not TaskState.OPEN or task.assignee != by.name:
            return False
        hold_claim(cursor, human_task_id, minutes=core.settings.claim_minutes)
        return True


def release(core: Core, human_task_id: UUID, *, by: Principal) -> None:
    with core.database.transaction() as cursor, opened(core, cursor, human_task_id) as (locked, task):
        by = still(cursor, by)
        facts = facts_of(locked, task)
        authorize(by, Action.RELEASE, facts)
        for_others = may_release_for_others(by, facts)
        collaboration.release(locked.fold, task, actor=by.actor, may_release_for_others=for_others)


def assign(core: Core, human_task_id: UUID, *, assignee: str, by: Principal) -> None:
    with core.database.transaction() as cursor, opened(core, cursor, human_task_id) as (locked, task):
        by = still(cursor, by)
        authorize(by, Action.ASSIGN, facts_of(locked, task))
        person = find_principal(cursor, assignee)
        collaboration.assign(locked.fold, task, assignee=person, name=assignee, actor=by.actor)


def comment(core: Core, human_task_id: UUID, *, text: str, by: Principal) -> Event:
    core.expressible(text, "text")
    with core.database.transaction() as cursor, opened(core, cursor, human_task_id) as (locked, task):
        by = still(cursor, by)
        authorize(by, Action.COMMENT, facts_of(locked, task))
        collaboration.comment(locked.fold, task, text=text, actor=by.actor)
        return locked.fold.events[-1]


def facts_of(
    locked: Locked, task: HumanTask, *, on_behalf_of: str | None = None, acts_for: Mandate | None = None
) -> HumanTaskFacts:
    """What authorization has to know of this human task."""
    return HumanTaskFacts(
        workflow=locked.state.workflow,
        requester_id=locked.state.requester.id,
        candidates=task.candidates,
        assignee=task.assignee,
        four_eyes=locked.fold.graph.gate(task.gate).four_eyes,
        on_behalf_of=on_behalf_of,
        acts_for=acts_for,
    )


@contextmanager
def opened(core: Core, cursor: Cursor, human_task_id: UUID) -> Iterator[tuple[Locked, HumanTask]]:
    """The human task under its run's lock; what was emitted meanwhile is saved at the end."""
    locked, task = lock_human_task(core, cursor, human_task_id)
    yield locked, task
    if locked.fold.events:
        core.save(cursor, locked, core.lease_after(locked))


def lock_human_task(core: Core, cursor: Cursor, human_task_id: UUID) -> tuple[Locked, HumanTask]:
    locked = core.lock_by_human_task(cursor, human_task_id)
    if locked is None:
        raise NotFound("there is no such human task, or none that you may see")
    return locked, locked.state.human_tasks[human_task_id]
