"""Starting, canceling and retrying whole runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from signoff.authorization import Action, RunFacts, WorkflowFacts, authorize
from signoff.canonical import Json
from signoff.definition.graph import Graph
from signoff.definition.schemas import validate
from signoff.engine.core import Core, Locked, Message, found, is_storable
from signoff.errors import FieldError, InvalidInput
from signoff.failpoints import hit
from signoff.identity import Principal
from signoff.model import Actor, Candidates, RunState
from signoff.store import idempotency as keys
from signoff.store import versions
from signoff.store.callers import still
from signoff.store.database import Cursor
from signoff.store.idempotency import IdempotencyKey
from signoff.store.runs import load_events
from signoff.store.staff import StoredStaff
from signoff.store.versions import Registered
from signoff.transitions import runs

MAX_LABELS = 32
MAX_LABEL_KEY = 64
MAX_LABEL_VALUE = 256
MAX_REASON = 2_000

Look: TypeAlias = Callable[[Cursor, UUID, RunState | None], None]
"""Reads what an operation has made of a run, in its transaction: no worker has come by yet. A run that was started in
it comes along; any other is there to be read."""


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
    with core.database.transaction() as cursor:
        if idempotency is not None:
            earlier = keys.begin(cursor, str(requester.id), idempotency, keep_hours=core.settings.idempotency_hours)
            if earlier is not None:
                started = Started(run_id=UUID(earlier["run_id"]), replayed=True)
                _let_look(look, cursor, started.run_id)
                return started
        newest, now = core.versions.latest_now(cursor, workflow)
        number = newest if version is None else version
        graph = core.versions.graph(cursor, workflow, number)
        if number != newest:
            authorize(requester, Action.START_OLD_VERSION, WorkflowFacts(workflow=workflow))
        errors = validate(graph.input_schema, value)
        if errors:
            raise InvalidInput(
                errors=[
                    FieldError(path=f"/input{error.path}", message=error.message, fix=error.fix) for error in errors
                ]
            )
        run_id = core.new_id()
        fold = runs.create(
            graph,
            run_id=run_id,
            version=number,
            value=value,
            requester=requester.actor,
            labels=labels,
            now=now,
            new_id=core.new_id,
            staff=StoredStaff(cursor),
        )
        hit("start.before_insert")
        messages = core.insert(cursor, fold)
        if idempotency is not None:
            keys.finish(cursor, str(requester.id), idempotency, {"run_id": str(run_id)})
        _let_look(look, cursor, run_id, fold.state)
        hit("start.before_commit")
    hit("start.before_publish")
    core.send(messages)
    hit("start.before_response")
    return Started(run_id=run_id, replayed=False)


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
