"""`signoff callback`: programs that post decisions made elsewhere, and the people they may speak for."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Annotated

import typer

from signoff.cli.options import AsJson
from signoff.cli.output import Listing, Output
from signoff.errors import SignoffError

_MAX_OVERLAP = timedelta(days=30)

_callbacks = typer.Typer(
    no_args_is_help=True,
    help="Programs that post what people decided elsewhere, such as a Slack app. Needs the database, not the API.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the callback.")]
External = Annotated[str, typer.Argument(metavar="ID", help="The id that this person has there, such as U024BE7LH.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(_callbacks, name="callback", rich_help_panel="Operations")


@_callbacks.command("add")
def add(name: Name, as_json: AsJson = False) -> None:
    """Add a callback, which may speak for nobody yet. Its path and its secret are printed now and never again."""
    from signoff.cli.direct import opened_database
    from signoff.store.callbacks import add_callback

    with opened_database() as database:
        made, token, secret = add_callback(database, name)
    path = f"/api/v1/callbacks/{token}"
    output = Output(as_json=as_json)
    if as_json:
        output.json(made.to_json() | {"path": path, "secret": secret})
        return
    sys.stdout.write(f"{path}\n{secret}\n")
    output.note(f"where {made.name} posts to, and the secret it signs with; neither can be shown again")
    output.note(f"for whom it may speak: signoff callback link {made.name} PERSON ID")


@_callbacks.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the callbacks and the people each may speak for."""
    from signoff.cli.direct import opened_database
    from signoff.cli.text import ago, until
    from signoff.store.callbacks import list_callbacks

    with opened_database() as database:
        found = list_callbacks(database)
    output = Output(as_json=as_json)
    if as_json:
        output.json([each.to_json() for each in found])
        return
    rows = Listing("NAME", "PREFIX", "MADE", "SPEAKS FOR", "OLD SECRET", flexible=3)
    for each in found:
        people = ", ".join(f"{name} ({external_id})" for external_id, name in each.people)
        old = "" if each.old_secret_until is None else f"ends {until(each.old_secret_until)}"
        rows.add(each.name, f"sc_{each.prefix}", ago(each.created_at), people or "nobody", old)
    output.listing(rows)


@_callbacks.command("remove")
def remove(name: Name, as_json: AsJson = False) -> None:
    """End a callback with the next request."""
    from signoff.cli.direct import opened_database, operator
    from signoff.store.callbacks import remove_callback

    with opened_database() as database:
        remove_callback(database, name, by=operator())
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": name, "removed": True})
    else:
        output.line(f"{name} speaks for nobody any more")


@_callbacks.command("rotate")
def rotate(
    name: Name,
    *,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the old secret signs too: 24h, at most 30d.")
    ] = "24h",
    as_json: AsJson = False,
) -> None:
    """Make a new secret. For a while both sign, so that the program can follow."""
    from signoff.cli.direct import opened_database
    from signoff.store.callbacks import rotate_callback

    lasts = _overlap(overlap)
    with opened_database() as database:
        secret = rotate_callback(database, name, overlap=lasts)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": name, "secret": secret})
        return
    sys.stdout.write(f"{secret}\n")
    output.note(f"the new secret of {name}; the old one signs too for {overlap}")


@_callbacks.command("link")
def link(
    name: Name,
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Name of the person here.")],
    external_id: External,
    as_json: AsJson = False,
) -> None:
    """Let a callback speak for a person, by the id they have there."""
    from signoff.cli.direct import opened_database, operator
    from signoff.store.callbacks import link_person

    with opened_database() as database:
        link_person(database, name, person, external_id=external_id, by=operator())
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": name, "principal": person, "external_id": external_id})
    else:
        output.line(f"{name} speaks for {person} as {external_id}")


@_callbacks.command("unlink")
def unlink(name: Name, external_id: External, as_json: AsJson = False) -> None:
    """Let a callback no longer speak for who has this id there."""
    from signoff.cli.direct import opened_database, operator
    from signoff.store.callbacks import unlink_person

    with opened_database() as database:
        unlink_person(database, name, external_id=external_id, by=operator())
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": name, "external_id": external_id, "unlinked": True})
    else:
        output.line(f"{name} knows nobody as {external_id}")


def _overlap(text: str) -> timedelta:
    from signoff.durations import parse_duration

    try:
        found = timedelta(milliseconds=parse_duration(text))
    except ValueError as error:
        raise SignoffError(str(error), code="usage", fix="--overlap 24h") from error
    if not timedelta(0) <= found <= _MAX_OVERLAP:
        raise SignoffError("the old secret may sign for 30 days at most", code="usage", fix="--overlap 24h")
    return found
