"""`signoff audit verify` and `signoff audit export`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from signoff.cli.options import Api, As, AsJson, Key
from signoff.cli.output import Output
from signoff.errors import InvalidInput

if TYPE_CHECKING:
    from signoff.cli.client import Client

_PANEL = "Operations"
VERIFY_SECONDS = 600.0
"""Recomputing every log takes as long as there are events."""
_group = typer.Typer(no_args_is_help=True, help="Verify the log, and export evidence.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(_group, name="audit", rich_help_panel=_PANEL)


@_group.command()
def verify(
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Only this run.")] = None,
    *,
    database: Annotated[bool, typer.Option("--database", help="Recompute here, straight from the database.")] = False,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Recompute every hash and every head. Exit code 1 when something does not add up."""
    output = Output(as_json=as_json)
    found = _from_database(run_id) if database else _from_api(run_id, api, key, as_)
    if as_json:
        output.json(found)
    else:
        _show(output, found)
    if not found["ok"]:
        raise typer.Exit(1)


@_group.command()
def export(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")],
    *,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; standard output without it.")
    ] = None,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Write the evidence pack of a run.

    It is JSON and can be verified offline: log, human tasks, decisions, definition. With --json and --output, standard
    output says what was written.
    """
    from signoff.cli.client import path
    from signoff.cli.target import find_target

    where = path("runs", run_id, "audit")
    with find_target(api, key, as_, default="admin").client() as client:
        if file is None:
            client.download(where, sys.stdout.buffer.write)
            sys.stdout.buffer.write(b"\n")
            return
        size = _download_to(client, where, file)
    if as_json:
        Output(as_json=True).json({"file": str(file), "bytes": size})
    else:
        Output().note(f"{file}: {size} bytes")


def _download_to(client: Client, where: str, file: Path) -> int:
    """Under its name only once it is whole: half of an evidence pack must not look like one."""
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as made:
            part = Path(made.name)
            try:
                size = client.download(where, made.write)
                made.flush()
                part.replace(file)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise InvalidInput(f"can't write {file}: {error.strerror}", fix="name a file in a folder of yours") from error
    return size


def _from_api(run_id: str | None, api: str | None, key: str | None, as_: str | None) -> Any:
    from signoff.cli.client import path
    from signoff.cli.target import find_target

    with find_target(api, key, as_, default="admin").client(seconds=VERIFY_SECONDS) as client:
        return client.get(path("audit", "verification"), [("run", run_id)] if run_id else [])


def _from_database(run_id: str | None) -> dict[str, Any]:
    from signoff.cli.direct import opened_engine
    from signoff.errors import NotFound
    from signoff.ids import parse_id

    wanted = parse_id(run_id) if run_id else None
    if run_id and wanted is None:
        raise NotFound(f"{run_id!r} is not the id of a run")
    with opened_engine() as engine:
        found = engine.verify(wanted)
    return {
        "ok": found.ok,
        "runs": found.runs,
        "events": found.events,
        "first_bad": found.first_bad.to_json() if found.first_bad is not None else None,
        "anchored_at": None,
    }


def _show(output: Output, found: Any) -> None:
    from rich.text import Text

    from signoff.cli.text import visible

    counted = f"{_counted(found['runs'], 'run')}, {_counted(found['events'], 'event')}"
    if found["ok"]:
        output.show(Text.assemble(("✓ ", "green"), f"{counted}: every hash and every head is right"))
        return
    bad = found["first_bad"]
    place = f"run {bad['run']}" + (f", event {bad['seq']}" if bad.get("seq") is not None else "")
    output.show(Text.assemble(("✗ ", "red"), (visible(place), "bold"), f": {visible(bad['problem'])}"))
    output.line(f"  found after {counted}; verification stops at the first fault", style="dim")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
