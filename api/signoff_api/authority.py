"""Limits of authority: up to what somebody may approve. For administrators, and for none of them about themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from flask import Response
from pydantic import Field, StringConstraints

from signoff.authority import ANY, MAX_LIMIT
from signoff_api.answer_models import Actor, Id, Shown
from signoff_api.answers import answer
from signoff_api.context import Context
from signoff_api.request_models import Request
from signoff_api.routing import Answer, Routes

routes = Routes(tag="authority", description="Up to what a person or a group may approve, where a gate asks for it.")

Subject = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]
Place = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64)]


class SetLimit(Request):
    """One limit. It supersedes the one that this subject has for the same workflow and gate."""

    subject: Annotated[Subject, Field(description="`user:NAME` or `group:NAME`.")]
    limit: Annotated[
        str,
        StringConstraints(strict=True, min_length=1, max_length=MAX_LIMIT),
        Field(description="A CEL condition over the payload, such as `amount <= 500.0`."),
    ]
    workflow: Annotated[Place, Field(description="`*` for every workflow.")] = ANY
    gate: Annotated[Place, Field(description="`*` for every gate that asks for authority.")] = ANY


class AuthorityQuery(Request):
    subject: Annotated[Subject | None, Field(description="Only those of this subject.")] = None
    ended: Annotated[bool, Field(description="Also those that hold no more.")] = False


class AuthorityLimit(Shown):
    """A limit, who set it and when; `ended_at` where it holds no more."""

    id: Id
    subject: str
    workflow: str
    gate: str
    limit: str
    set_by: Actor
    set_at: datetime
    ended_by: Actor | None
    ended_at: datetime | None


class AuthorityList(Shown):
    items: list[AuthorityLimit]


@routes.route(
    "GET",
    "/authority",
    answers={200: Answer(description="By subject, the newest first.", model=AuthorityList)},
    problems=(403,),
)
def read_authority(context: Context, query: AuthorityQuery) -> Response:
    """List the limits of authority."""
    found = context.engine.list_limits(subject=query.subject, ended=query.ended, by=context.principal)
    return answer({"items": [each.to_json() for each in found]})


@routes.route(
    "PUT",
    "/authority",
    answers={200: Answer(description="It holds from now on.", model=AuthorityLimit)},
    problems=(403,),
)
def set_authority(context: Context, body: SetLimit) -> Response:
    """Set a limit of authority. Nobody sets one that would be their own."""
    made = context.engine.set_limit(
        subject=body.subject, limit=body.limit, workflow=body.workflow, gate=body.gate, by=context.principal
    )
    return answer(made.to_json())


@routes.route(
    "DELETE",
    "/authority/{limit_id}",
    answers={200: Answer(description="It holds no more, and is kept.", model=AuthorityLimit)},
    problems=(403, 404),
)
def remove_authority(context: Context, limit_id: UUID) -> Response:
    """Let a limit of authority hold no more."""
    return answer(context.engine.remove_limit(limit_id, by=context.principal).to_json())
