"""`signoff group`: who is in which group. A group is there while somebody is in it."""

from __future__ import annotations

from typing import Annotated

import typer

from signoff.cli.options import AsJson
from signoff.cli.output import Listing, Output

_groups = typer.Typer(no_args_is_help=True, help="Who is in which group. Needs the database, not the API.")

Group = Annotated[str, typer.Argument(metavar="GROUP", help="Name of the group.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of principals.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(_groups, name="group", rich_help_panel="Operations")


@_groups.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the groups with who is in them, disabled principals too."""
    from signoff.cli.direct import opened_database
    from signoff.store.groups import list_groups

    with opened_database() as database:
        found = list_groups(database)
    output = Output(as_json=as_json)
    if as_json:
        output.json([{"name": group, "members": members} for group, members in found.items()])
        return
    rows = Listing("GROUP", "MEMBERS", flexible=1)
    for group, members in found.items():
        rows.add(group, ", ".join(members))
    output.listing(rows)


@_groups.command("members")
def show_members(group: Group, as_json: AsJson = False) -> None:
    """List who is in a group."""
    from signoff.cli.direct import opened_database
    from signoff.store.groups import list_groups

    with opened_database() as database:
        members = list_groups(database).get(group, [])
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": group, "members": members})
        return
    for name in members:
        output.line(name)


@_groups.command("add")
def add(group: Group, names: Names, as_json: AsJson = False) -> None:
    """Put principals into a group, from the next request on. All of them or none."""
    _change(group, names, inside=True, as_json=as_json)


@_groups.command("remove")
def remove(group: Group, names: Names, as_json: AsJson = False) -> None:
    """Take principals out of a group, with the next request. All of them or none."""
    _change(group, names, inside=False, as_json=as_json)


def _change(group: str, names: list[str], *, inside: bool, as_json: bool) -> None:
    from signoff.cli.direct import opened_database, operator
    from signoff.store.groups import change_members

    with opened_database() as database:
        members = change_members(database, group, names, inside=inside, by=operator())
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": group, "members": members})
    else:
        output.line(f"{group}: {', '.join(members) or 'nobody'}")
