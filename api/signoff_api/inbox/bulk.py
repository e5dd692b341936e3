"""Several human tasks at once: claim, release, assign, reject; approve only where their gate allows it in bulk.

The first press lists what is going to happen, the second does it, with one log entry each. What a gate allows is the
engine's word, item by item; here it is only said beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from flask import Response, request

from signoff.authorization import Action, authorize, is_allowed
from signoff.definition.json_types import is_decimal, parse_decimal
from signoff.engine import BulkItem
from signoff.engine.deciding import MAX_NOTE
from signoff.errors import FieldError, InvalidInput, NotFound, SignoffError, StaleView
from signoff.ids import parse_id
from signoff.model import TaskState
from signoff.store.identity import people_among
from signoff.store.queries_human_task_views import HumanTaskView
from signoff.store.queries_human_tasks import get_human_task
from signoff_api.inbox.deciding import SURFACE
from signoff_api.inbox.fields import line_ends, schema_at
from signoff_api.inbox.pages import Pages, Visit, own_path, render
from signoff_api.inbox.review import MAX_PEOPLE
from signoff_api.inbox.review_view import REASONS, leads_to

ACTIONS = ("claim", "release", "assign", "reject", "approve")

pages = Pages()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """One human task of the selection with the payload that was seen; `view` is None where it is gone."""

    id: UUID
    payload_sha256: str
    view: HumanTaskView | None

    @property
    def changed(self) -> bool:
        return self.view is not None and self.view.row.payload_sha256 != self.payload_sha256


@pages.route("POST", "/inbox/bulk", key="inbox")
def prepare_bulk(visit: Visit) -> Response:
    """List what is going to happen and ask once more. Records nothing."""
    action, picked = _selection(visit)
    return _page(visit, action, picked)


@pages.route("POST", "/inbox/bulk/commit", key="inbox")
def commit_bulk(visit: Visit) -> Response:
    """Do it, each on its own, and say what became of each."""
    action, picked = _selection(visit)
    note = line_ends(request.form.get("note", "")).strip() or None
    reason = request.form.get("reason", "").strip() or None
    refused = _obstacle(action, picked)
    if refused is not None:
        return _page(visit, action, picked, status=422, problem=refused)
    if note is not None and len(note) > MAX_NOTE:
        return _page(visit, action, picked, status=422, problem=f"The note has more than {MAX_NOTE} characters.")
    if action in ("reject", "approve"):
        wants = [each for each in picked if each.view is not None and action in each.view.gate.require_note]
        if wants and note is None:
            return _page(visit, action, picked, status=422, problem="These gates want a note: say why in a sentence.")
        items = [BulkItem(human_task_id=each.id, payload_sha256=each.payload_sha256) for each in picked]
        outcome = visit.engine.decide_in_bulk(
            decision=action, note=note, reason=reason, items=items, by=visit.principal, surface=SURFACE
        )
        results = {result.human_task_id: result.error for result in outcome.results}
    else:
        assignee = request.form.get("assignee", "").strip()[:200]
        if action == "assign" and not assignee:
            return _page(visit, action, picked, status=422, problem="Choose whom to assign them to.")
        results = {
            each.id: StaleView(current={}) if each.changed else _try(_operation(visit, action, each.id, assignee))
            for each in picked
        }
    return _page(visit, action, picked, results=results)


def _operation(visit: Visit, action: str, human_task_id: UUID, assignee: str) -> Callable[[], None]:
    engine, by = visit.engine, visit.principal
    match action:
        case "claim":
            return lambda: engine.claim(human_task_id, by=by)
        case "release":
            return lambda: engine.release(human_task_id, by=by)
    return lambda: engine.assign(human_task_id, assignee=assignee, by=by)


def _try(do: Callable[[], None]) -> SignoffError | None:
    try:
        do()
    except SignoffError as error:
        return error
    return None


def _selection(visit: Visit) -> tuple[str, list[Picked]]:
    """The action and what it is for. Raises InvalidInput for a selection that can't be."""
    action, limit = request.form.get("action", ""), visit.settings.max_bulk
    if action not in ACTIONS:
        raise InvalidInput(errors=[FieldError(path="/action", message="there is no such action")])
    given = list(dict.fromkeys(request.form.getlist("item")))
    if not 1 <= len(given) <= limit:
        raise InvalidInput(
            errors=[FieldError(path="/item", message=f"{len(given)} are selected", fix=f"select 1 to {limit}")]
        )
    return action, [_picked(visit, text) for text in given]


def _picked(visit: Visit, text: str) -> Picked:
    name, _, sha256 = text.partition(":")
    human_task_id = parse_id(name)
    if human_task_id is None or len(sha256) != 64:
        raise InvalidInput(errors=[FieldError(path="/item", message="this is no human task", fix="select it again")])
    try:
        with visit.engine.database.autocommit() as cursor:
            view = get_human_task(cursor, visit.engine.core.versions, human_task_id, detail=False)
        authorize(visit.principal, Action.READ_HUMAN_TASK, view.facts)
    except NotFound:
        return Picked(id=human_task_id, payload_sha256=sha256, view=None)
    return Picked(id=human_task_id, payload_sha256=sha256, view=view.for_viewer(visit.principal))


def _obstacle(action: str, picked: list[Picked]) -> str | None:
    """Why these can't be approved together; the engine would refuse those whose gate does not allow it, too."""
    if action != "approve":
        return None
    views = [each.view for each in picked if each.view is not None]
    if any(not view.gate.bulk for view in views):
        return "Approve these one by one: their gate does not allow it in bulk."
    if len({(view.row.workflow, view.row.version, view.row.gate) for view in views}) > 1:
        return "Approve in bulk only what is of the same gate and version."
    return None


def _page(
    visit: Visit,
    action: str,
    picked: list[Picked],
    *,
    status: int = 200,
    problem: str | None = None,
    results: dict[UUID, SignoffError | None] | None = None,
) -> Response:
    people: list[str] = []
    if action == "assign" and results is None:
        with visit.engine.database.autocommit() as cursor:
            for each in picked:
                if each.view is not None and is_allowed(visit.principal, Action.ASSIGN, each.view.facts):
                    asked = each.view.candidates
                    people += [p.name for p in people_among(cursor, asked.users, asked.groups, limit=MAX_PEOPLE)]
    return render(
        "bulk.html",
        visit,
        status,
        title=f"{action.capitalize()} {len(picked)}",
        action=action,
        items=[_shown(each, action) for each in picked],
        totals=_totals(picked) if action in ("approve", "reject") else [],
        problem=problem or _obstacle(action, picked),
        blocked=_obstacle(action, picked) is not None,
        results=results,
        failed=sum(error is not None for error in results.values()) if results is not None else 0,
        people=sorted(set(people)),
        reasons=REASONS,
        back=own_path(request.form.get("back"), "/inbox"),
        note=request.form.get("note", ""),
        reason=request.form.get("reason", ""),
    )


def _shown(each: Picked, action: str) -> dict[str, Any]:
    view = each.view
    if view is None:
        return {"picked": each, "title": "gone, or no longer yours to see", "consequence": "", "gate": ""}
    consequence = ""
    if action in ("approve", "reject") and action in view.gate.options:
        consequence = view.to_json()["consequences"].get(action) or leads_to(view.graph, view.gate, action)
    return {"picked": each, "title": view.row.title, "consequence": consequence, "gate": view.row.gate}


def _totals(picked: list[Picked]) -> list[tuple[str, str]]:
    """The sums of the numbers that the consequences speak of, so that twenty small ones are seen as one large."""
    sums: dict[str, Decimal] = {}
    for each in picked:
        if each.view is None or each.changed or not isinstance(each.view.row.payload, dict):
            continue
        if each.view.row.state != TaskState.OPEN:
            continue
        gate, payload = each.view.gate, each.view.row.payload
        said = " ".join(gate.consequences.values()) + gate.title
        for name, value in payload.items():
            if not re.search(r"\{\s*" + re.escape(name) + r"\b", said) or name == gate.score or isinstance(value, bool):
                continue
            number = parse_decimal(value) if is_decimal(schema_at(gate.payload_schema, (name,))) else None
            if isinstance(value, (int, float)):
                number = Decimal(str(value))
            if number is not None:
                sums[name] = sums.get(name, Decimal(0)) + number
    return [(name, f"{total:f}") for name, total in sums.items()]
