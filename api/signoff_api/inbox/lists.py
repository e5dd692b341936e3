"""The inbox: what waits for me and my team, what is late, what is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from signoff.authorization import Action, authorize, oversees
from signoff.errors import FieldError, InvalidInput, NotFound
from signoff.identity import Principal
from signoff.ids import parse_id
from signoff.store.queries_human_task_views import HumanTaskView
from signoff.store.queries_human_tasks import (
    FINISHED,
    HumanTaskFilter,
    Sort,
    count_human_tasks,
    get_human_task,
    list_human_tasks,
)
from signoff_api.inbox.live import cursor_now
from signoff_api.inbox.pages import Pages, Visit, is_fragment, render

PAGE = 50
COUNTED = 1_000
"""Beyond this many a tab says `999+`: a person does not need the number, and counting all would take long."""

MAX_QUERY = 200
VIEWS: Mapping[str, str] = {
    "mine": "Mine",
    "team": "Team",
    "overdue": "Overdue",
    "all": "All",
    "snoozed": "Snoozed",
    "done": "Done",
}
SORTS: Mapping[Sort, str] = {"due_at": "Due first", "priority": "Priority", "created_at": "Oldest first"}

pages = Pages()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """Which list is shown: a tab, filters, an order. It travels in the address, so that Review can go on in it."""

    view: str
    q: str = ""
    workflow: str = ""
    gate: str = ""
    sort: Sort = "due_at"

    def filter(self, viewer: Principal, now: datetime) -> HumanTaskFilter:
        """The same as the store asks for it."""
        everything = oversees(viewer)
        found = HumanTaskFilter(
            q=self.q or None,
            workflow=self.workflow or None,
            gate=self.gate or None,
            snoozed="only" if self.view == "snoozed" else "show" if self.view == "all" else "hide",
            sort=self.sort,
        )
        match self.view:
            case "mine":
                return replace(found, mine=viewer.name)
            case "overdue":
                return replace(found, candidate=None if everything else viewer.name, due_before=now)
            case "done":
                mine = None if everything else viewer.name
                return replace(found, state=FINISHED, candidate=mine, sort="-completed_at")
            case "all" | "snoozed":
                return found
        return replace(found, candidate=viewer.name)

    def link(self, path: str = "/inbox", **more: str) -> str:
        """The address of `path` in this list."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__} | more
        defaults = {"view": "", "q": "", "workflow": "", "gate": "", "sort": "due_at"}
        return f"{path}?{urlencode({key: value for key, value in values.items() if value != defaults.get(key)})}"

    def tab(self, view: str) -> str:
        """The address of another tab with the same filters."""
        return replace(self, view=view).link()

    def without(self, name: str) -> str:
        """The address of this list without one of its filters."""
        return replace(self, **{name: ""}).link()  # type: ignore[arg-type]  # a name of a text field


def read_list_query(source: Mapping[str, str]) -> ListQuery:
    """The list that an address names. Raises InvalidInput naming the parameter."""
    view = source.get("view") or "team"
    sort = source.get("sort") or "due_at"
    if view not in VIEWS:
        raise _bad("view", f"there is no list {view[:40]!a}", ", ".join(VIEWS))
    if sort not in SORTS:
        raise _bad("sort", f"there is no order {sort[:40]!a}", ", ".join(SORTS))
    texts = {name: source.get(name, "").strip() for name in ("q", "workflow", "gate")}
    for name, text in texts.items():
        if len(text) > MAX_QUERY or "\x00" in text:
            raise _bad(name, "it is too long, or holds a NUL", f"at most {MAX_QUERY} characters")
    return ListQuery(view=view, sort=sort, **texts)  # type: ignore[arg-type]  # looked up in SORTS


@pages.route("GET", "/inbox", key="inbox")
def show_inbox(visit: Visit) -> Response:
    """The list, or with htmx a further piece of it."""
    authorize(visit.principal, Action.LIST_HUMAN_TASKS)
    query = read_list_query(request.args)
    now = datetime.now(UTC)
    since = cursor_now(visit)
    page = list_human_tasks(
        visit.engine.database,
        visit.engine.core.versions,
        visit.principal,
        query.filter(visit.principal, now),
        limit=PAGE,
        cursor=request.args.get("cursor"),
    )
    rows = [row_of(view, visit.principal, query, now) for view in page.items]
    more = query.link(cursor=page.next_cursor) if page.next_cursor else None
    if is_fragment() and request.args.get("cursor"):
        return render("inbox_rows.html", visit, rows=rows, more=more, query=query, now=now)
    return render(
        "inbox.html",
        visit,
        title=f"{VIEWS[query.view]} · Inbox",
        query=query,
        tabs=_tabs(
            visit, query, now, known=None if request.args.get("cursor") else _known(query, len(rows), bool(more))
        ),
        rows=rows,
        more=more,
        next_due=_next_due(visit, query, now) if not rows else None,
        done=done_notice(visit, request.args.get("done")),
        sorts=SORTS,
        max_bulk=visit.settings.max_bulk,
        live_since=since,
        now=now,
    )


@pages.route("GET", "/inbox/counts", key="inbox")
def show_counts(visit: Visit) -> Response:
    """The tabs with their numbers, for a page that is open while things change."""
    authorize(visit.principal, Action.LIST_HUMAN_TASKS)
    query = read_list_query(request.args)
    return render("inbox_tabs.html", visit, query=query, tabs=_tabs(visit, query, datetime.now(UTC)))


def row_of(view: HumanTaskView, viewer: Principal, query: ListQuery, now: datetime) -> dict[str, Any]:
    """What a row of the list shows."""
    row = view.row
    shown = view.to_json()
    recommendation = shown["recommendation"]
    score = recommendation["score"] if recommendation else None
    return {
        "id": row.id,
        "title": row.title,
        "gate": row.gate,
        "workflow": row.workflow,
        "why": row.why,
        "score": score if isinstance(score, (int, float)) and not isinstance(score, bool) else None,
        "due_at": row.due_at,
        "due_seconds": (row.due_at - now).total_seconds() if row.due_at else None,
        "late": row.mode == "after",
        "priority": row.priority,
        "assignee": row.assignee,
        "mine": row.assignee == viewer.name,
        "state": row.state,
        "outcome": row.outcome,
        "decided_by": row.decided_by,
        "completed_at": row.completed_at,
        "last": next((said for said in reversed(view.decisions) if not said.withdrawn), None),
        "approvals": shown["quorum"] if shown["quorum"]["required"] > 1 else None,
        "grace": row.pending is not None,
        "own_run": row.requester_id == str(viewer.id),
        "payload_sha256": row.payload_sha256,
        "version": row.version,
        "bulk": view.gate.bulk,
        "revision": row.revision,
        "link": query.link(f"/inbox/{row.id}"),
    }


def done_notice(visit: Visit, given: str | None) -> dict[str, Any] | None:
    """What this person has just said, and whether it can still be taken back."""
    human_task_id = parse_id(given or "")
    if human_task_id is None:
        return None
    try:
        with visit.engine.database.autocommit() as cursor:
            view = get_human_task(cursor, visit.engine.core.versions, human_task_id, detail=False)
        # Having decided on it once gives no right to look at it for good.
        authorize(visit.principal, Action.READ_HUMAN_TASK, view.facts)
    except NotFound:
        return None
    own = [said for said in view.decisions if said.by["id"] == str(visit.principal.id) and not said.withdrawn]
    if not own:
        return None
    undo = view.row.pending is not None and view.row.release_at is not None
    return {"task": view.row, "said": own[-1], "undo_until": view.row.release_at if undo else None}


def _tabs(visit: Visit, query: ListQuery, now: datetime, *, known: str | None = None) -> list[dict[str, Any]]:
    """The lists with how much is in each; `known` is what to say of this one, where the list itself has told it."""
    found = []
    for view, name in VIEWS.items():
        if view == "all" and not oversees(visit.principal):
            continue
        count = known if view == query.view else None
        if count is None and view != "done":
            count = _capped(_count(visit, replace(query, view=view), now))
        if view == "snoozed" and view != query.view and count == "0":
            # A tab that most people never need is there when it has something.
            continue
        found.append({"view": view, "name": name, "count": count if view != "done" else None, "href": query.tab(view)})
    return found


def _known(query: ListQuery, rows: int, more: bool) -> str | None:
    """How much a list has by its first page. A text is looked for once: how often it is further on is not said."""
    if not more:
        return _capped(rows)
    return f"{rows}+" if query.q else None


def _capped(number: int) -> str:
    return f"{COUNTED - 1}+" if number >= COUNTED else str(number)


def _count(visit: Visit, query: ListQuery, now: datetime) -> int:
    chosen = query.filter(visit.principal, now)
    return count_human_tasks(visit.engine.database, visit.principal, chosen, limit=COUNTED)


def _next_due(visit: Visit, query: ListQuery, now: datetime) -> datetime | None:
    """When the next human task of anybody's in the team is due: what an empty list can say."""
    chosen = replace(query, view="team", q="", workflow="", gate="", sort="due_at").filter(visit.principal, now)
    page = list_human_tasks(visit.engine.database, visit.engine.core.versions, visit.principal, chosen, limit=1)
    return page.items[0].row.due_at if page.items else None


def _bad(name: str, message: str, fix: str) -> InvalidInput:
    return InvalidInput(errors=[FieldError(path=f"?{name}", message=message, fix=fix)])
