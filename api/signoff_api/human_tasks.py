"""Human tasks: the inbox, and what people do with a task short of deciding."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response

from signoff.authorization import Action, authorize
from signoff.identity import Principal
from signoff.model import format_time
from signoff.store.queries_human_tasks import HumanTaskFilter, get_human_task, list_human_tasks
from signoff_api import answer_models, request_models
from signoff_api.answers import answer, etag
from signoff_api.context import Context
from signoff_api.promises import ETAG
from signoff_api.routing import Answer, Routes

routes = Routes(tag="human tasks", description="What waits for a person, and for whom.")

_TASK = Answer(description="The human task.", model=answer_models.HumanTask, headers=(ETAG,))


@routes.route(
    "GET",
    "/human-tasks",
    answers={200: Answer(description="In the order asked for.", model=answer_models.HumanTaskPage)},
    problems=(403,),
)
def read_human_tasks(context: Context, query: request_models.HumanTaskListQuery) -> Response:
    """List the human tasks that you may see: the inbox."""
    authorize(context.principal, Action.LIST_HUMAN_TASKS)
    page = list_human_tasks(
        context.engine.database,
        context.engine.core.versions,
        context.principal,
        _filter(query, context.principal),
        limit=query.limit,
        cursor=query.cursor,
    )
    found = page.to_json()
    return answer(found | {"items": [in_brief(item) for item in found["items"]]})


@routes.route("GET", "/human-tasks/{human_task_id}", answers={200: _TASK}, problems=(404,))
def read_human_task(context: Context, human_task_id: UUID) -> Response:
    """Read one human task with everything a reviewer needs."""
    return shown(context, human_task_id, authorized=False)


@routes.route("PUT", "/human-tasks/{human_task_id}/claim", answers={200: _TASK}, problems=(403, 404, 409))
def claim_human_task(context: Context, human_task_id: UUID) -> Response:
    """Claim a human task for yourself."""
    context.engine.claim(human_task_id, by=context.principal)
    return shown(context, human_task_id)


@routes.route("DELETE", "/human-tasks/{human_task_id}/claim", answers={200: _TASK}, problems=(403, 404, 409))
def release_human_task(context: Context, human_task_id: UUID) -> Response:
    """Give a human task back."""
    context.engine.release(human_task_id, by=context.principal)
    return shown(context, human_task_id)


@routes.route("PUT", "/human-tasks/{human_task_id}/assignee", answers={200: _TASK}, problems=(403, 404, 409))
def assign_human_task(context: Context, human_task_id: UUID, body: request_models.Assign) -> Response:
    """Assign a human task to a candidate, or delegate your own."""
    context.engine.assign(human_task_id, assignee=body.assignee, by=context.principal)
    return shown(context, human_task_id)


@routes.route(
    "POST",
    "/human-tasks/{human_task_id}/comments",
    answers={201: Answer(description="The comment.", model=answer_models.Comment)},
    problems=(404,),
)
def comment_on_human_task(context: Context, human_task_id: UUID, body: request_models.AddComment) -> Response:
    """Add a comment; it becomes part of the log."""
    event = context.engine.comment(human_task_id, text=body.text, by=context.principal)
    with context.engine.database.autocommit() as cursor:
        view = get_human_task(cursor, context.engine.core.versions, human_task_id, detail=False)
    comment = {
        "id": f"{view.row.run_id}:{event.seq}",
        "text": event.data["text"],
        "by": event.actor.to_json(),
        "at": format_time(event.at),
    }
    return answer(comment, 201)


def in_brief(found: dict[str, Any]) -> dict[str, Any]:
    """A human task among others: null for what is shown of one alone, so that the fields are the same everywhere."""
    return {"context": None, "comments": None} | found


def shown(context: Context, human_task_id: UUID, *, authorized: bool = True) -> Response:
    """The human task as the caller sees it; after an operation of theirs they need not be asked again."""
    with context.engine.database.autocommit() as cursor:
        view = get_human_task(cursor, context.engine.core.versions, human_task_id)
    if not authorized:
        authorize(context.principal, Action.READ_HUMAN_TASK, view.facts)
    found = view.for_viewer(context.principal).to_json()
    return answer(found, headers={"ETag": etag(view.row.revision)})


def _filter(query: request_models.HumanTaskListQuery, viewer: Principal) -> HumanTaskFilter:
    assignee = {"me": viewer.name, "none": ""}.get(query.assignee or "", query.assignee)
    return HumanTaskFilter(
        state=query.state,
        workflow=query.workflow,
        gate=query.gate,
        run=query.run,
        assignee=assignee,
        candidate=viewer.name if query.candidate == "me" else query.candidate,
        due_before=query.due_before,
        q=query.q,
        snoozed=query.snoozed,
        sort=query.sort,
    )
