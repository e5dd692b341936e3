"""Runs: the list, and one with its graph, its timeline and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import orjson
from flask import Response, request

from signoff.authorization import Action, RunFacts, authorize, is_allowed, may_list, reach
from signoff.canonical import Json
from signoff.definition.graph import Graph
from signoff.engine.runs import MAX_REASON
from signoff.errors import Conflict, FieldError, Forbidden, InvalidInput, NotFound, SignoffError
from signoff.ids import parse_id
from signoff.model import RunStatus
from signoff.store.blindness import withheld_from
from signoff.store.evidence import in_one_snapshot
from signoff.store.queries import Page
from signoff.store.queries_human_task_views import HumanTaskView
from signoff.store.queries_human_tasks import human_tasks_of_run
from signoff.store.queries_path import NodeFact, compensations, node_facts
from signoff.store.queries_runs import EventView, RunFilter, RunView, get_run, list_events, list_runs
from signoff.store.queries_workflows import list_workflows
from signoff_api import problems
from signoff_api.inbox import arguments
from signoff_api.inbox.graph_svg import draw
from signoff_api.inbox.pages import Pages, Visit, render, see_other
from signoff_api.inbox.run_path import Path
from signoff_api.inbox.text import MAX_SHOWN
from signoff_api.inbox.timeline import entries

RUNS_SHOWN = 30
EVENTS_SHOWN = 50
CHILDREN_SHOWN = 20
MAX_WORKFLOWS = 200
STATUSES = tuple(str(status) for status in RunStatus)

pages = Pages()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """An action that was not done: which, why, and what had been typed."""

    action: str
    error: SignoffError

    @property
    def status(self) -> int:
        return problems.kind_of(self.error).status

    @property
    def fields(self) -> dict[str, FieldError]:
        """The bad fields by their names."""
        found = self.error.errors if isinstance(self.error, InvalidInput) else ()
        return {error.path.removeprefix("/"): error for error in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """All that is read of a run for its page, of one moment."""

    run: RunView
    facts: RunFacts
    graph: Graph
    tasks: tuple[HumanTaskView, ...]
    nodes: dict[str, NodeFact]
    made: frozenset[UUID]
    parent: UUID | None
    events: Page[EventView]


@pages.route("GET", "/runs", key="runs")
def show_runs(visit: Visit) -> Response:
    """The runs that the visitor may see, newest first."""
    authorize(visit.principal, Action.LIST_RUNS)
    found: Page[RunView] = Page(items=(), next_cursor=None)
    problem: InvalidInput | None = None
    try:
        found = _search(visit)
    except InvalidInput as error:
        # In place, with what was typed: the form is right above the message.
        problem = error
    kept = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor" and value]
    return render(
        "runs.html",
        visit,
        422 if problem is not None else 200,
        title="Runs",
        runs=found.items,
        next_page=f"/runs?{urlencode([*kept, ('cursor', found.next_cursor)])}" if found.next_cursor else None,
        first_page=f"/runs?{urlencode(kept)}" if request.args.get("cursor") else None,
        problem=problem,
        filtered=bool(kept),
        statuses=STATUSES,
        workflows=_workflows(visit),
        labels=[value for value in request.args.getlist("label") if value.strip()][: arguments.MAX_LABELS],
        asked=request.args,
    )


@pages.route("GET", "/runs/{run_id}", key="runs")
def show_run(visit: Visit, run_id: UUID) -> Response:
    """One run."""
    return _page(visit, run_id)


@pages.route("POST", "/runs/{run_id}/cancel", key="runs")
def cancel_run_by_form(visit: Visit, run_id: UUID) -> Response:
    """Cancel a run and its open human tasks."""
    reason = request.form.get("reason", "").replace("\r\n", "\n")

    def cancel() -> None:
        _confirmed("say that you mean it: its open human tasks are canceled too")
        visit.engine.cancel(run_id, reason=reason, by=visit.principal)

    return _act(visit, run_id, "cancel", cancel)


@pages.route("POST", "/runs/{run_id}/retry", key="runs")
def retry_run_by_form(visit: Visit, run_id: UUID) -> Response:
    """Let a failed run go on."""
    from_step = request.form.get("from_step", "") or None

    def retry() -> None:
        _confirmed("say that you mean it: the steps from there on are done, again where they had been")
        visit.engine.retry(run_id, from_step=from_step, by=visit.principal)

    return _act(visit, run_id, "retry", retry)


def cut_json(value: Json) -> str:
    """A value as JSON on several lines, cut where it is too long for a page."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _act(visit: Visit, run_id: UUID, action: str, do: Callable[[], None]) -> Response:
    try:
        do()
    except (InvalidInput, Conflict, Forbidden) as error:
        return _page(visit, run_id, refusal=_Refusal(action=action, error=error))
    return see_other(f"/runs/{run_id}")


def _confirmed(otherwise: str) -> None:
    if request.form.get("confirm") != "yes":
        raise InvalidInput(errors=[FieldError(path="/confirm", message=otherwise)])


def _search(visit: Visit) -> Page[RunView]:
    """What the filters find. A search by id finds one run or none."""
    wanted = arguments.run_id("q")
    database = visit.engine.database
    if wanted is not None:
        with database.autocommit() as cursor:
            try:
                run, facts = get_run(cursor, wanted)
                authorize(visit.principal, Action.READ_RUN, facts)
            except NotFound:
                return Page(items=(), next_cursor=None)
        return Page(items=(run,), next_cursor=None)
    chosen = RunFilter(
        workflow=arguments.text("workflow"),
        status=arguments.choice("status", STATUSES),
        labels=arguments.labels(),
    )
    return list_runs(database, visit.principal, chosen, limit=RUNS_SHOWN, cursor=arguments.cursor())


def _workflows(visit: Visit) -> list[str]:
    """The names to choose from, for those who may know them."""
    if not may_list(visit.principal, Action.READ_WORKFLOWS):
        return []
    shown = reach(visit.principal, Action.READ_WORKFLOWS)
    return [found.name for found in list_workflows(visit.engine.database, shown, limit=MAX_WORKFLOWS).items]


def _page(visit: Visit, run_id: UUID, *, refusal: _Refusal | None = None) -> Response:
    after = arguments.number("after")
    known = _read(visit, run_id, after)
    path = Path(known.graph, known.run, known.nodes)
    told = list(entries(known.events.items, tasks=known.tasks, withheld=withheld_from(known.tasks, visit.principal)))
    return render(
        "run.html",
        visit,
        200 if refusal is None else refusal.status,
        title=f"Run {run_id}",
        run=known.run,
        graph=draw(path),
        entries=told,
        tasks=[(task.row, is_allowed(visit.principal, Action.READ_HUMAN_TASK, task.facts)) for task in known.tasks],
        parent=known.parent,
        children=_children(visit, known),
        later=f"?after={known.events.next_cursor}" if known.events.next_cursor else None,
        after=after,
        cut_json=cut_json,
        steps=[name for name in known.graph.nodes if name in known.nodes and name != known.run.node],
        may_cancel=not RunStatus(known.run.status).finished
        and is_allowed(visit.principal, Action.CANCEL_RUN, known.facts),
        may_retry=known.run.status == RunStatus.FAILED and is_allowed(visit.principal, Action.RETRY_RUN, known.facts),
        may_audit=is_allowed(visit.principal, Action.READ_AUDIT, known.facts),
        refusal=refusal,
        typed=request.form,
        max_reason=MAX_REASON,
    )


def _read(visit: Visit, run_id: UUID, after: int) -> _Known:
    """The run as it is at one moment. Raises NotFound for one that the visitor may not see."""
    with visit.engine.database.transaction() as cursor:
        in_one_snapshot(cursor)
        run, facts = get_run(cursor, run_id)
        authorize(visit.principal, Action.READ_RUN, facts)
        (created,) = list_events(cursor, run_id, upto=1, limit=1).items
        return _Known(
            run=run,
            facts=facts,
            graph=visit.engine.core.versions.graph(cursor, run.workflow, run.version),
            tasks=human_tasks_of_run(cursor, visit.engine.core.versions, run_id),
            nodes=node_facts(cursor, run_id),
            made=frozenset(compensations(cursor, run_id)),
            parent=_parent(created.data),
            events=list_events(cursor, run_id, after=after, limit=EVENTS_SHOWN),
        )


def _parent(created: dict[str, Any]) -> UUID | None:
    """The run whose late review started this one. A label alone proves nothing: anybody may give one."""
    parent = created.get("parent")
    return parse_id(str(parent.get("run_id"))) if isinstance(parent, dict) else None


def _children(visit: Visit, known: _Known) -> list[tuple[RunView, bool]]:
    """The runs that say they make up for this one, and whether its own log says so too."""
    if not is_allowed(visit.principal, Action.LIST_RUNS):
        return []
    named = RunFilter(labels={"compensates": str(known.run.id)})
    found = list_runs(visit.engine.database, visit.principal, named, limit=CHILDREN_SHOWN)
    return [(run, run.id in known.made) for run in found.items]
