"""Starting, canceling and retrying whole runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from signoff.authorization import Action, RunFacts, WorkflowFacts, authorize
from signoff.canonical import Json
from signoff.definition.graph import Graph
from signoff.definition.schemas import validate
from signoff.engine.core import Core, Locked, Message, found, is_storable
from signoff.errors import FieldError, InvalidInput, SignoffError
from signoff.failpoints import hit
from signoff.identity import Principal
from signoff.model import Actor, Candidates, RunState
from signoff.store import idempotency as keys
from signoff.store import versions
from signoff.store.callers import as_it_stood, still
from signoff.store.database import Cursor
from signoff.store.idempotency import IdempotencyKey
from signoff.store.recording import Provided
from signoff.store.runs import load_events
from signoff.store.staff import StoredStaff
from signoff.store.versions import Registered
from signoff.transitions import runs
from signoff.transitions.fold import Fold

MAX_LABELS = 32
MAX_LABEL_KEY = 64
MAX_LABEL_VALUE = 256
MAX_REASON = 2_000

Look: TypeAlias = Callable[[Cursor, UUID, RunState | None], None]
"""Reads what an operation has made of a run, in its transaction: no worker has come by yet. A run that was started in
it comes along; any other is there to be read. Where a start has come to nothing and is made again, it is told again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A run that was started, or that the same Idempotency-Key started before."""

    run_id: UUID
    replayed: bool


def register(core: Core, graph: Graph, *, by: Actor) -> Registered:
    with core.database.transaction() as cursor:
        return versions.register(cursor, graph, by=by)


def start(
    core: Core,
    *,
    workflow: str,
    value: Json,
    requester: Principal,
    version: int | None,
    labels: Mapping[str, str],
    idempotency: IdempotencyKey | None,
    look: Look | None = None,
) -> Started:
    authorize(requester, Action.START_RUN, WorkflowFacts(workflow=workflow))
    _check_labels(labels)
    core.bounded(value, "input")
    wanted = _Wanted(workflow=workflow, value=value, requester=requester, labels=labels)
    made = _start_as_known(core, wanted, look=look) if version is None and idempotency is None else None
    if made is None:
        made = _start(core, wanted, version=version, idempotency=idempotency, look=look)
    messages, started = made
    if started.replayed:
        return started
    hit("start.before_publish")
    core.send(messages)
    hit("start.before_response")
    return started


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is to be started, for whom."""

    workflow: str
    value: Json
    requester: Principal
    labels: Mapping[str, str]

    def created(self, core: Core, cursor: Cursor, graph: Graph, *, number: int, now: datetime) -> Fold:
        """A new run of this version. Raises InvalidInput."""
        errors = validate(graph.input_schema, self.value)
        if errors:
            raise InvalidInput(
                errors=[
                    FieldError(path=f"/input{error.path}", message=error.message, fix=error.fix) for error in errors
                ]
            )
        return runs.create(
            graph,
            run_id=core.new_id(),
            version=number,
            value=self.value,
            requester=self.requester.actor,
            labels=self.labels,
            now=now,
            new_id=core.new_id,
            staff=StoredStaff(cursor),
        )


def _start_as_known(core: Core, wanted: _Wanted, *, look: Look | None) -> tuple[list[Message], Started] | None:
    """Start by one statement, which holds what this process knows against what is there.

    None, with nothing written, where it knows nothing, where that is not so any more, and where there is anything to
    refuse.
    """
    requester, known = wanted.requester, core.versions.known(wanted.workflow)
    if known is None or not (requester.authentication is None or as_it_stood(requester)):
        return None
    number, clock = known
    with core.database.autocommit() as cursor:
        try:
            graph = core.versions.graph(cursor, wanted.workflow, number)
            fold = wanted.created(core, cursor, graph, number=number, now=clock.now())
        except SignoffError:
            return None
        _let_look(look, cursor, fold.run_id, fold.state)
        provided = Provided(caller=requester, newest=(wanted.workflow, number), at=fold.now)
        made = core.insert_provided(cursor, fold, provided)
    if made is None:
        return None
    messages, now = made
    core.versions.learn(wanted.workflow, number, now)
    return messages, Started(run_id=fold.run_id, replayed=False)


def _start(
    core: Core, wanted: _Wanted, *, version: int | None, idempotency: IdempotencyKey | None, look: Look | None
) -> tuple[list[Message], Started]:
    workflow = wanted.workflow
    with core.database.transaction() as cursor:
        requester = still(cursor, wanted.requester)
        authorize(requester, Action.START_RUN, WorkflowFacts(workflow=workflow))
        if idempotency is not None:
            earlier = keys.begin(cursor, str(requester.id), idempotency, keep_hours=core.settings.idempotency_hours)
            if earlier is not None:
                started = Started(run_id=UUID(earlier["run_id"]), replayed=True)
                _let_look(look, cursor, started.run_id)
                return [], started
        newest, now = core.versions.latest_now(cursor, workflow)
        number = newest if version is None else version
        graph = core.versions.graph(cursor, workflow, number)
        if number != newest:
            authorize(requester, Action.START_OLD_VERSION, WorkflowFacts(workflow=workflow))
        fold = wanted.created(core, cursor, graph, number=number, now=now)
        hit("start.before_insert")
        messages = core.insert(cursor, fold)
        if idempotency is not None:
            keys.finish(cursor, str(requester.id), idempotency, {"run_id": str(fold.run_id)})
        _let_look(look, cursor, fold.run_id, fold.state)
        hit("start.before_commit")
    return messages, Started(run_id=fold.run_id, replayed=False)


def cancel(core: Core, run_id: UUID, *, reason: str, by: Principal, look: Look | None = None) -> None:
    if not reason.strip() or not is_storable(reason, MAX_REASON):
        raise InvalidInput(errors=[FieldError(path="/reason", message=f"say why in 1 to {MAX_REASON} characters")])
    with core.database.transaction() as cursor:
        locked = found(core.lock(cursor, run_id))
        by = still(cursor, by)
        authorize(by, Action.CANCEL_RUN, run_facts(locked))
        runs.cancel(locked.fold, reason=reason, actor=by.actor)
        core.save(cursor, locked, core.lease_after(locked))
        _let_look(look, cursor, run_id)
        hit("cancel.before_commit")
    hit("cancel.before_response")


def retry(core: Core, run_id: UUID, *, from_step: str | None, by: Principal, look: Look | None = None) -> None:
    messages: list[Message] = []
    with core.database.transaction() as cursor:
        locked = found(core.lock(cursor, run_id))
        by = still(cursor, by)
        authorize(by, Action.RETRY_RUN, run_facts(locked))
        history = [stored.event for stored in load_events(cursor, run_id)]
        runs.retry(locked.fold, from_step=from_step, history=history, actor=by.actor, new_id=core.new_id)
        messages = core.save(cursor, locked, core.lease_after(locked))
        _let_look(look, cursor, run_id)
    core.send(messages)


def run_facts(locked: Locked) -> RunFacts:
    """What authorization has to know of this run."""
    candidates = Candidates()
    for task in locked.row.state.human_tasks.values():
        # Who holds a human task sees its run, also when they are no longer asked.
        holds = Candidates(users=() if task.assignee is None else (task.assignee,))
        candidates = candidates.with_(task.candidates).with_(holds)
    state = locked.row.state
    return RunFacts(workflow=state.workflow, requester_id=state.requester.id, candidates=candidates)


def _let_look(look: Look | None, cursor: Cursor, run_id: UUID, made: RunState | None = None) -> None:
    if look is not None:
        look(cursor, run_id, made)


def _check_labels(labels: Mapping[str, str]) -> None:
    errors = []
    if len(labels) > MAX_LABELS:
        errors.append(FieldError(path="/labels", message=f"a run has at most {MAX_LABELS} labels"))
    for key, value in labels.items():
        if not key or not is_storable(key, MAX_LABEL_KEY) or not is_storable(value, MAX_LABEL_VALUE):
            errors.append(
                FieldError(
                    path=f"/labels/{key[:MAX_LABEL_KEY]}",
                    message=f"a label is 1 to {MAX_LABEL_KEY} characters, its value up to {MAX_LABEL_VALUE}",
                )
            )
    if errors:
        raise InvalidInput(errors=errors)
