"""`signoff link`: links by which one person decides on one human task, once."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import typer
from typer.core import TyperGroup

from signoff.cli.options import AsJson
from signoff.cli.output import Listing, Output
from signoff.errors import ConfigurationError, NotFound, SignoffError

MAX_LASTS = timedelta(days=30)

HumanTaskId = Annotated[str, typer.Argument(metavar="TASK", help="Id of the human task.")]


class _Links(TyperGroup):
    """`signoff link TASK PERSON` is short for `signoff link create TASK PERSON`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["create", *args]
        return super().parse_args(ctx, args)


_links = typer.Typer(
    cls=_Links,
    no_args_is_help=True,
    help="Links by which one person decides on one human task, once: `signoff link TASK PERSON`."
    " Needs the database, not the API.",
)


def add_to(app: typer.Typer) -> None:
    app.add_typer(_links, name="link", rich_help_panel="Operations")


@_links.command("create")
def create(
    task: HumanTaskId,
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Who decides by it; they have to be asked.")],
    *,
    lasts: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long: 4h. Default: $SIGNOFF_TASK_LINK_HOURS.")
    ] = None,
    api: Annotated[str | None, typer.Option("--api", metavar="URL", help="Where the pages are.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print a link for a person to a human task. It is printed now and never again: only its hash is kept."""
    from signoff.cli.direct import opened_engine

    human_task_id, duration, base = _id(task), _lasts(lasts), _base(api)
    with opened_engine() as engine:
        made = engine.issue_task_link(human_task_id, person, lasts=duration)
    url = f"{base.rstrip('/')}{made.path}"
    output = Output(as_json=as_json)
    if as_json:
        output.json({"human_task_id": str(human_task_id), "principal": made.person.name, "url": url})
        return
    sys.stdout.write(f"{url}\n")
    output.note(f"by it {made.person.name} decides, once; send it to them and to nobody else")


@_links.command("list")
def list_all(task: HumanTaskId, as_json: AsJson = False) -> None:
    """List the links to a human task, newest first: what is kept of them, which is not the link."""
    from signoff.cli.direct import opened_database
    from signoff.cli.text import ago, until
    from signoff.store.task_links import list_links

    human_task_id = _id(task)
    with opened_database() as database:
        found = list_links(database, human_task_id)
    output = Output(as_json=as_json)
    if as_json:
        output.json([each.to_json() for each in found])
        return
    rows = Listing("LINK", "PREFIX", "PERSON", "MADE", "STATE", flexible=2)
    for each in found:
        state = f"expires {until(each.expires_at)}" if each.state == "good" else each.state
        rows.add(str(each.id), f"sl_{each.prefix}", each.person.name, ago(each.created_at), state)
    output.listing(rows)


@_links.command("revoke")
def revoke(
    link: Annotated[str, typer.Argument(metavar="LINK", help="Id of the link.")], as_json: AsJson = False
) -> None:
    """End a link with the next request."""
    from signoff.cli.direct import opened_database
    from signoff.store.task_links import revoke_link

    link_id = _id(link, "link")
    with opened_database() as database:
        revoke_link(database, link_id)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"id": str(link_id), "revoked": True})
    else:
        output.line(f"{link_id} decides nothing more")


def _id(text: str, what: str = "human task") -> UUID:
    from signoff.ids import parse_id

    found = parse_id(text)
    if found is None:
        raise NotFound(f"there is no such {what}", fix="signoff link list TASK" if what == "link" else "signoff inbox")
    return found


def _lasts(text: str | None) -> timedelta | None:
    from signoff.durations import parse_duration

    if text is None:
        return None
    try:
        found = timedelta(milliseconds=parse_duration(text))
    except ValueError as error:
        raise SignoffError(str(error), code="usage", fix="--lasts 4h") from error
    if not timedelta(0) < found <= MAX_LASTS:
        raise SignoffError("a link lasts up to 30 days", code="usage", fix="--lasts 72h")
    return found


def _base(api: str | None) -> str:
    """Where the pages are, as people reach them. Raises ConfigurationError."""
    from signoff.cli.direct import load
    from signoff.cli.target import URL_VARIABLE, dev_state

    state = dev_state()
    found = api or load().public_url or os.environ.get(URL_VARIABLE) or (state.api_url if state is not None else None)
    if found is None:
        raise ConfigurationError("where are the pages?", fix="name them by --api or $SIGNOFF_PUBLIC_URL")
    return found
