"""`signoff sign-in`: a link that signs a person in to the pages, once."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import Annotated

import typer

from signoff.cli.options import AsJson
from signoff.cli.output import Output
from signoff.errors import ConfigurationError, SignoffError

MAX_MS = 7 * 24 * 3600 * 1000


def add_to(app: typer.Typer) -> None:
    app.command("sign-in", rich_help_panel="Operations")(sign_in)


def sign_in(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom the link signs in.")],
    *,
    lasts: Annotated[str, typer.Option(metavar="DURATION", help="How long it may be used: 15m, 24h.")] = "15m",
    api: Annotated[str | None, typer.Option("--api", metavar="URL", help="Where the pages are.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print a link that signs a person in to the inbox, once. Needs the database, not the API."""
    from signoff.cli.direct import opened_database, operator
    from signoff.cli.target import URL_VARIABLE, dev_state
    from signoff.durations import parse_duration
    from signoff.store.sessions import create_sign_in_link

    try:
        ms = parse_duration(lasts)
    except ValueError as error:
        raise SignoffError(str(error), code="usage", fix="--lasts 15m") from error
    if not 0 < ms <= MAX_MS:
        raise SignoffError("a link lasts up to 7 days", code="usage", fix="--lasts 24h")
    state = dev_state()
    url = api or os.environ.get(URL_VARIABLE) or (state.api_url if state is not None else None)
    if url is None:
        raise ConfigurationError("where are the pages?", fix="name them by --api or $SIGNOFF_API_URL")
    with opened_database() as database:
        token = create_sign_in_link(database, name, lasts=timedelta(milliseconds=ms), by=operator())
    link = f"{url.rstrip('/')}/sign-in/{token}"
    output = Output(as_json=as_json)
    if as_json:
        output.json({"principal": name, "url": link, "lasts_ms": ms})
        return
    sys.stdout.write(f"{link}\n")
    output.note(f"signs in {name}, once, within {lasts}")
