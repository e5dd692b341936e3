"""`signoff`: the command line. Each command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from signoff.cli import (
    audit,
    authority,
    callbacks,
    database,
    definitions,
    doctor,
    groups,
    human_tasks,
    identities,
    keys,
    links,
    notifications,
    processes,
    roles,
    runs,
    sessions,
    sign_in,
    webhooks,
    work,
)
from signoff.cli.options import JSON_KEY
from signoff.errors import SignoffError

EXIT_CODES = (
    "Exit codes: 0 done · 1 refused or failed · 2 wrong usage · 3 the run is parked at a gate, waiting for a person"
    " (run --watch, show --watch) · 130 interrupted."
)


class SignoffGroup(TyperGroup):
    """The root: commands by panel in the help, and what Signoff refuses shown as an error of the command line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = getattr(command, "rich_help_panel", None) or "Commands"
                panels.setdefault(panel, []).append((name, command.get_short_help_str(limit=70)))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SignoffError as error:
            from signoff.cli.output import Output

            Output(as_json=ctx.meta.get(JSON_KEY, False)).error(error)
            raise typer.Exit(2 if error.code == "usage" else 1) from error


app = typer.Typer(
    name="signoff",
    cls=SignoffGroup,
    help="Workflows on Celery that stop exactly where a person must decide.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Typer's own help in boxes loads Markdown, syntax highlighting and tracebacks: half of the time that help takes.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(chosen: bool) -> None:
    if chosen:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("signoff")
        except PackageNotFoundError:
            found = "(not installed: run from its sources)"
        sys.stdout.write(f"signoff {found}\n")
        raise typer.Exit


@app.callback()
def _root(
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for feature in (
    processes,
    definitions,
    runs,
    human_tasks,
    work,
    audit,
    database,
    identities,
    groups,
    roles,
    keys,
    sign_in,
    sessions,
    webhooks,
    notifications,
    links,
    callbacks,
    authority,
    doctor,
):
    feature.add_to(app)


def run() -> None:
    """The entry point of the distribution."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8 gets signs it can show instead of a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    app()
