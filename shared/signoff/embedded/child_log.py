"""The log file of one child: bounded, and able to show its last lines."""

from __future__ import annotations

from collections import deque
from pathlib import Path

LARGEST_LOG_BYTES = 10_000_000
"""Then the file becomes `NAME.log.1`, and the one before that goes."""

_TAIL_LINES = 25
_LONGEST_LINE_BYTES = 65_536


class ChildLog:
    """Takes what a pipe delivers, appends it to the file and gives back the lines that are now complete."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._open()
        self._rest = b""
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def feed(self, received: bytes) -> list[str]:
        """The complete lines that `received` brings, decoded; a line without end is cut at 64 KiB."""
        if self._size + len(received) > LARGEST_LOG_BYTES:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._open()
        self._file.write(received)
        self._size += len(received)
        *lines, self._rest = (self._rest + received).split(b"\n")
        if len(self._rest) > _LONGEST_LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        return self._decoded(lines)

    def finish_line(self) -> list[str]:
        """The last line of a child that ended without ending it."""
        rest, self._rest = self._rest, b""
        return self._decoded([rest]) if rest else []

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, oldest first."""
        return tuple(self._tail)

    def close(self) -> None:
        self._file.close()

    def _open(self) -> None:
        self._file = self._path.open("ab", buffering=0)
        self._size = self._path.stat().st_size

    def _decoded(self, lines: list[bytes]) -> list[str]:
        found = [line.decode(errors="replace").rstrip("\r") for line in lines]
        self._tail.extend(found)
        return found
