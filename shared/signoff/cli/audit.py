"""`signoff audit verify`, `export`, `anchor` and `keygen`; `separation` is beside it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from signoff.cli import separation
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
    separation.add_to(_group)
    app.add_typer(_group, name="audit", rich_help_panel=_PANEL)


@_group.command()
def verify(
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Only this run.")] = None,
    *,
    database: Annotated[bool, typer.Option("--database", help="Recompute here, straight from the database.")] = False,
    noted: Annotated[
        str | None,
        typer.Option("--anchor", metavar="HASH", help="An anchor that has to be there; with --database."),
    ] = None,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Recompute every hash and every head, and hold them against the anchors.

    Exit code 1 when something does not add up.
    """
    output = Output(as_json=as_json)
    if noted is not None and not database:
        raise InvalidInput("--anchor is about the file of anchors here", fix="add --database")
    found = _from_database(run_id, noted) if database else _from_api(run_id, api, key, as_)
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


@_group.command()
def anchor(
    *,
    begin: Annotated[bool, typer.Option("--begin", help="Make the file, for the first anchor.")] = False,
    as_json: AsJson = False,
) -> None:
    """Sign where every log stands now, into $SIGNOFF_ANCHOR_FILE.

    For a timer: any number at once does no harm, and where nothing has changed nothing is written. Note the hash that
    it prints elsewhere; `signoff audit verify --database --anchor HASH` shows whether it is still there.
    """
    from signoff.cli.direct import opened_engine
    from signoff.model import format_time

    output = Output(as_json=as_json)
    with opened_engine() as engine:
        made = engine.anchor(begin=begin)
    if as_json:
        about = {"number": made.number, "at": format_time(made.at), "heads": made.heads, "hash": made.hash}
        output.json(about | {"made": made.made})
        return
    said = f"{_counted(made.heads, 'run')} changed" if made.made else "nothing has changed since"
    output.line(f"anchor {made.number} of {format_time(made.at)} {made.hash}: {said}")


@_group.command()
def keygen(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key goes.")],
    as_json: AsJson = False,
) -> None:
    """Make a pair of keys for anchors: FILE, which signs, and FILE.pub, which verifies."""
    from signoff.anchors.keys import make_pair

    public = make_pair(file)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"private": str(file), "public": str(public)})
        return
    output.line(f"{file} signs: keep it where the database's people can't read it")
    output.line(f"{public} verifies: give it to the API, and to whoever audits")


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


def _from_database(run_id: str | None, noted: str | None) -> Any:
    from signoff.cli.direct import opened_engine
    from signoff.errors import NotFound
    from signoff.ids import parse_id

    wanted = parse_id(run_id) if run_id else None
    if run_id and wanted is None:
        raise NotFound(f"{run_id!r} is not the id of a run")
    with opened_engine() as engine:
        return engine.verify(wanted, noted=noted).to_json()


def _show(output: Output, found: Any) -> None:
    from rich.text import Text

    from signoff.cli.text import visible

    counted = f"{_counted(found['runs'], 'run')}, {_counted(found['events'], 'event')}"
    if found["ok"]:
        output.show(Text.assemble(("✓ ", "green"), f"{counted}: every hash and every head is right"))
        output.line(f"  {_vouched(found)}", style="dim")
        return
    bad = found["first_bad"]
    place = f"run {bad['run']}" if bad["run"] is not None else "the anchors"
    place += f", event {bad['seq']}" if bad.get("seq") is not None else ""
    output.show(Text.assemble(("✗ ", "red"), (visible(place), "bold"), f": {visible(bad['problem'])}"))
    output.line(f"  found after {counted}; verification stops at the first fault", style="dim")


def _vouched(found: Any) -> str:
    # An API of an earlier release says nothing of it.
    if found.get("anchored_at") is None:
        return "no anchor outside the database vouches for it: had all of it been written anew, it would look the same"
    behind = found.get("unanchored") or 0
    rest = (
        "there are no later events" if behind == 0 else f"no anchor vouches for {_counted(behind, 'later event')} yet"
    )
    return f"anchors outside the database vouch for it up to {found['anchored_at']}; {rest}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
