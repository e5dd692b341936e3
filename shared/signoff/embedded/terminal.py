"""What `signoff dev` shows: its own sentences, and each child's lines after its name in its colour."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.text import Text

_COLOURS = {"postgres": "blue", "broker": "red", "worker": "green", "beat": "magenta", "api": "cyan"}
_WIDTH = max(len(name) for name in _COLOURS)


class Terminal:
    """Writes to one stream, until that stream is closed: a pipe to `head` must not end the servers."""

    def __init__(self, stream: TextIO | None, *, quiet: bool = False) -> None:
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._closed = False

    def child_line(self, name: str, line: str) -> None:
        """One line of a child's output; nothing when quiet."""
        if not self._quiet:
            self._print(
                Text.assemble((name.ljust(_WIDTH), _COLOURS.get(name, "yellow")), (" │ ", "dim"), Text.from_ansi(line))
            )

    def say(self, sentence: str, *, style: str = "") -> None:
        """A sentence of the supervisor's own, quiet or not."""
        self._print(Text(sentence, style=style))

    def _print(self, text: Text) -> None:
        if self._closed:
            return
        try:
            self._console.print(text)
        except (OSError, ValueError):
            # ValueError: the stream object itself was closed.
            self._closed = True
