"""Who does whose work: delegations and absences, and human tasks that one puts off for oneself."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from flask import Response
from pydantic import Field

from signoff.store.delegations import NewDelegation
from signoff_api.answer_models import Actor, Id, Shown
from signoff_api.answers import answer
from signoff_api.context import Context
from signoff_api.promises import LOCATION
from signoff_api.request_models import Moment, Name, Request, Text
from signoff_api.routing import Answer, Routes

routes = Routes(tag="delegations", description="Who may decide in whose stead, and who is away.")


class NewDelegationBody(Request):
    """Who is to decide in your stead. An `absence` also says that you are away."""

    kind: Literal["delegation", "absence"] = "delegation"
    delegate: Annotated[Name | None, Field(description="The person; an absence may name nobody.")] = None
    delegator: Annotated[Name | None, Field(description="Whose right it is: you, unless an admin names another.")] = (
        None
    )
    workflow: Annotated[Name | None, Field(description="Only in this workflow.")] = None
    note: Annotated[Text | None, Field(max_length=500)] = None
    from_at: Annotated[Moment | None, Field(alias="from", description="From when it holds; at once unless given.")] = (
        None
    )
    until_at: Annotated[
        Moment | None, Field(alias="until", description="Until when; a delegation may be without an end.")
    ] = None


class DelegationListQuery(Request):
    of: Annotated[Name | None, Field(description="Whose, given and received; yours unless given, `*` for all.")] = None
    ended: Annotated[Literal["yes", "no"], Field(description="Whether to show those that are over too.")] = "no"


class Delegation(Shown):
    """`active` is whether it holds at this moment."""

    id: Id
    kind: Literal["delegation", "absence"]
    delegator: str
    delegate: str | None
    workflow: str | None
    note: str | None
    from_at: datetime
    until_at: datetime | None
    created_by: Actor
    created_at: datetime
    ended_by: Actor | None
    ended_at: datetime | None
    active: bool


class DelegationList(Shown):
    items: list[Delegation]


class SnoozeBody(Request):
    until: Annotated[Moment, Field(description="At most until it is due, and at most 30 days.")]


class Snoozed(Shown):
    id: Id
    snoozed_until: datetime | None


@routes.route(
    "GET",
    "/delegations",
    answers={200: Answer(description="The newest first.", model=DelegationList)},
    problems=(403, 404),
)
def read_delegations(context: Context, query: DelegationListQuery) -> Response:
    """List delegations and absences, those you gave and those you were given."""
    found = context.engine.list_delegations(of=query.of, ended=query.ended == "yes", by=context.principal)
    return answer({"items": [each.to_json() for each in found]})


@routes.route(
    "POST",
    "/delegations",
    answers={201: Answer(description="It is noted.", model=Delegation, headers=(LOCATION,))},
    problems=(403, 404, 409),
)
def add_delegation(context: Context, body: NewDelegationBody) -> Response:
    """Let somebody decide in your stead, or say that you are away."""
    asked = NewDelegation(**body.model_dump(exclude={"delegator"}))
    made = context.engine.delegate(asked, delegator=body.delegator, by=context.principal)
    return answer(made.to_json(), 201, {"Location": f"/api/v1/delegations/{made.id}"})


@routes.route(
    "DELETE",
    "/delegations/{delegation_id}",
    answers={200: Answer(description="It has ended, and stays to be seen.", model=Delegation)},
    problems=(403, 404),
)
def end_delegation(context: Context, delegation_id: UUID) -> Response:
    """End a delegation or an absence now."""
    return answer(context.engine.end_delegation(delegation_id, by=context.principal).to_json())


@routes.route(
    "PUT",
    "/human-tasks/{human_task_id}/snooze",
    answers={200: Answer(description="Your lists leave it out until then.", model=Snoozed)},
    problems=(404, 409),
)
def snooze_human_task(context: Context, human_task_id: UUID, body: SnoozeBody) -> Response:
    """Put a human task off for yourself. A new draft, a reminder or an escalation brings it back."""
    context.engine.snooze(human_task_id, until=body.until, by=context.principal)
    return answer({"id": str(human_task_id), "snoozed_until": body.until.isoformat()})


@routes.route(
    "DELETE",
    "/human-tasks/{human_task_id}/snooze",
    answers={200: Answer(description="It is back.", model=Snoozed)},
    problems=(404,),
)
def unsnooze_human_task(context: Context, human_task_id: UUID) -> Response:
    """Bring back what you put off."""
    context.engine.unsnooze(human_task_id, by=context.principal)
    return answer({"id": str(human_task_id), "snoozed_until": None})
