"""Webhooks: endpoints that are told of events, and what was sent to them. For administrators."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from flask import Response
from pydantic import Field, StringConstraints

from signoff.authorization import Action, authorize
from signoff.store import webhook_deliveries, webhooks
from signoff.webhooks.catalogue import TOLD
from signoff.webhooks.targets import MAX_URL, check_url
from signoff_api.answer_models import Actor, Id, Shown
from signoff_api.answers import answer
from signoff_api.context import Context
from signoff_api.promises import LOCATION
from signoff_api.request_models import Limit, Request
from signoff_api.routing import Answer, Routes

routes = Routes(tag="webhooks", description="Endpoints that are told of events, signed by Standard Webhooks.")

MAX_OVERLAP_HOURS = 720


class NewWebhook(Request):
    """An endpoint: `events` empty means all there are to tell."""

    url: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_URL)]
    events: Annotated[
        list[Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64)]],
        Field(max_length=len(TOLD), description=f"Any of {', '.join(TOLD)}."),
    ] = Field(default_factory=list)
    include_payload: Annotated[
        bool, Field(strict=True, description="Send titles, reasons and payloads too, not only ids.")
    ] = False


class RotateWebhook(Request):
    """How long deliveries are signed with the old secret too."""

    overlap_hours: Annotated[float, Field(strict=True, ge=0, le=MAX_OVERLAP_HOURS)] = 24.0


class DeliveryListQuery(Request):
    state: Annotated[Literal["pending", "delivered", "dead"] | None, Field(description="Only those of this state.")] = (
        None
    )
    limit: Annotated[Limit, Field(description="How many to show, the newest.")] = 50


class Webhook(Shown):
    """An endpoint. Its secret is shown once, when it is made."""

    id: Id
    url: str
    events: list[str]
    include_payload: bool
    created_by: Actor
    created_at: datetime
    disabled_at: datetime | None
    disabled_why: str | None
    old_secret_until: datetime | None
    failures: int


class WebhookMade(Webhook):
    secret: str


class WebhookList(Shown):
    items: list[Webhook]


class WebhookSecret(Shown):
    secret: str


class WebhookDelivery(Shown):
    """One telling. Its id is the header `webhook-id`, the same at every attempt."""

    id: Id
    endpoint_id: Id
    run_id: Id | None
    seq: int | None
    type: str
    state: Literal["pending", "delivered", "dead"]
    attempts: int
    status: int | None
    error: str | None
    created_at: datetime
    attempted_at: datetime | None
    due_at: datetime | None


class WebhookDeliveryList(Shown):
    items: list[WebhookDelivery]


class WebhookTest(Shown):
    delivery_id: Id


class WebhookRemoved(Shown):
    id: Id
    removed: Literal[True]


@routes.route(
    "GET", "/webhooks", answers={200: Answer(description="The oldest first.", model=WebhookList)}, problems=(403,)
)
def read_webhooks(context: Context) -> Response:
    """List the endpoints, disabled ones too."""
    authorize(context.principal, Action.MANAGE_WEBHOOKS)
    return answer({"items": [each.to_json() for each in webhooks.list_endpoints(context.engine.database)]})


@routes.route(
    "POST",
    "/webhooks",
    answers={201: Answer(description="With its secret.", model=WebhookMade, headers=(LOCATION,))},
    problems=(403, 409),
)
def add_webhook(context: Context, body: NewWebhook) -> Response:
    """Add an endpoint. The secret is in this answer and in no other."""
    authorize(context.principal, Action.MANAGE_WEBHOOKS)
    check_url(body.url, context.settings.webhook_policy())
    made, secret = webhooks.add_endpoint(
        context.engine.database,
        url=body.url,
        events=body.events,
        include_payload=body.include_payload,
        by=context.principal.actor,
    )
    return answer(made.to_json() | {"secret": secret}, 201, {"Location": f"/api/v1/webhooks/{made.id}"})


@routes.route(
    "GET",
    "/webhooks/{webhook_id}",
    answers={200: Answer(description="The endpoint.", model=Webhook)},
    problems=(403, 404),
)
def read_webhook(context: Context, webhook_id: UUID) -> Response:
    """Read an endpoint."""
    authorize(context.principal, Action.MANAGE_WEBHOOKS)
    return answer(webhooks.get_endpoint(context.engine.database, webhook_id).to_json())


@routes.route(
    "DELETE",
    "/webhooks/{webhook_id}",
    answers={200: Answer(description="It is told nothing more.", model=WebhookRemoved)},
    problems=(403, 404),
)
def remove_webhook(context: Context, webhook_id: UUID) -> Response:
    """Remove an endpoint with its deliveries."""
    authorize(context.principal, Action.MANAGE_WEBHOOKS)
    webhooks.remove_endpoint(context.engine.database, webhook_id)
    return answer({"id": str(webhook_id), "removed": True})


@routes.route(
    "POST",
    "/webhooks/{webhook_id}/secret",
    answers={200: Answer(description="The new secret.", model=WebhookSecret)},
    problems=(403, 404),
    body_optional=True,
)
def rotate_webhook_secret(context: Context, webhook_id: UUID, body: RotateWebhook) -> Response:
    """Make a new secret. For a while deliveries are signed by both, so that receivers can follow."""
    authorize(context.principal, Action.MANAGE_WEBHOOKS)
    overlap = timedelta(hours=body.overlap_hours)
    return answer({"secret": webhooks.rotate_secret(context.engine.database, webhook_id, overlap=overlap)})


@routes.route(
    "POST",
    "/webhooks/{webhook_id}/enable",
    answers={200: Answer(description="The endpoint.", model=Webhook)},
    problems=(403, 404),
)
def enable_webhook(context: Context, webhook_id: UUID) -> Response:
    """Tell a disabled endpoint again, of events from now on."""
    authorize(context.principal, Action.MANAGE_WEBHOOKS)
    return answer(webhooks.enable_endpoint(context.engine.database, webhook_id).to_json())


@routes.route(
    "POST",
    "/webhooks/{webhook_id}/test",
    answers={200: Answer(description="What will be sent.", model=WebhookTest)},
    problems=(403, 404, 409),
)
def send_webhook_test(context: Context, webhook_id: UUID) -> Response:
    """Let a worker send `webhook.test` to an endpoint."""
    authorize(context.principal, Action.MANAGE_WEBHOOKS)
    return answer({"delivery_id": str(webhooks.add_test(context.engine.database, webhook_id))})


@routes.route(
    "GET",
    "/webhooks/{webhook_id}/deliveries",
    answers={200: Answer(description="The newest first.", model=WebhookDeliveryList)},
    problems=(403, 404),
)
def read_webhook_deliveries(context: Context, webhook_id: UUID, query: DeliveryListQuery) -> Response:
    """List what was sent to an endpoint, is still to be sent, or was given up."""
    authorize(context.principal, Action.MANAGE_WEBHOOKS)
    found = webhook_deliveries.list_deliveries(
        context.engine.database, webhook_id, state=query.state, limit=query.limit
    )
    return answer({"items": [each.to_json() for each in found]})


@routes.route(
    "POST",
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
    answers={200: Answer(description="The delivery, due now.", model=WebhookDelivery)},
    problems=(403, 404, 409),
)
def redeliver_webhook(context: Context, webhook_id: UUID, delivery_id: UUID) -> Response:
    """Send a delivery once more, under the id it had."""
    authorize(context.principal, Action.MANAGE_WEBHOOKS)
    found = webhook_deliveries.redeliver(context.engine.database, delivery_id, endpoint_id=webhook_id)
    return answer(found.to_json())
