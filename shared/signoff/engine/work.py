"""Who does whose work: delegations and absences, and human tasks that somebody puts off for themselves."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from signoff.authorization import Action, DelegationFacts, authorize
from signoff.engine.core import Core, is_storable
from signoff.errors import FieldError, InvalidInput, NotFound
from signoff.identity import Principal
from signoff.store import delegations, snoozes
from signoff.store.callers import still
from signoff.store.database import Cursor
from signoff.store.delegations import Delegation, NewDelegation
from signoff.store.identity import find_principal
from signoff.store.queries_human_tasks import get_human_task


def delegate(core: Core, asked: NewDelegation, *, delegator: str | None, by: Principal) -> Delegation:
    """Let somebody decide in one's stead, or in another's. Raises Forbidden, NotFound, InvalidInput, Conflict."""
    if asked.note is not None and not is_storable(asked.note, delegations.MAX_NOTE):
        fault = f"at most {delegations.MAX_NOTE} characters, without NUL or half characters"
        raise InvalidInput(errors=[FieldError(path="/note", message=fault)])
    with core.database.transaction() as cursor:
        by = still(cursor, by)
        person = by if delegator in (None, by.name) else find_principal(cursor, delegator or "")
        if person is None:
            authorize(by, Action.DELEGATE)
            raise InvalidInput(errors=[FieldError(path="/delegator", message="there is no such person")])
        authorize(by, Action.DELEGATE, DelegationFacts(delegator_id=str(person.id), delegate_id=None))
        return delegations.add_delegation(cursor, person, asked, by=by)


def end_delegation(core: Core, delegation_id: UUID, *, by: Principal) -> Delegation:
    """End a delegation or an absence now; the row stays. Raises NotFound, Forbidden."""
    with core.database.transaction() as cursor:
        by = still(cursor, by)
        found = delegations.get_delegation(cursor, delegation_id)
        authorize(by, Action.DELEGATE, facts_of(found))
        return delegations.end_delegation(cursor, delegation_id, by=by)


def list_delegations(core: Core, *, of: str | None, ended: bool, by: Principal) -> list[Delegation]:
    """One's own, given and received; of somebody else, or of all by `*`, for who may see them."""
    with core.database.autocommit() as cursor:
        if of == "*":
            authorize(by, Action.READ_DELEGATIONS)
            return delegations.list_delegations(cursor, of=None, ended=ended)
        person = by if of in (None, by.name) else find_principal(cursor, of or "")
        if person is None:
            authorize(by, Action.READ_DELEGATIONS)
            raise NotFound("there is no such person")
        facts = DelegationFacts(delegator_id=str(person.id), delegate_id=str(person.id))
        if person.id != by.id:
            authorize(by, Action.READ_DELEGATIONS)
        authorize(by, Action.READ_DELEGATIONS, facts)
        return delegations.list_delegations(cursor, of=person.id, ended=ended)


def facts_of(found: Delegation) -> DelegationFacts:
    """What authorization has to know of this delegation."""
    to = None if found.delegate_id is None else str(found.delegate_id)
    return DelegationFacts(delegator_id=str(found.delegator_id), delegate_id=to)


def snooze(core: Core, human_task_id: UUID, *, until: datetime, by: Principal) -> None:
    """Put a human task off for oneself. Raises NotFound, Conflict, InvalidInput."""
    with core.database.transaction() as cursor:
        by = _may_snooze(core, cursor, human_task_id, by)
        snoozes.snooze(cursor, human_task_id, by, until)


def unsnooze(core: Core, human_task_id: UUID, *, by: Principal) -> None:
    """Bring it back now. Raises NotFound."""
    with core.database.transaction() as cursor:
        by = _may_snooze(core, cursor, human_task_id, by)
        snoozes.unsnooze(cursor, human_task_id, by)


def _may_snooze(core: Core, cursor: Cursor, human_task_id: UUID, by: Principal) -> Principal:
    by = still(cursor, by)
    view = get_human_task(cursor, core.versions, human_task_id, detail=False)
    authorize(by, Action.SNOOZE, view.facts)
    return by
