"""`signoff dev`, and the three processes of a production install: worker, beat and API."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

_PANEL = "Processes"


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel=_PANEL)(dev)
    app.command(rich_help_panel=_PANEL)(worker)
    app.command(rich_help_panel=_PANEL)(beat)
    app.command(rich_help_panel=_PANEL)(api)


def dev(
    modules: Annotated[
        list[str] | None,
        typer.Argument(help="Modules and YAML files with workflows. Default: $SIGNOFF_MODULES.", show_default=False),
    ] = None,
    *,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the API; 0 is any free one. [default: 8400, or next]")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Folder of the database and keys. [default: $SIGNOFF_HOME or .signoff]")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Without the output of the servers.")] = False,
) -> None:
    """Run everything in this terminal, for development.

    That is PostgreSQL, a broker, worker, beat and API, in one folder, stopped together by ^C. A set
    SIGNOFF_DATABASE_URL or SIGNOFF_BROKER_URL is used in place of an embedded server.
    """
    from signoff.embedded.dev import DevOptions, run_dev
    from signoff.settings import load_settings

    settings = load_settings()
    secrets = settings.database_url, settings.broker_url
    database_url, broker_url = (None if secret is None else secret.get_secret_value() for secret in secrets)
    code = run_dev(
        DevOptions(
            home=home or settings.home,
            port=port,
            default_port=settings.api_port,
            modules=tuple(modules or settings.modules),
            quiet=quiet,
            database_url=database_url or None,
            broker_url=broker_url or None,
        )
    )
    raise typer.Exit(code)


def worker(
    modules: Annotated[
        list[str] | None,
        typer.Argument(help="Modules and YAML files with workflows. Default: $SIGNOFF_MODULES.", show_default=False),
    ] = None,
    *,
    queues: Annotated[
        str | None, typer.Option(metavar="A,B", help="Queues to serve. Default: all that the workflows use.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", "-c", min=1, max=512, help="Processes or threads. [default: 4]")
    ] = None,
    pool: Annotated[
        Literal["prefork", "threads", "solo"] | None,
        typer.Option(help="prefork for steps that compute, threads for steps that wait. [default: prefork]"),
    ] = None,
) -> None:
    """Run a worker: it registers its workflows and executes their steps. SIGTERM lets it finish what runs."""
    become(
        ["signoff_workers", "worker"],
        {
            "SIGNOFF_MODULES": ",".join(modules) if modules else None,
            "SIGNOFF_QUEUES": queues,
            "SIGNOFF_CONCURRENCY": concurrency,
            "SIGNOFF_POOL": pool,
        },
    )


def beat() -> None:
    """Run beat, which sends the sweep. One is enough; several do no harm."""
    become(["signoff_workers", "beat"], {})


def api(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="[default: 8400]")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes. [default: 2]")] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=256, help="Threads of each. [default: 8]")] = None,
) -> None:
    """Run the HTTP API with the inbox, under gunicorn."""
    become(
        ["signoff_api"],
        {
            "SIGNOFF_API_HOST": host,
            "SIGNOFF_API_PORT": port,
            "SIGNOFF_API_WORKERS": workers,
            "SIGNOFF_API_THREADS": threads,
        },
    )


def become(command: list[str], settings: Mapping[str, object]) -> NoReturn:
    """Turn this process into `python -m COMMAND`, so that signals go straight to it."""
    from signoff.cli.direct import development_environment

    chosen = {name: str(value) for name, value in settings.items() if value is not None}
    environment = os.environ | development_environment() | chosen
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, "-m", *command], environment)  # noqa: S606 - no shell is what is wanted
