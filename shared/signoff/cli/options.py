"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

JSON_KEY = "signoff.json"


def _remember(context: typer.Context, chosen: bool) -> bool:
    # Errors are shown by the group, outside of the command: they have to know as well.
    if chosen:
        context.meta[JSON_KEY] = True
    return chosen


_PANEL = "Connection"

AsJson = Annotated[
    bool, typer.Option("--json", help="JSON on standard output, and nothing else there.", callback=_remember)
]
Api = Annotated[
    str | None,
    typer.Option(
        "--api",
        metavar="URL",
        help="The API. Default: $SIGNOFF_API_URL, else the running `signoff dev`.",
        rich_help_panel=_PANEL,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="The API key. Better in $SIGNOFF_API_KEY: arguments can be seen by other users.",
        rich_help_panel=_PANEL,
    ),
]
As = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="NAME", help="Act as this identity of the running `signoff dev`.", rich_help_panel=_PANEL
    ),
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most this many.")]
