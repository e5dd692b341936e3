"""The Review screen: one human task with everything a person needs to decide on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import Response, request

from signoff.authorization import Action, authorize, is_allowed
from signoff.definition.edges import main_line_first
from signoff.engine.authority import Standing, view_standing
from signoff.errors import FieldError
from signoff.model import TaskState
from signoff.store.identity import people_among
from signoff.store.queries_human_task_views import HumanTaskView
from signoff.store.queries_human_tasks import get_human_task, list_human_task_ids
from signoff.store.queries_path import node_facts
from signoff.store.queries_runs import RunView, get_run
from signoff.store.runs import load_events
from signoff.store.snoozes import snoozed_until
from signoff.transitions.revisions import Revision, revisions
from signoff_api.answers import to_bytes
from signoff_api.inbox import review_view
from signoff_api.inbox.differences import differences
from signoff_api.inbox.lists import ListQuery, done_notice, read_list_query
from signoff_api.inbox.live import cursor_now
from signoff_api.inbox.pages import Pages, Visit, render
from signoff_api.inbox.review_view import REASONS, Typed
from signoff_api.inbox.run_path import Path

NEIGHBOURS = 200
"""How far the list is counted for `3 of 12`, and gone through by the keys for previous and next."""

MAX_PEOPLE = 200
SNOOZE_HOURS = {"1": "1 hour", "4": "4 hours", "24": "1 day", "72": "3 days", "168": "1 week"}
"""For how long a human task may be put off from here, by hours."""

pages = Pages()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What is read for one Review, in one go."""

    view: HumanTaskView
    run: RunView
    path: Path
    shown: tuple[Revision, ...]
    people: tuple[str, ...]
    standing: Standing | None
    since: str
    snoozed_until: datetime | None = None


@pages.route("GET", "/inbox/{human_task_id}", key="inbox")
def show_review(visit: Visit, human_task_id: UUID) -> Response:
    """One human task."""
    return review_page(visit, load(visit, human_task_id), read_list_query(request.args))


@pages.route("GET", "/inbox/{human_task_id}/notice", key="inbox")
def show_notice(visit: Visit, human_task_id: UUID) -> Response:
    """What has become of it since the page was made, for a page that is open."""
    loaded = load(visit, human_task_id)
    seen = request.args.get("seen", "")[:64]
    return render("review_notice.html", visit, **_notice(visit, loaded, Typed(seen_sha256=seen)))


@pages.route("GET", "/inbox/{human_task_id}/payload.json", key="inbox")
def read_payload(visit: Visit, human_task_id: UUID) -> Response:
    """All of a payload that the page cuts, as a file."""
    view = _authorized(visit, human_task_id)
    context = view.context.to_json() if view.context else {}
    body = to_bytes({"payload": view.row.payload, "context": context})
    headers = {"Content-Disposition": f'attachment; filename="{human_task_id}.json"'}
    return Response(body, headers=headers, content_type="application/json")


def load(visit: Visit, human_task_id: UUID) -> Loaded:
    """The human task with its surroundings. Raises NotFound where this person may not see it."""
    since = cursor_now(visit)
    view = _authorized(visit, human_task_id)
    with visit.engine.database.autocommit() as cursor:
        run, _ = get_run(cursor, view.row.run_id)
        path = Path(view.graph, run, node_facts(cursor, run.id))
        history = [stored.event for stored in load_events(cursor, run.id)] if view.row.revision > 1 else []
        may_assign = view.row.state == TaskState.OPEN and is_allowed(visit.principal, Action.ASSIGN, view.facts)
        candidates = view.candidates
        standing = view_standing(cursor, view, visit.principal)
        people = people_among(cursor, candidates.users, candidates.groups, limit=MAX_PEOPLE) if may_assign else []
        put_off = snoozed_until(cursor, human_task_id, visit.principal)
    named = [
        person.name
        for person in people
        if not (view.gate.four_eyes and str(person.id) == view.row.requester_id) and person.name != view.row.assignee
    ]
    return Loaded(
        view=view.for_viewer(visit.principal),
        run=run,
        path=path,
        shown=revisions(view.graph, run.id, history, human_task_id),
        people=tuple(named),
        standing=standing,
        since=since,
        snoozed_until=put_off,
    )


def review_page(
    visit: Visit,
    loaded: Loaded,
    query: ListQuery,
    *,
    status: int = 200,
    typed: Typed | None = None,
    errors: tuple[FieldError, ...] = (),
    problem: dict[str, Any] | None = None,
    armed: str = "",
) -> Response:
    """The screen; with what was typed and why it did not go through, where it did not."""
    view, now = loaded.view, datetime.now(UTC)
    typed = review_view.touched(typed or Typed(), view, loaded.shown)
    row = view.row
    notice = _notice(visit, loaded, typed)
    since = notice["since"]
    latest = review_view.changes(view, loaded.shown)
    viewer = _viewer(visit, loaded, now)
    ids = list_human_task_ids(
        visit.engine.database, visit.principal, query.filter(visit.principal, now), limit=NEIGHBOURS
    )
    draft = review_view.draft(view, typed, since or (latest[0].fields if latest else ()))
    form = review_view.extra_form(view, typed)
    names = {each.name for part in draft for each in part.editable} | {each.name for each in form}
    return render(
        "review.html",
        visit,
        status,
        title=row.title or row.gate,
        shown=view.to_json(),
        gate=view.gate,
        run=loaded.run,
        strip=_strip(loaded),
        choices=review_view.choices(view, typed),
        draft=draft,
        form=form,
        evidence=review_view.evidence(view),
        changes=latest,
        history=review_view.history(view),
        edits={said.id: review_view.edits(said, _payload_of(loaded, said.payload_sha256)) for said in view.decisions},
        wrong=review_view.errors_by_field(errors, names),
        problem=problem,
        armed=armed if viewer["refusal"] is None and not notice["locked"] else "",
        people=loaded.people,
        snoozed_until=loaded.snoozed_until,
        snooze_hours=SNOOZE_HOURS,
        on_behalf_of=request.form.get("on_behalf_of", "")[:200],
        reasons=REASONS,
        query=query,
        place=_place(ids, row.id, query),
        done=done_notice(visit, request.args.get("done")),
        due_seconds=(row.due_at - now).total_seconds() if row.due_at else None,
        live_since=loaded.since,
        now=now,
        **viewer,
        **notice,
    )


def _viewer(visit: Visit, loaded: Loaded, now: datetime) -> dict[str, Any]:
    """What this person may do here, and why not."""
    view = loaded.view
    is_open = view.row.state == TaskState.OPEN
    refusal = review_view.refusal(view, visit.principal, now)
    over = loaded.standing if refusal is None and is_open and loaded.standing and not loaded.standing.within else None
    return {
        "refusal": refusal,
        "over": over,
        # Where something may be edited, the edit may bring it within limits; then the engine alone can tell.
        "barred": view.limited_options if over is not None and not view.gate.editable else (),
        "can_decide": refusal is None and is_open,
        "can_claim": is_open and is_allowed(visit.principal, Action.CLAIM, view.facts),
        "mine": view.row.assignee == visit.principal.name,
    }


def next_after(visit: Visit, human_task_id: UUID, query: ListQuery) -> UUID | None:
    """Which human task of the list comes after this one."""
    chosen = query.filter(visit.principal, datetime.now(UTC))
    ids = list_human_task_ids(visit.engine.database, visit.principal, chosen, limit=NEIGHBOURS)
    if human_task_id not in ids:
        return ids[0] if ids else None
    at = ids.index(human_task_id)
    following = ids[at + 1 :] + ids[:at]
    return following[0] if following else None


def _authorized(visit: Visit, human_task_id: UUID) -> HumanTaskView:
    with visit.engine.database.autocommit() as cursor:
        view = get_human_task(cursor, visit.engine.core.versions, human_task_id)
    authorize(visit.principal, Action.READ_HUMAN_TASK, view.facts)
    return view


def _notice(visit: Visit, loaded: Loaded, typed: Typed) -> dict[str, Any]:
    """What stands above the screen: that it changed underneath, or that somebody has decided."""
    row = loaded.view.row
    changed = bool(typed.seen_sha256) and typed.seen_sha256 != row.payload_sha256
    seen = next((each for each in loaded.shown if each.payload_sha256 == typed.seen_sha256), None) if changed else None
    # Of what others said at a blind gate nothing is known here: the last that is must not stand for it.
    told = [said for said in loaded.view.decisions if not said.withdrawn and row.pending in (None, said.decision)]
    own = [said for said in told if said.by["id"] == str(visit.principal.id)]
    return {
        "task": row,
        "last": told[-1] if told else None,
        "changed": changed,
        "since": tuple(differences(seen.payload, row.payload)) if seen is not None else (),
        "seen_revision": seen.number if seen is not None else None,
        "locked": changed and row.state == TaskState.OPEN,
        "own_pending": row.pending is not None and bool(own),
        "typed": typed,
    }


def _payload_of(loaded: Loaded, sha256: str) -> Any:
    """The payload that a decision was made on."""
    found = next((each.payload for each in loaded.shown if each.payload_sha256 == sha256), None)
    return loaded.view.row.payload if found is None else found


def _strip(loaded: Loaded) -> list[Any]:
    """The main line of the run as a strip of stops."""
    names = main_line_first(loaded.view.graph)[0]
    if loaded.view.row.gate not in names:
        names = next(line for line in main_line_first(loaded.view.graph) if loaded.view.row.gate in line)
    return [loaded.path.stops[name] for name in names]


def _place(ids: tuple[UUID, ...], human_task_id: UUID, query: ListQuery) -> dict[str, Any]:
    """Where this one stands in the list, and what is before and after it."""
    total = f"{NEIGHBOURS}+" if len(ids) == NEIGHBOURS else str(len(ids))
    if human_task_id not in ids:
        return {"at": None, "total": total, "previous": None, "next": query.link(f"/inbox/{ids[0]}") if ids else None}
    at = ids.index(human_task_id)
    return {
        "at": at + 1,
        "total": total,
        "previous": query.link(f"/inbox/{ids[at - 1]}") if at > 0 else None,
        "next": query.link(f"/inbox/{ids[at + 1]}") if at + 1 < len(ids) else None,
    }
