"""Decisions: one, one each on several human tasks, and taking one's own back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from uuid import UUID

from signoff.authority import OverLimit
from signoff.authorization import Action, authorize
from signoff.engine import authority
from signoff.engine.core import Core, Locked, Message, is_storable
from signoff.engine.human_tasks import facts_of, lock_human_task, opened
from signoff.errors import Conflict, FieldError, InvalidInput, SignoffError
from signoff.failpoints import hit
from signoff.identity import Mandate, Principal
from signoff.model import Decision, HumanTask, TaskState
from signoff.store import idempotency as keys
from signoff.store.callers import as_it_stood, still
from signoff.store.database import Cursor
from signoff.store.idempotency import IdempotencyKey
from signoff.store.identity import people_among
from signoff.store.mandates import held_mandate, used_mandate
from signoff.store.recording import Provided
from signoff.transitions import decisions
from signoff.transitions.decisions import DecisionRequest
from signoff.transitions.edits import merge_patch
from signoff.transitions.seats import expect_own_seat

MAX_NOTE = 10_000
MAX_REASON = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A decision that stands: newly recorded, or the one that this request repeats."""

    decision_id: UUID
    human_task_id: UUID
    run_id: UUID
    replayed: bool


LookAtDecided: TypeAlias = Callable[[Cursor, Decided, Locked], None]
"""Told before a decision is committed what it is, and handed the run as it will be; it only looks.

It is told once more where what it was told has come to nothing, and the decision is made again under the lock.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkItem:
    """One human task of a bulk decision and the payload that was seen."""

    human_task_id: UUID
    payload_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkResult:
    """What became of one item: a decision or the reason there is none."""

    human_task_id: UUID
    decided: Decided | None
    error: SignoffError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOutcome:
    """A bulk decision: one decision each, all under one id."""

    bulk_id: UUID
    results: tuple[BulkResult, ...]


def decide(
    core: Core,
    human_task_id: UUID,
    request: DecisionRequest,
    *,
    by: Principal,
    idempotency: IdempotencyKey | None = None,
    look: LookAtDecided | None = None,
) -> Decided:
    _check_words(request)
    made = None if idempotency is not None else _decide_as_read(core, human_task_id, request, by=by, look=look)
    if made is None:
        with core.database.transaction() as cursor:
            messages, decided, locked = _decide(core, cursor, human_task_id, request, by=by, idempotency=idempotency)
            if look is not None:
                look(cursor, decided, locked)
            hit("decide.before_commit")
    else:
        messages, decided = made
    hit("decide.before_publish")
    core.send(messages)
    hit("decide.before_response")
    return decided


def withdraw(core: Core, human_task_id: UUID, *, by: Principal) -> None:
    with core.database.transaction() as cursor, opened(core, cursor, human_task_id) as (locked, task):
        by = still(cursor, by)
        own = next((said for said in task.current_decisions if said.actor.id == str(by.id)), None)
        # One's own word may be taken back also when the mandate has ended meanwhile.
        used = used_mandate(cursor, own.delegation_id) if own is not None and own.delegation_id else None
        authorize(by, Action.DECIDE, facts_of(locked, task, acts_for=used))
        decisions.withdraw(locked.fold, task, actor=by.actor)


def decide_in_bulk(
    core: Core,
    *,
    decision: str,
    note: str | None,
    items: Sequence[BulkItem],
    by: Principal,
    reason: str | None = None,
    surface: str | None = None,
) -> BulkOutcome:
    if not 1 <= len(items) <= core.settings.max_bulk:
        raise InvalidInput(
            errors=[FieldError(path="/items", message=f"a bulk decision has 1 to {core.settings.max_bulk} items")]
        )
    bulk_id = core.new_id()
    results = []
    for item in items:
        request = DecisionRequest(
            decision=decision,
            note=note,
            reason=reason,
            payload_sha256=item.payload_sha256,
            bulk_id=str(bulk_id),
            surface=surface,
        )
        try:
            decided = decide(core, item.human_task_id, request, by=by)
        except SignoffError as error:
            results.append(BulkResult(human_task_id=item.human_task_id, decided=None, error=error))
        else:
            results.append(BulkResult(human_task_id=item.human_task_id, decided=decided, error=None))
    return BulkOutcome(bulk_id=bulk_id, results=tuple(results))


def _decide_as_read(
    core: Core, human_task_id: UUID, request: DecisionRequest, *, by: Principal, look: LookAtDecided | None
) -> tuple[list[Message], Decided] | None:
    """Decide by two statements and without a lock: what was read has to be the same when it is written.

    None, with nothing written, where it is not, where there is anything to refuse, and where it takes more than that:
    the word is then with who holds the lock.
    """
    if request.on_behalf_of is not None or not (by.authentication is None or as_it_stood(by)):
        return None
    with core.database.autocommit() as cursor:
        read = core.read_by_human_task(cursor, human_task_id)
        if read is None:
            return None
        task = read.state.human_tasks[human_task_id]
        if read.fold.graph.gate(task.gate).authority:
            # Limits are read more than once, and have to be the same each time.
            return None
        try:
            authorize(by, Action.DECIDE, facts_of(read, task))
            recorded = _judged(core, cursor, read, task, replace(request, delegation_id=None, acts_for=None), by=by)
        except SignoffError:
            return None
        if any("compensation_run_id" in event.data for event in read.fold.events):
            return None
        decided = _decided(UUID(recorded.id), task, read.state.run_id, replayed=False)
        if look is not None:
            look(cursor, decided, read)
        hit("decide.before_write")
        messages = core.save_as_read(cursor, read, core.lease_after(read), provided=Provided(caller=by, at=read.now))
    return None if messages is None else (messages, decided)


def _decide(
    core: Core,
    cursor: Cursor,
    human_task_id: UUID,
    request: DecisionRequest,
    *,
    by: Principal,
    idempotency: IdempotencyKey | None,
) -> tuple[list[Message], Decided, Locked]:
    locked, task = lock_human_task(core, cursor, human_task_id)
    run_id = locked.state.run_id
    by = still(cursor, by)
    request, mandate = _mandated(cursor, locked, task, request, by=by)
    authorize(by, Action.DECIDE, facts_of(locked, task, on_behalf_of=request.on_behalf_of, acts_for=mandate))
    if idempotency is not None:
        earlier = keys.begin(cursor, str(by.id), idempotency, keep_hours=core.settings.idempotency_hours)
        if earlier is not None:
            return [], _decided(UUID(earlier["decision_id"]), task, run_id, replayed=True), locked
    said_before = decisions.replayed(task, request, by.actor)
    if said_before is not None:
        found = UUID(said_before.id)
        _keep(cursor, by, idempotency, found)
        return [], _decided(found, task, run_id, replayed=True), locked
    recorded = _judged(core, cursor, locked, task, request, by=by, mandate=mandate)
    hit("decide.before_update")
    messages = core.save(cursor, locked, core.lease_after(locked))
    messages += core.insert_compensation(cursor, locked)
    made = UUID(recorded.id)
    _keep(cursor, by, idempotency, made)
    return messages, _decided(made, task, run_id, replayed=False), locked


def _judged(
    core: Core,
    cursor: Cursor,
    locked: Locked,
    task: HumanTask,
    request: DecisionRequest,
    *,
    by: Principal,
    mandate: Mandate | None = None,
) -> Decision:
    """The decision as the run's batch has it now, of somebody who may decide and has not said the same before."""
    _expect_bulk(locked, task, request)
    if task.state is TaskState.OPEN and task.pending is None:
        acts_for = None if mandate is None else mandate.name
        expect_own_seat(
            locked.fold,
            task,
            by=by,
            acts_for=acts_for,
            find=lambda names: people_among(cursor, names, (), limit=len(names)),
        )
    if isinstance(request.patch, dict):
        # Before any hash of it is made: a value without a canonical form has none.
        core.expressible(request.patch, "patch")
    recorded = _recorded(core, cursor, locked, task, request, by=by, mandate=mandate)
    if isinstance(request.patch, dict):
        core.bounded(merge_patch(task.payload, request.patch), "the edited payload")
    return recorded


def _mandated(
    cursor: Cursor, locked: Locked, task: HumanTask, request: DecisionRequest, *, by: Principal
) -> tuple[DecisionRequest, Mandate | None]:
    """The request with the mandate it is made by; whatever it says of one itself counts for nothing.

    Without one `on_behalf_of` is only what a candidate says of whom they speak for.
    """
    mandate = None
    if request.on_behalf_of is not None:
        mandate = held_mandate(cursor, by, request.on_behalf_of, locked.state.workflow)
    if mandate is not None and task.candidates.admit(by.name, by.groups):
        # Who may decide anyway needs nobody's right: it is used where it is one.
        mandate = mandate if task.candidates.admit(mandate.name, mandate.groups) else None
    if mandate is None:
        return replace(request, delegation_id=None, acts_for=None), None
    used = replace(request, delegation_id=str(mandate.delegation_id), acts_for=str(mandate.principal_id))
    return used, mandate


def _recorded(
    core: Core,
    cursor: Cursor,
    locked: Locked,
    task: HumanTask,
    request: DecisionRequest,
    *,
    by: Principal,
    mandate: Mandate | None,
) -> Decision:
    """The decision, recorded with how this principal was recognised and within the limits that hold now."""
    fold = locked.fold
    gate = fold.graph.gate(task.gate)
    held = authority.held(cursor, locked.state.workflow, gate, by)
    lent = authority.lent(cursor, fold, task, by, mandate)
    try:
        recorded, _ = decisions.decide(
            fold, task, _vouched(request, by), actor=by.actor, new_id=core.new_id, held=held, lent=lent
        )
    except OverLimit as error:
        barred = locked.state.requester.id if gate.four_eyes else None
        asked = authority.Asked(
            graph=fold.graph, gate=gate, payload=task.payload, candidates=task.candidates, barred=barred
        )
        raise authority.explained(cursor, asked, error) from error
    return recorded


def _vouched(request: DecisionRequest, by: Principal) -> DecisionRequest:
    """With how this principal was recognised; whatever the request itself says of it counts for nothing."""
    return replace(request, authenticated=None if by.authentication is None else by.authentication.to_json())


def _keep(cursor: Cursor, by: Principal, idempotency: IdempotencyKey | None, decision_id: UUID) -> None:
    if idempotency is not None:
        keys.finish(cursor, str(by.id), idempotency, {"decision_id": str(decision_id)})


def _decided(decision_id: UUID, task: HumanTask, run_id: UUID, *, replayed: bool) -> Decided:
    return Decided(decision_id=decision_id, human_task_id=task.id, run_id=run_id, replayed=replayed)


def _expect_bulk(locked: Locked, task: HumanTask, request: DecisionRequest) -> None:
    """Many at once is for refusing; approving in bulk only where the gate allows it."""
    gate = locked.fold.graph.gate(task.gate)
    if request.bulk_id is not None and not gate.bulk and request.decision not in ("reject", "request_changes"):
        raise Conflict(
            f"gate {gate.name!r} takes no {request.decision!r} in bulk",
            code="not_in_bulk",
            fix="decide this one on its own, or define the gate with bulk: true",
        )


def _check_words(request: DecisionRequest) -> None:
    errors = []
    for path, text, limit in (
        ("/note", request.note, MAX_NOTE),
        ("/reason", request.reason, MAX_REASON),
        ("/on_behalf_of", request.on_behalf_of, 200),
    ):
        if text is not None and not is_storable(text, limit):
            errors.append(FieldError(path=path, message=f"at most {limit} characters, without NUL or half characters"))
    if errors:
        raise InvalidInput(errors=errors)
