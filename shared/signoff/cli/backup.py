"""`signoff db backup`, `signoff db restore` and `signoff db check`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from signoff.cli.options import AsJson
from signoff.cli.output import Output

if TYPE_CHECKING:
    from signoff.engine.checking import Checked


def add_to(group: typer.Typer) -> None:
    group.command()(backup)
    group.command()(restore)
    group.command()(check)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; it must not be there yet.")],
    as_json: AsJson = False,
) -> None:
    """Write all that is in the database, as of one moment, into one file. Everything goes on meanwhile.

    It is pg_dump's custom format, made by the pg_dump of this machine.
    """
    from signoff.cli.direct import load
    from signoff.embedded.dumps import back_up

    size = back_up(load().require_database_url(), file)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"file": str(file), "bytes": size})
    else:
        output.line(f"{file}: {size} bytes")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    as_json: AsJson = False,
) -> None:
    """Bring a backup into an empty database, all of it or nothing.

    Let no process of Signoff run meanwhile. Then: signoff db upgrade where the release is a newer one, signoff db
    grants where processes connect as another role, signoff db check, and start them.
    """
    from signoff.cli.direct import load
    from signoff.embedded.dumps import restore as bring_back
    from signoff.store import migrations

    url = load().require_database_url()
    bring_back(url, file)
    found, newest = migrations.revision(url), migrations.head()
    output = Output(as_json=as_json)
    if as_json:
        output.json({"file": str(file), "revision": found, "head": newest})
        return
    output.line(f"restored, at {found}")
    output.note("look at it: signoff db check" if found == newest else "bring it to this release: signoff db upgrade")


def check(as_json: AsJson = False) -> None:
    """Verify every log, and say of every unfinished run whether it goes on, or why not.

    Reads the database and changes nothing. Anchors that are newer than the database are told as such: it was restored
    from a backup that is older, or somebody has cut it back. Exit code 1 when something does not add up, or they are.
    """
    from signoff.cli.direct import opened_engine
    from signoff.engine.checking import check as look
    from signoff.engine.checking import outlooks

    output = Output(as_json=as_json)
    with opened_engine() as engine:
        found = look(engine.core)
        runs = outlooks(engine.core)
        if as_json:
            output.json(_as_json(found) | {"unfinished": [run.to_json() for run in runs]})
        else:
            _say(output, found)
            counted: Counter[bool] = Counter()
            for run in runs:
                counted[run.continues] += 1
                mark = "goes on" if run.continues else "STANDS "
                sys.stdout.write(f"{mark}  {run.run_id}  {run.workflow} {run.version}  {run.node or '-'}: {run.why}\n")
            output.line(f"{counted.total()} unfinished: {counted[True]} go on, {counted[False]} stand")
    if not found.verification.ok:
        raise typer.Exit(1)


def _as_json(found: Checked) -> dict[str, Any]:
    newer = found.newer_anchors
    return {
        "verification": found.verification.to_json(),
        "log_ok": found.log_ok,
        "newer_anchors": None if newer is None else newer.to_json(),
    }


def _say(output: Output, found: Checked) -> None:
    from signoff.cli.text import visible
    from signoff.model import format_time

    verified, newer = found.verification, found.newer_anchors
    if verified.ok:
        output.line(f"✓ {verified.runs} runs, {verified.events} events: every hash and every head is right")
        return
    if newer is not None:
        held = (
            "none is" if newer.held_at is None else f"the last that is here in full is of {format_time(newer.held_at)}"
        )
        output.line("✓ every log adds up in itself")
        output.line(
            f"✗ {newer.count} anchors, from {format_time(newer.first_at)} on, are newer than this database; {held}"
        )
        output.note(
            "that is so after a restore from an older backup, and then keep the file of anchors with that backup and"
            " begin another; else somebody has cut the log back"
        )
        return
    bad = verified.first_bad
    assert bad is not None
    output.line(f"✗ run {bad.run_id or '-'}, event {bad.seq or '-'}: {visible(bad.problem)}")
