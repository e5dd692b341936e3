"""`signoff notify`: channels through which people are told, and what was sent to them; in the database."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import typer

from signoff.cli.options import AsJson, Limit
from signoff.cli.output import Listing, Output
from signoff.errors import NotFound

if TYPE_CHECKING:
    from signoff.identity import Principal
    from signoff.store.database import Database
    from signoff.store.notification_channels import Channel

_notify = typer.Typer(
    no_args_is_help=True,
    help="Tell people by mail, Slack, Teams and other services. Needs the database, not the API.",
)

ChannelId = Annotated[str, typer.Argument(metavar="CHANNEL", help="Id of the channel, of `notify channels`.")]
As = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Do it as this principal, with no right but theirs.")
]


def add_to(app: typer.Typer) -> None:
    app.add_typer(_notify, name="notify", rich_help_panel="Operations")


@contextmanager
def _opened(name: str | None) -> Iterator[tuple[Database, Principal]]:
    """The database, and who acts: whoever has the database's URL may do everything, unless they say who they are."""
    from signoff.cli.direct import opened_database
    from signoff.identity import Principal
    from signoff.model import SYSTEM
    from signoff.store.identity import find_principal

    with opened_database() as database:
        if name is None:
            yield (
                database,
                Principal(id=UUID(int=0), name=SYSTEM.name, kind="system", roles=frozenset({"admin"})),
            )
            return
        with database.transaction() as cursor:
            found = find_principal(cursor, name)
        if found is None:
            raise NotFound(f"there is no principal {name!r}", fix="signoff principal list")
        yield database, found


@_notify.command("add")
def add(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="Whom to tell: user:NAME or group:NAME.")],
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Apprise URL; `-` reads it from standard input, out of the history.")
    ],
    *,
    event: Annotated[
        list[str] | None, typer.Option("--event", "-e", help="Only this event, such as gate.opened; may be repeated.")
    ] = None,
    include_payload: Annotated[
        bool, typer.Option("--include-payload", help="Send payloads, notes and reasons too.")
    ] = False,
    as_: As = None,
    as_json: AsJson = False,
) -> None:
    """Add a channel. Its URL is never shown again, but for the service and where it leads."""
    from signoff.cli.direct import load
    from signoff.engine import channels

    given = sys.stdin.readline().strip() if url == "-" else url
    with _opened(as_) as (database, by):
        made = channels.add(
            database,
            load(),
            subject=subject,
            url=given,
            events=event or (),
            include_payload=include_payload,
            by=by,
        )
    output = Output(as_json=as_json)
    if as_json:
        output.json(made.to_json())
        return
    output.line(f"{made.id} tells {made.subject} by {made.shown}")
    output.note(f"try it: signoff notify test {made.id}")


@_notify.command("channels")
def list_channels(as_: As = None, as_json: AsJson = False) -> None:
    """List all channels, disabled ones too; with `--as`, those that this principal may see."""
    from signoff.cli.text import ago
    from signoff.engine import channels

    with _opened(as_) as (database, by):
        found = channels.list_all(database, by=by)
    output = Output(as_json=as_json)
    if as_json:
        output.json([each.to_json() for each in found])
        return
    rows = Listing("CHANNEL", "SUBJECT", "SERVICE", "EVENTS", "MADE", "STATE", flexible=2)
    for each in found:
        rows.add(str(each.id), each.subject, each.shown, _events(each), ago(each.created_at), _state(each))
    output.listing(rows)


@_notify.command("remove")
def remove(channel: ChannelId, as_: As = None, as_json: AsJson = False) -> None:
    """Remove a channel; what is not sent to it yet is not sent."""
    from signoff.engine import channels

    channel_id = _id(channel)
    with _opened(as_) as (database, by):
        channels.remove(database, channel_id, by=by)
    _answer(as_json, {"id": str(channel_id), "removed": True}, f"{channel_id} is told nothing more")


@_notify.command("disable")
def disable(channel: ChannelId, as_: As = None, as_json: AsJson = False) -> None:
    """Tell a channel nothing more for now; what was still to be sent to it is dead."""
    from signoff.engine import channels

    channel_id = _id(channel)
    with _opened(as_) as (database, by):
        channels.disable(database, channel_id, by=by)
    _answer(as_json, {"id": str(channel_id), "disabled": True}, f"{channel_id} is told nothing until it is enabled")


@_notify.command("enable")
def enable(channel: ChannelId, as_: As = None, as_json: AsJson = False) -> None:
    """Tell a disabled channel again, of events from now on."""
    from signoff.engine import channels

    with _opened(as_) as (database, by):
        found = channels.enable(database, _id(channel), by=by)
    _answer(as_json, found.to_json(), f"{found.id} is told again")


@_notify.command("test")
def send_test(channel: ChannelId, as_: As = None, as_json: AsJson = False) -> None:
    """Let a worker send something to try a channel."""
    from signoff.engine import channels

    with _opened(as_) as (database, by):
        made = channels.test(database, _id(channel), by=by)
    _answer(as_json, {"notification_id": str(made)}, f"{made} will be sent")
    if not as_json:
        Output().note(f"how it went: signoff notify list {channel}")


@_notify.command("list")
def list_notifications(
    channel: Annotated[str | None, typer.Argument(metavar="[CHANNEL]", help="Only those of this channel.")] = None,
    *,
    state: Annotated[Literal["pending", "sent", "dead"] | None, typer.Option(help="Only those of this state.")] = None,
    limit: Limit = 50,
    as_: As = None,
    as_json: AsJson = False,
) -> None:
    """List what was sent, is still to be sent, or was given up; the newest first."""
    from signoff.cli.text import ago, until
    from signoff.engine import channels

    with _opened(as_) as (database, by):
        found = channels.sent(database, None if channel is None else _id(channel), state=state, limit=limit, by=by)
    output = Output(as_json=as_json)
    if as_json:
        output.json([each.to_json() for each in found])
        return
    rows = Listing("NOTIFICATION", "CHANNEL", "EVENT", "MADE", "STATE", "TRIES", "LAST", flexible=6)
    for each in found:
        waits = each.due_at is not None and each.attempts > 0
        shown = f"again {until(each.due_at)}" if waits else each.state
        shown = f"{shown} in a digest" if each.digest_id is not None and each.state == "sent" else shown
        rows.add(
            str(each.id),
            str(each.channel_id),
            each.type,
            ago(each.created_at),
            shown,
            str(each.attempts),
            each.error or "",
        )
    output.listing(rows)


@_notify.command("redeliver")
def redeliver(
    notification: Annotated[str, typer.Argument(metavar="NOTIFICATION", help="Id of the notification.")],
    as_: As = None,
    as_json: AsJson = False,
) -> None:
    """Send a notification once more, after it was sent or given up."""
    from signoff.engine import channels

    with _opened(as_) as (database, by):
        found = channels.redeliver(database, _id(notification, "notification"), by=by)
    _answer(as_json, found.to_json(), f"{found.id} will be sent again")


def _answer(as_json: bool, value: object, sentence: str) -> None:
    output = Output(as_json=as_json)
    if as_json:
        output.json(value)
    else:
        output.line(sentence)


def _id(text: str, what: str = "channel") -> UUID:
    from signoff.ids import parse_id

    found = parse_id(text)
    if found is None:
        raise NotFound(f"there is no such {what}", fix="signoff notify channels")
    return found


def _events(channel: Channel) -> str:
    from signoff.notifications.catalogue import NOTIFIED

    return "all" if len(channel.events) == len(NOTIFIED) else ", ".join(channel.events)


def _state(channel: Channel) -> str:
    if channel.disabled_at is not None:
        return f"disabled: {channel.disabled_why}"
    return f"failing ({channel.failures})" if channel.failures else ""
