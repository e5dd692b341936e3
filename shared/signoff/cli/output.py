"""Where a command writes: answers to standard output, everything else to standard error.

With `--json` standard output holds JSON and nothing else. Colours and widths follow the terminal, NO_COLOR and COLUMNS;
into a pipe or a file lines are not cut to a terminal's width.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from signoff.cli.text import json_text, visible, visible_lines
from signoff.errors import InvalidInput, SignoffError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

_GAP = 2
_MIN_FLEXIBLE = 8
WIDTH_OF_PIPES = 200
"""Columns of a table that no terminal bounds."""


class Output:
    """The two streams of one command. Built by the command, not at import: tests and pipes replace the streams."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    @cached_property
    def console(self) -> Console:
        """Standard output for people. Text in it is never read as markup."""
        return _console(stderr=False)

    @cached_property
    def errors(self) -> Console:
        """Standard error."""
        return _console(stderr=True)

    def json(self, value: Any, *, indent: int | None = 2) -> None:
        """Write an answer for programs."""
        sys.stdout.write(json_text(value, indent=indent) + "\n")
        sys.stdout.flush()

    def show(self, *renderables: RenderableType) -> None:
        """Write an answer for people."""
        for each in renderables:
            self.console.print(each)

    def listing(self, rows: Listing) -> None:
        """Write a listing that fits the terminal."""
        for line in rows.lines(self.console.width):
            self.console.print(line, soft_wrap=True)

    def line(self, text: str, style: str = "") -> None:
        """Write a line that may be wider than the terminal, so that what is copied from it is whole."""
        from rich.text import Text

        self.console.print(Text(text, style=style), soft_wrap=True)

    def note(self, sentence: str, style: str = "dim") -> None:
        """Say something that is no answer."""
        from rich.text import Text

        self.errors.print(Text(visible_lines(sentence), style=style), soft_wrap=True)

    def error(self, error: SignoffError) -> None:
        """Say what was refused: code, what, and what to do about it. With `--json` as one JSON object."""
        if self.as_json:
            sys.stderr.write(json_text(describe(error), indent=None) + "\n")
            return
        from rich.text import Text

        heading = Text.assemble((f"error[{visible(error.code)}]", "bold red"), " ", visible_lines(_heading(error)))
        self.errors.print(heading, soft_wrap=True)
        for label, text in _particulars(error):
            self.errors.print(Text.assemble((f"  {label:<8}", "dim"), visible_lines(text)), soft_wrap=True)


def describe(error: SignoffError) -> dict[str, Any]:
    """The error as JSON: a problem of the API as the API gave it, any other with the same members."""
    problem = getattr(error, "problem", None)
    if isinstance(problem, Mapping):
        return dict(problem)
    found: dict[str, Any] = {"code": error.code, "detail": error.detail}
    if error.fix:
        found["fix"] = error.fix
    if isinstance(error, InvalidInput) and error.errors:
        found["errors"] = [each.to_json() for each in error.errors]
    faults = getattr(error, "faults", None)
    if faults:
        found["faults"] = [fault.to_json() for fault in faults]
    return found


def grid(*, gap: int = 2) -> Table:
    """A table without lines."""
    from rich.table import Table

    return Table(box=None, show_header=False, padding=(0, gap, 0, 0), pad_edge=False)


class Listing:
    """Rows in columns. Where they are wider than the terminal, one column is cut; what people copy never is.

    `flexible` is the number of the column that is cut.
    """

    def __init__(self, *headings: str, flexible: int) -> None:
        from rich.text import Text

        self._flexible = flexible
        self._rows = [[Text(heading, style="dim") for heading in headings]]

    def add(self, *cells: str | Text) -> None:
        """One row."""
        from rich.text import Text

        self._rows.append([cell if isinstance(cell, Text) else Text(cell) for cell in cells])

    def lines(self, width: int) -> Iterator[Text]:
        """The heading and the rows, within `width` columns unless the other cells alone need more."""
        from rich.text import Text

        widths = [max(cell.cell_len for cell in column) for column in zip(*self._rows, strict=True)]
        gaps = _GAP * (len(widths) - 1)
        over = sum(widths) + gaps - width
        if over > 0:
            widths[self._flexible] = max(widths[self._flexible] - over, _MIN_FLEXIBLE)
        for row in self._rows:
            for cell, size in zip(row, widths, strict=True):
                cell.truncate(size, overflow="ellipsis", pad=True)
            line = Text(" " * _GAP).join(row)
            line.rstrip()
            yield line


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    bounded = stream.isatty() or "COLUMNS" in os.environ
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=None if bounded else WIDTH_OF_PIPES)


def _heading(error: SignoffError) -> str:
    problem = describe(error)
    # Where each bad field gets its own line, the sentence that joins them all would say it twice.
    return str(problem.get("title") or "the input is not what is asked for") if problem.get("errors") else error.detail


def _particulars(error: SignoffError) -> Iterable[tuple[str, str]]:
    """What is worth a line of its own: each bad field, who was first, what it is now, and the fix."""
    problem = describe(error)
    fields = problem.get("errors")
    for each in fields if isinstance(fields, list) else []:
        if isinstance(each, Mapping):
            fix = f" ({each['fix']})" if each.get("fix") else ""
            yield "field", f"{each.get('path') or '/'}: {each.get('message')}{fix}"
    winner = problem.get("winner")
    if isinstance(winner, Mapping):
        yield "winner", _winner(winner)
    current = problem.get("current")
    if isinstance(current, Mapping):
        yield "current", f"revision {current.get('revision')}, payload {current.get('payload_sha256')}"
    if problem.get("reference"):
        yield "log", f"reference {problem['reference']}"
    if error.fix:
        yield "fix", error.fix


def _winner(winner: Mapping[str, Any]) -> str:
    by = winner.get("by")
    name = by.get("name") if isinstance(by, Mapping) else by
    parts = [str(name or winner.get("decided_by") or "?")]
    parts += [f"said {winner['decision']}"] if winner.get("decision") else []
    parts += [f"outcome {winner['outcome']}"] if winner.get("outcome") else []
    parts += [f"at {winner['at']}"] if winner.get("at") else []
    return ", ".join(parts)
