"""Limits of authority: setting them, asking those above, and saying beforehand what they come to for somebody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from uuid import UUID

from signoff.authority import ANY, GROUP, USER, Limit, OverLimit, admitting, check_limit, held_by
from signoff.authorization import Action, authorize
from signoff.canonical import Json
from signoff.definition.graph import GateNode, Graph
from signoff.errors import FieldError, Forbidden, InvalidInput, NotFound
from signoff.identity import Mandate, Principal
from signoff.model import Candidates, Event, HumanTask
from signoff.store import authority as stored
from signoff.store.callers import still
from signoff.store.database import Cursor, Database
from signoff.store.identity import find_principal, is_name
from signoff.store.queries_human_task_views import HumanTaskView
from signoff.store.runs import load_events
from signoff.store.versions import VersionCache
from signoff.transitions.above import above_of, asked_anew, in_own_right, put_above, stood_for
from signoff.transitions.fold import Fold

_NAMED = 5
"""People above who are named where somebody is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the limits come to for one person before one payload: whether they may approve it as it is shown.

    `limits` are the texts of those that apply to them, `above` names who may approve it among those who are asked or
    would be.
    """

    within: bool
    limits: tuple[str, ...]
    above: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One gate before one payload: whom it asks, and the id of whoever may not decide it."""

    graph: Graph
    gate: GateNode
    payload: Json
    candidates: Candidates
    barred: str | None


def set_limit(
    database: Database,
    versions: VersionCache,
    *,
    subject: str,
    expression: str,
    workflow: str = ANY,
    gate: str = ANY,
    by: Principal,
) -> Limit:
    """Let a limit hold from now on; the one it supersedes ends. Raises Forbidden (`own_limit`), InvalidInput."""
    with database.transaction() as cursor:
        by = still(cursor, by)
        authorize(by, Action.MANAGE_AUTHORITY)
        _check_subject(cursor, subject, by)
        check_limit(expression, _schemas(cursor, versions, workflow, gate))
        return stored.set_limit(
            cursor, subject=subject, workflow=workflow, gate=gate, expression=expression, by=by.actor
        )


def remove_limit(database: Database, limit_id: UUID, *, by: Principal) -> Limit:
    """Let a limit hold no more; it stays, with who ended it and when. Raises Forbidden, NotFound."""
    with database.transaction() as cursor:
        by = still(cursor, by)
        authorize(by, Action.MANAGE_AUTHORITY)
        return stored.end_limit(cursor, limit_id, by=by.actor)


def list_limits(database: Database, *, subject: str | None, ended: bool, by: Principal) -> list[Limit]:
    """The limits there are; with `ended` those that hold no more as well. Raises Forbidden."""
    authorize(by, Action.MANAGE_AUTHORITY)
    with database.autocommit() as cursor:
        return stored.list_limits(cursor, subject=subject, ended=ended)


def held(cursor: Cursor, workflow: str, gate: GateNode, by: Principal) -> tuple[Limit, ...]:
    """The limits of this person at this gate, as they are in this transaction; none where it takes no authority."""
    if not gate.authority:
        return ()
    return held_by(stored.limits_at(cursor, workflow, gate.name), by.name, by.groups)


def lent(
    cursor: Cursor, fold: Fold, task: HumanTask, by: Principal, mandate: Mandate | None
) -> dict[str, tuple[Limit, ...]] | None:
    """The limits of those in whose stead this person would decide, by name; None where it is in a right of their own.

    Who is asked only because they stand in for somebody away decides in their stead, whether they say so or not.
    """
    gate = fold.graph.gate(task.gate)
    if not gate.authority:
        return None
    if mandate is not None:
        people = {mandate.name: mandate.groups}
    else:
        names = stood_for(fold.history, task.id, task.candidates, by)
        if names is None:
            return None
        people = _groups_of(cursor, names)
    limits = stored.limits_at(cursor, fold.graph.workflow, gate.name)
    return {name: held_by(limits, name, groups) for name, groups in people.items()}


def _groups_of(cursor: Cursor, names: Iterable[str]) -> dict[str, frozenset[str]]:
    """The groups of those of these people who are there."""
    found = (find_principal(cursor, name) for name in sorted(names))
    return {each.name: each.groups for each in found if each is not None}


def route_up(cursor: Cursor, fold: Fold) -> None:
    """Ask those above too wherever this batch asks people of whom too few may approve. Costs other gates nothing."""
    for gate, task in asked_anew(fold):
        barred = fold.state.requester.id if gate.four_eyes else None
        admitted = admitting(stored.limits_at(cursor, fold.graph.workflow, gate.name), fold.graph, gate, task.payload)
        asked = in_own_right(fold, task)
        if _enough(cursor, gate, asked, admitted, barred):
            continue
        everybody = asked.with_(above_of(fold.graph, gate, task.payload))
        put_above(fold, gate, task, reached=_enough(cursor, gate, everybody, admitted, barred))


def concerns(fold: Fold) -> bool:
    """Whether `route_up` would have to look into the limits for this batch."""
    return next(asked_anew(fold), None) is not None


def explained(cursor: Cursor, asked: Asked, error: OverLimit) -> OverLimit:
    """The refusal with who is above: what the person who met it can do now."""
    limits = stored.limits_at(cursor, asked.graph.workflow, asked.gate.name)
    above = _above(cursor, asked, admitting(limits, asked.graph, asked.gate, error.payload))
    return OverLimit(error.detail, payload=error.payload, fix=_fix(above))


def view_standing(cursor: Cursor, view: HumanTaskView, viewer: Principal) -> Standing | None:
    """What the limits come to for this person; None where the gate takes no authority.

    In the stead of another it is what is within the limits of both.
    """
    if not view.gate.authority:
        return None
    barred = view.row.requester_id if view.gate.four_eyes else None
    asked = Asked(graph=view.graph, gate=view.gate, payload=view.row.payload, candidates=view.candidates, barred=barred)
    lenders = {each.name: each.groups for each in view.stands_for(viewer)} or None
    if lenders is None:
        history = partial(_log, cursor, view.row.run_id)
        names = stood_for(history, view.row.id, view.candidates, viewer)
        lenders = None if names is None else _groups_of(cursor, names)
    limits = stored.limits_at(cursor, asked.graph.workflow, asked.gate.name)
    admitted = admitting(limits, asked.graph, asked.gate, asked.payload)
    own = held_by(limits, viewer.name, viewer.groups)
    theirs = [held_by(limits, name, groups) for name, groups in (lenders or {}).items()]
    within = any(each in admitted for each in own) and (
        lenders is None or any(each in admitted for held in theirs for each in held)
    )
    return Standing(
        within=within,
        limits=tuple(dict.fromkeys(each.expression for each in (*own, *chain(*theirs)))),
        above=() if within else _above(cursor, asked, admitted),
    )


def _log(cursor: Cursor, run_id: UUID) -> list[Event]:
    return [each.event for each in load_events(cursor, run_id)]


def _enough(cursor: Cursor, gate: GateNode, asked: Candidates, admitted: Iterable[Limit], barred: str | None) -> bool:
    return len(stored.able(cursor, asked, admitted, barred=barred, limit=gate.approvals)) >= gate.approvals


def _above(cursor: Cursor, asked: Asked, admitted: Iterable[Limit]) -> tuple[str, ...]:
    """Who may approve the payload: groups as a whole where they hold a limit, else people by name."""
    admitted = tuple(admitted)
    everybody = asked.candidates.with_(above_of(asked.graph, asked.gate, asked.payload))
    holding = {each.subject for each in admitted}
    groups = tuple(name for name in everybody.groups if f"{GROUP}{name}" in holding)
    people = stored.able(cursor, everybody, admitted, barred=asked.barred, limit=_NAMED)
    return groups or tuple(people)


def _fix(above: tuple[str, ...]) -> str:
    if above:
        return f"leave it to {' or '.join(above)}, or reject it or ask for changes"
    return "nobody who is asked may approve it: an administrator can set a limit with `signoff authority set`"


def _check_subject(cursor: Cursor, subject: str, by: Principal) -> None:
    """Raise unless it names a person who is there or a group, and neither is the one who asks."""
    kind, colon, name = subject.partition(":")
    if f"{kind}{colon}" not in (USER, GROUP) or not is_name(name):
        _refuse("/subject", f"{subject[:80]!r} is no subject", "write user:NAME or group:NAME")
    if _is_own(subject, by):
        raise Forbidden(
            f"the limit of {subject} would be one of your own",
            code="own_limit",
            fix="let another administrator set it",
        )
    if kind == "user":
        person = find_principal(cursor, name)
        if person is None or person.kind != "user":
            _refuse("/subject", f"there is no person {name!r}", "name one who may sign in")


def _is_own(subject: str, principal: Principal) -> bool:
    """Whether a limit of this subject applies to this principal."""
    return subject == f"{USER}{principal.name}" or subject.removeprefix(GROUP) in principal.groups


def _schemas(cursor: Cursor, versions: VersionCache, workflow: str, gate: str) -> list[dict[str, object] | None]:
    """The payload schemas that a limit for these gates is checked against. Raises InvalidInput where there is none."""
    if workflow == ANY:
        return [None]
    try:
        graph = versions.graph(cursor, workflow, versions.latest(cursor, workflow))
    except NotFound as error:
        raise InvalidInput(errors=[FieldError(path="/workflow", message=error.detail, fix=error.fix)]) from error
    gates = [node for node in graph.nodes.values() if isinstance(node, GateNode) and node.authority]
    chosen = [node.payload_schema for node in gates if gate in (ANY, node.name)]
    if not chosen:
        known = ", ".join(node.name for node in gates) or "none"
        _refuse(
            "/gate" if gate != ANY else "/workflow",
            f"the newest version of {workflow!r} has no such gate with authority: true",
            f"gates with it: {known}",
        )
    return chosen


def _refuse(path: str, message: str, fix: str) -> None:
    raise InvalidInput(errors=[FieldError(path=path, message=message, fix=fix)])
