"""`signoff webhook`: endpoints that are told of events, and what was sent to them; in the database."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import typer

from signoff.cli.options import AsJson, Limit
from signoff.cli.output import Listing, Output
from signoff.errors import NotFound, SignoffError

if TYPE_CHECKING:
    from signoff.store.webhook_deliveries import Delivery
    from signoff.store.webhooks import Endpoint

_webhooks = typer.Typer(
    no_args_is_help=True, help="Endpoints that are told of events. Needs the database, not the API."
)

EndpointId = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Id of the endpoint, of `webhook list`.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(_webhooks, name="webhook", rich_help_panel="Operations")


@_webhooks.command("add")
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to send to: https://host/path.")],
    *,
    event: Annotated[
        list[str] | None, typer.Option("--event", "-e", help="Only this event, such as gate.opened; may be repeated.")
    ] = None,
    include_payload: Annotated[
        bool, typer.Option("--include-payload", help="Send titles, reasons and payloads too, not only ids.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add an endpoint. Its secret is printed now and never again."""
    from signoff.cli.direct import load, opened_database
    from signoff.model import SYSTEM
    from signoff.store.webhooks import add_endpoint
    from signoff.webhooks.targets import check_url

    check_url(url, load().webhook_policy())
    with opened_database() as database:
        made, secret = add_endpoint(database, url=url, events=event or (), include_payload=include_payload, by=SYSTEM)
    output = Output(as_json=as_json)
    if as_json:
        output.json(made.to_json() | {"secret": secret})
        return
    # The secret alone goes to standard output: SECRET=$(signoff webhook add URL)
    sys.stdout.write(f"{secret}\n")
    output.note(f"the secret of {made.id}; it can't be shown again")


@_webhooks.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List all endpoints, disabled ones too."""
    from signoff.cli.direct import opened_database
    from signoff.cli.text import ago
    from signoff.store.webhooks import list_endpoints

    with opened_database() as database:
        found = list_endpoints(database)
    output = Output(as_json=as_json)
    if as_json:
        output.json([each.to_json() for each in found])
        return
    rows = Listing("ENDPOINT", "URL", "EVENTS", "MADE", "STATE", flexible=1)
    for each in found:
        rows.add(str(each.id), each.url, _events(each), ago(each.created_at), _state(each))
    output.listing(rows)


@_webhooks.command("remove")
def remove(endpoint: EndpointId, as_json: AsJson = False) -> None:
    """Remove an endpoint with its deliveries; what is not sent yet is not sent."""
    from signoff.cli.direct import opened_database
    from signoff.store.webhooks import remove_endpoint

    endpoint_id = _id(endpoint)
    with opened_database() as database:
        remove_endpoint(database, endpoint_id)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"id": str(endpoint_id), "removed": True})
    else:
        output.line(f"{endpoint_id} is told nothing more")


@_webhooks.command("enable")
def enable(endpoint: EndpointId, as_json: AsJson = False) -> None:
    """Tell a disabled endpoint again, of events from now on."""
    from signoff.cli.direct import opened_database
    from signoff.store.webhooks import enable_endpoint

    with opened_database() as database:
        found = enable_endpoint(database, _id(endpoint))
    output = Output(as_json=as_json)
    if as_json:
        output.json(found.to_json())
    else:
        output.line(f"{found.id} is told again")


@_webhooks.command("rotate")
def rotate(
    endpoint: EndpointId,
    *,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the old secret signs too: 24h, at most 30d.")
    ] = "24h",
    as_json: AsJson = False,
) -> None:
    """Make a new secret. For a while deliveries are signed by both, so that receivers can follow."""
    from signoff.cli.direct import opened_database
    from signoff.store.webhooks import rotate_secret

    lasts = _overlap(overlap)
    with opened_database() as database:
        secret = rotate_secret(database, _id(endpoint), overlap=lasts)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"secret": secret})
        return
    sys.stdout.write(f"{secret}\n")
    output.note(f"the new secret of {endpoint}; the old one signs too for {overlap}")


@_webhooks.command("test")
def send_test(endpoint: EndpointId, as_json: AsJson = False) -> None:
    """Let a worker send `webhook.test` to an endpoint."""
    from signoff.cli.direct import opened_database
    from signoff.store.webhooks import add_test

    with opened_database() as database:
        delivery_id = add_test(database, _id(endpoint))
    output = Output(as_json=as_json)
    if as_json:
        output.json({"delivery_id": str(delivery_id)})
        return
    output.line(f"{delivery_id} will be sent")
    output.note(f"how it went: signoff webhook deliveries {endpoint}")


@_webhooks.command("deliveries")
def deliveries(
    endpoint: EndpointId,
    *,
    state: Annotated[
        Literal["pending", "delivered", "dead"] | None, typer.Option(help="Only those of this state.")
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List what was sent to an endpoint, is still to be sent, or was given up; the newest first."""
    from signoff.cli.direct import opened_database
    from signoff.cli.text import ago, until
    from signoff.store.webhook_deliveries import list_deliveries

    with opened_database() as database:
        found = list_deliveries(database, _id(endpoint), state=state, limit=limit)
    output = Output(as_json=as_json)
    if as_json:
        output.json([each.to_json() for each in found])
        return
    rows = Listing("DELIVERY", "EVENT", "RUN", "MADE", "STATE", "TRIES", "LAST", flexible=6)
    for each in found:
        run = "" if each.run_id is None else str(each.run_id)
        waits = each.due_at is not None and each.attempts > 0
        shown = f"again {until(each.due_at)}" if waits and each.due_at is not None else each.state
        rows.add(str(each.id), each.type, run, ago(each.created_at), shown, str(each.attempts), _last(each))
    output.listing(rows)


@_webhooks.command("redeliver")
def redeliver(
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of the delivery.")], as_json: AsJson = False
) -> None:
    """Send a delivery once more, under the id it had: receivers that have it take it for the same."""
    from signoff.cli.direct import opened_database
    from signoff.store.webhook_deliveries import redeliver as send_again

    with opened_database() as database:
        found = send_again(database, _id(delivery, "delivery"))
    output = Output(as_json=as_json)
    if as_json:
        output.json(found.to_json())
    else:
        output.line(f"{found.id} will be sent again")


def _id(text: str, what: str = "webhook endpoint") -> UUID:
    from signoff.ids import parse_id

    found = parse_id(text)
    if found is None:
        raise NotFound(f"there is no such {what}", fix="signoff webhook list")
    return found


def _overlap(text: str) -> timedelta:
    from signoff.durations import parse_duration

    try:
        found = timedelta(milliseconds=parse_duration(text))
    except ValueError as error:
        raise SignoffError(str(error), code="usage", fix="--overlap 24h") from error
    if found > timedelta(days=30):
        raise SignoffError("the old secret may sign for 30 days at most", code="usage", fix="--overlap 24h")
    return found


def _events(endpoint: Endpoint) -> str:
    from signoff.webhooks.catalogue import TOLD

    return "all" if len(endpoint.events) == len(TOLD) else ", ".join(endpoint.events)


def _state(endpoint: Endpoint) -> str:
    if endpoint.disabled_at is not None:
        return f"disabled: {endpoint.disabled_why}"
    return f"failing ({endpoint.failures})" if endpoint.failures else ""


def _last(delivery: Delivery) -> str:
    return delivery.error or ("" if delivery.status is None else str(delivery.status))
