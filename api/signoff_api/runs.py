"""Runs: start, look at, cancel, retry."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response, request

from signoff.authorization import Action, authorize
from signoff.canonical import Json
from signoff.errors import FieldError, InvalidInput
from signoff.model import RunState
from signoff.store.blindness import withheld_from
from signoff.store.database import Cursor
from signoff.store.made import run_made
from signoff.store.queries_human_tasks import human_tasks_of_run
from signoff.store.queries_runs import EventView, RunFilter, get_run, list_events, list_runs, run_facts
from signoff_api import answer_models, request_models
from signoff_api.answers import answer
from signoff_api.context import Context
from signoff_api.promises import IDEMPOTENCY_KEY, LOCATION, REPLAYED
from signoff_api.requests import read_idempotency_key
from signoff_api.routing import Answer, Routes

routes = Routes(tag="runs", description="Executions of workflow versions, and their logs.")

_RUN = Answer(description="The run.", model=answer_models.Run)


@routes.route(
    "POST",
    "/runs",
    answers={
        201: Answer(description="The run, started.", model=answer_models.Run, headers=(LOCATION, REPLAYED)),
    },
    problems=(403, 404),
    headers=(IDEMPOTENCY_KEY,),
    asks_again=True,
)
def start_run(context: Context, body: request_models.StartRun) -> Response:
    """Start a run."""
    seen = _Seen(body.input)
    started = context.engine.start(
        workflow=body.workflow,
        input=body.input,
        requester=context.principal,
        version=body.version,
        labels=body.labels,
        idempotency=read_idempotency_key(request, body.model_dump(mode="json")),
        look=seen.look,
    )
    headers = {"Location": f"/api/v1/runs/{started.run_id}"}
    if started.replayed:
        headers["Idempotent-Replayed"] = "true"
    return answer(seen.run, 201, headers)


@routes.route(
    "GET", "/runs", answers={200: Answer(description="Newest first.", model=answer_models.RunPage)}, problems=(403,)
)
def read_runs(context: Context, query: request_models.RunListQuery) -> Response:
    """List the runs that you may see."""
    authorize(context.principal, Action.LIST_RUNS)
    chosen = RunFilter(
        workflow=query.workflow,
        status=query.status,
        labels=_labels(query.label),
        created_after=query.created_after,
    )
    database = context.engine.database
    page = list_runs(database, context.principal, chosen, limit=query.limit, cursor=query.cursor)
    return answer(page.to_json())


@routes.route("GET", "/runs/{run_id}", answers={200: _RUN}, problems=(404,))
def read_run(context: Context, run_id: UUID) -> Response:
    """Read one run."""
    with context.engine.database.autocommit() as cursor:
        run, facts = get_run(cursor, run_id)
    authorize(context.principal, Action.READ_RUN, facts)
    return answer(run.to_json())


@routes.route(
    "GET",
    "/runs/{run_id}/events",
    answers={200: Answer(description="Oldest first.", model=answer_models.EventPage)},
    problems=(404,),
)
def read_events(context: Context, run_id: UUID, query: request_models.EventListQuery) -> Response:
    """Read a run's log; `next_cursor` is the next `after`."""
    after = max(query.after, query.cursor or 0)
    with context.engine.database.autocommit() as cursor:
        authorize(context.principal, Action.READ_RUN, run_facts(cursor, run_id))
        page = list_events(cursor, run_id, after=after, limit=query.limit)
        tasks = human_tasks_of_run(cursor, context.engine.core.versions, run_id)
    withheld = withheld_from(tasks, context.principal)
    return answer(page.to_json() | {"items": [_event(event, withheld.known(event)) for event in page.items]})


@routes.route("POST", "/runs/{run_id}/cancel", answers={200: _RUN}, problems=(403, 404, 409))
def cancel_run(context: Context, run_id: UUID, body: request_models.CancelRun) -> Response:
    """Cancel a run and its open human tasks."""
    seen = _Seen()
    context.engine.cancel(run_id, reason=body.reason, by=context.principal, look=seen.look)
    return answer(seen.run)


@routes.route("POST", "/runs/{run_id}/retry", answers={200: _RUN}, problems=(403, 404, 409), body_optional=True)
def retry_run(context: Context, run_id: UUID, body: request_models.RetryRun) -> Response:
    """Let a failed run go on, from the failed step or an earlier one."""
    seen = _Seen()
    context.engine.retry(run_id, from_step=body.from_step, by=context.principal, look=seen.look)
    return answer(seen.run)


class _Seen:
    """The run as an operation left it, read in its transaction: a worker may have it a moment later."""

    def __init__(self, run_input: Json = None) -> None:
        self.input = run_input
        self.run: dict[str, Any] = {}

    def look(self, cursor: Cursor, run_id: UUID, made: RunState | None) -> None:
        view = get_run(cursor, run_id)[0] if made is None else run_made(made, self.input, status=made.status)
        self.run = view.to_json()


def _labels(given: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text in given:
        key, _, value = text.partition(":")
        if labels.setdefault(key, value) != value:
            raise InvalidInput(
                errors=[FieldError(path="?label", message=f"asks for two values of {key!a}", fix="ask for one")]
            )
    return labels


def _event(event: EventView, known: EventView) -> dict[str, Any]:
    return event.to_json() if known is event else known.to_json() | {"withheld": True}
