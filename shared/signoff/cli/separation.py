"""`signoff audit separation`: who decided at gates that they had defined themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from signoff.cli.options import AsJson
from signoff.cli.output import Output

if TYPE_CHECKING:
    from signoff.store.queries_separation import Separation


def add_to(group: typer.Typer) -> None:
    group.command()(separation)


def separation(
    *,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only what was decided from this day (UTC) on.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many decisions are shown.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List decisions of people who registered the very version they decided under.

    Asks the database itself. What it finds is for people to judge: the exit code is 0 either way.
    """
    from signoff.cli.direct import opened_database
    from signoff.store import queries_separation

    begin = None if since is None else since.replace(tzinfo=UTC)
    with opened_database() as database, database.autocommit() as cursor:
        found = queries_separation.separation(cursor, since=begin, shown=limit)
    output = Output(as_json=as_json)
    if as_json:
        output.json(found.to_json())
    else:
        _show(output, found)


def _show(output: Output, found: Separation) -> None:
    from rich.text import Text

    from signoff.cli.text import visible

    for item in found.items:
        where = f"{item.workflow} v{item.version}/{item.gate}"
        said = f"{item.at:%Y-%m-%d %H:%M} {item.by['name']} said {item.decision} at {where}, which they registered"
        output.show(Text(visible(f"{said} on {item.registered_at:%Y-%m-%d}: run {item.run_id}")))
    among = f"among {found.decisions} decisions" + ("" if found.complete else ", the newest; there are older ones")
    if not found.found:
        output.show(Text.assemble(("✓ ", "green"), f"nobody decided at a gate of their own {among}"))
    else:
        more = f", {len(found.items)} of them shown" if len(found.items) < found.found else ""
        output.show(Text.assemble(("! ", "yellow"), f"{found.found} at gates of their own {among}{more}"))
    if found.unattributed:
        output.line(
            f"  {found.unattributed} were made under versions that were registered at the database, by nobody in"
            " particular",
            style="dim",
        )
