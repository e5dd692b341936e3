"""`signoff db upgrade`, `status` and `grants`; `backup`, `restore` and `check` are beside it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from signoff.cli import backup
from signoff.cli.options import AsJson
from signoff.cli.output import Output

_PANEL = "Operations"
_group = typer.Typer(no_args_is_help=True, help="Migrate the database, back it up, restore and check it.")


def add_to(app: typer.Typer) -> None:
    backup.add_to(_group)
    app.add_typer(_group, name="db", rich_help_panel=_PANEL)


@_group.command()
def upgrade(
    *,
    no_admin: Annotated[
        bool, typer.Option("--no-admin", help="Make no administrator where there is no principal yet.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database to this release's schema. Does nothing where it is there already.

    Where there is no principal at all it makes the administrator `admin` and prints the key, once: keep it, or
    take --no-admin where the output is kept in a log.
    """
    from signoff.cli.direct import load, opened_database, operator, reachable
    from signoff.store import migrations
    from signoff.store.first_admin import NAME, make_first_admin

    output = Output(as_json=as_json)
    url = load().require_database_url()
    with reachable():
        before = migrations.revision(url)
        migrations.upgrade(url)
        after = migrations.revision(url)
    key = None
    if not no_admin:
        with opened_database() as database:
            key = make_first_admin(database, by=operator())
    if as_json:
        admin = None if key is None else {"name": NAME, "key": key}
        output.json({"before": before, "revision": after, "admin": admin})
        return
    output.line(f"at {after} already" if before == after else f"migrated from {before or 'empty'} to {after}")
    if key is not None:
        sys.stdout.write(f"{key}\n")
        output.note(f"the key of {NAME}, the first administrator; it can't be shown again. Use it as $SIGNOFF_API_KEY")


@_group.command()
def status(as_json: AsJson = False) -> None:
    """Say at which migration the database is. Exit code 1 when it is not the newest."""
    from signoff.cli.direct import load, reachable
    from signoff.store import migrations

    output = Output(as_json=as_json)
    with reachable():
        found = migrations.revision(load().require_database_url())
    newest = migrations.head()
    if as_json:
        output.json({"revision": found, "head": newest, "current": found == newest})
    elif found == newest:
        output.line(f"at {found}, the newest")
    else:
        output.line(f"at {found or 'nothing: it is empty'}; this release has {newest}")
        output.note("bring it there: signoff db upgrade")
    if found != newest:
        raise typer.Exit(1)


@_group.command()
def grants(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="A role of the database that is there.")],
    *,
    auditor: Annotated[
        bool, typer.Option("--auditor", help="For one that anchors and verifies, and only reads.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print what a role needs that is not the tables' owner, and can't change a written event.

    For psql, as the owner: signoff db grants signoff_app | psql --single-transaction DATABASE
    """
    from signoff.store.grants import application_grants, auditor_grants

    statements = auditor_grants(role) if auditor else application_grants(role)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"statements": statements})
        return
    for statement in statements:
        output.line(f"{statement};")
