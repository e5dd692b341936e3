"""Decisions: one, or one each on several human tasks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from flask import Response, request

from signoff.engine import BulkItem, BulkResult, Decided, DecisionRequest
from signoff.engine.core import Locked
from signoff.failpoints import hit
from signoff.store.database import Cursor
from signoff.store.idempotency import IdempotencyKey
from signoff.store.made import human_task_made, run_made
from signoff.store.queries_human_tasks import get_decisions
from signoff_api import answer_models, problems, request_models
from signoff_api.answers import answer, etag
from signoff_api.context import Context
from signoff_api.human_tasks import in_brief
from signoff_api.promises import ETAG, IDEMPOTENCY_KEY, IF_MATCH, REPLAYED
from signoff_api.requests import read_idempotency_key, read_revision
from signoff_api.routing import Answer, Routes

routes = Routes(tag="decisions", description="What people say, and what becomes of it.")


@routes.route(
    "POST",
    "/human-tasks/{human_task_id}/decisions",
    answers={
        201: Answer(description="Recorded.", model=answer_models.Decided, headers=(ETAG,)),
        200: Answer(description="It stood already.", model=answer_models.Decided, headers=(ETAG, REPLAYED)),
    },
    problems=(403, 404, 409, 412, 428),
    headers=(IF_MATCH, IDEMPOTENCY_KEY),
    asks_again=True,
)
def decide(context: Context, human_task_id: UUID, body: request_models.Decide) -> Response:
    """Decide on a human task.

    Say what you saw, by `payload_sha256` or `If-Match`. Whoever says the same of the same revision again gets
    the first answer again.
    """
    said = DecisionRequest(**body.model_dump(), revision=read_revision(request), surface="api")
    key = read_idempotency_key(request, body.model_dump(mode="json"))
    return answer_decision(context, human_task_id, said, key)


def answer_decision(
    context: Context,
    human_task_id: UUID,
    said: DecisionRequest,
    key: IdempotencyKey | None,
    *,
    check: Callable[[Cursor], None] | None = None,
) -> Response:
    """Decide, and answer what became of it; `check` may still refuse in the transaction that decides."""
    found: dict[str, Any] = {}

    def look(cursor: Cursor, decided: Decided, locked: Locked) -> None:
        if check is not None:
            check(cursor)
        found.update(_shown(context, decided, locked))

    # Seen in the transaction that decides: `run` is what the decision made of it, and not what a worker has since.
    decided = context.engine.decide(human_task_id, said, by=context.principal, idempotency=key, look=look)
    headers = {"ETag": etag(found["human_task"]["revision"])}
    if decided.replayed:
        headers["Idempotent-Replayed"] = "true"
    response = answer(found, 200 if decided.replayed else 201, headers)
    response.call_on_close(partial(hit, "decide.after_response"))
    return response


@routes.route(
    "POST",
    "/bulk-decisions",
    answers={200: Answer(description="What became of each, in order.", model=answer_models.BulkDecided)},
)
def decide_in_bulk(context: Context, body: request_models.DecideInBulk) -> Response:
    """Decide the same on several human tasks; each stands or fails on its own."""
    items = [BulkItem(human_task_id=item.id, payload_sha256=item.payload_sha256) for item in body.items]
    outcome = context.engine.decide_in_bulk(
        decision=body.decision, note=body.note, items=items, by=context.principal, surface="api"
    )
    with context.engine.database.autocommit() as cursor:
        said = get_decisions(cursor, [result.human_task_id for result in outcome.results if result.decided])
    made = {view.id: view.to_json() for views in said.values() for view in views}
    results = [_bulk_result(result, made) for result in outcome.results]
    return answer({"bulk_id": str(outcome.bulk_id), "items": results})


def _shown(context: Context, decided: Decided, locked: Locked) -> dict[str, Any]:
    # What the transaction holds of both.
    task = human_task_made(locked.state, locked.fold.graph, decided.human_task_id)
    status = context.engine.core.lease_after(locked).status
    run = run_made(locked.state, locked.run_input, status=status)
    return {
        "decision": next(said for said in task.decisions if said.id == decided.decision_id).to_json(),
        "human_task": in_brief(task.for_viewer(context.principal).to_json()),
        "run": run.to_json(),
    }


def _bulk_result(result: BulkResult, made: dict[UUID, dict[str, object]]) -> dict[str, object]:
    problem = None if result.error is None else problems.to_problem(result.error)
    status = 201 if problem is None else problem["status"]
    if result.decided is not None and result.decided.replayed:
        status = 200
    return {
        "id": str(result.human_task_id),
        "status": status,
        "decision": made[result.decided.decision_id] if result.decided is not None else None,
        "problem": problem,
    }
