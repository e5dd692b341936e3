"""The file of anchors, outside the database: one a line, only ever appended to.

Writers take turns by a lock on the file. A line counts once its end is written; one that a crash has cut short is
passed over, because the next anchor shows by its number and by the hash in it that none is missing.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from signoff.anchors.form import BrokenAnchors, Signed, read_line
from signoff.model import GENESIS_HASH

_CUT = b" cut\n"
"""Put behind what a crash has left, be it all of a line but its end: it is no JSON then, and passed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorLog:
    """All anchors of the file, verified. `unfinished` is whether it ends in a line that is not whole.

    One is being written, or a crash, or somebody, has cut it short. `size` and `digest` are of all lines that are.
    """

    anchors: tuple[Signed, ...]
    unfinished: bool
    size: int
    digest: bytes


class AnchorFile:
    """The file, held for writing by one process at a time."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    @contextmanager
    def held(cls, path: Path, *, begin: bool) -> Iterator[AnchorFile]:
        """Wait for the file and hold it. With `begin` it is made, and must have no anchor yet.

        Raises OSError.
        """
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT if begin else 0)
        descriptor = os.open(path, flags, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if begin:
                _check_empty(path, descriptor)
                _sync_folder(path)
            yield cls(path, descriptor)
        finally:
            os.close(descriptor)

    def newest(self, keys: Collection[str]) -> Iterator[Signed]:
        """The anchors from the last one backward, each verified. Raises BrokenAnchors.

        A whole line at the end that can't be read is none that a crash left: nothing is put behind it.
        """
        if os.fstat(self._descriptor).st_size == 0:
            return
        after: Signed | None = None
        with mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ) as view:
            end = view.rfind(b"\n") + 1
            while end > 0:
                start = view.rfind(b"\n", 0, end - 1) + 1
                found = read_line(view[start : end - 1], keys)
                end = start
                if found is None:
                    if after is None:
                        raise BrokenAnchors("the last line can't be read")
                    continue
                if after is not None:
                    _check_link(found, after)
                yield found
                after = found

    def last(self, keys: Collection[str]) -> Signed:
        """The last anchor. Raises BrokenAnchors, also where there is none."""
        for signed in self.newest(keys):
            return signed
        raise BrokenAnchors("the file of anchors has none")

    def append(self, signed: Signed) -> None:
        """Write an anchor, and answer only when it is on the disk. Raises OSError."""
        data = signed.to_line()
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            data = _CUT + data
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        os.fsync(self._descriptor)


def read(path: Path, keys: Collection[str], *, known: AnchorLog | None = None) -> AnchorLog:
    """All anchors, every signature, link and head of them verified. Raises BrokenAnchors, also where there are none.

    Lines that are, byte for byte, those that were verified as `known` are not verified once more.
    """
    try:
        # Without waiting for whoever holds it: a writer that stands still must not stop those who verify.
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise BrokenAnchors(f"the file of anchors is gone, or was never begun: {path}") from error
    except OSError as error:
        raise BrokenAnchors(f"the file of anchors can't be read: {error.strerror}") from error
    found: list[Signed] = []
    begin = 0
    if known is not None and hashlib.sha256(data[: known.size]).digest() == known.digest:
        found, begin = list(known.anchors), known.size
    *lines, rest = data[begin:].split(b"\n")
    whole = True
    for line in lines:
        signed = read_line(line, keys)
        whole = signed is not None
        if signed is not None:
            _check_link(found[-1] if found else None, signed)
            found.append(signed)
    if not whole:
        raise BrokenAnchors("the last line can't be read")
    if not found:
        raise BrokenAnchors("the file of anchors has none")
    size = len(data) - len(rest)
    digest = hashlib.sha256(data[:size]).digest()
    return AnchorLog(anchors=tuple(found), unfinished=bool(rest), size=size, digest=digest)


_read_before: dict[tuple[Path, frozenset[str]], tuple[tuple[int, ...], AnchorLog]] = {}


def read_again(path: Path, keys: frozenset[str]) -> AnchorLog:
    """The same as `read`, at the cost of what is new: nothing where nobody has written to the file since last time."""
    state = _state_of(path)
    known = _read_before.get((path, keys))
    if state is not None and known is not None and known[0] == state:
        return known[1]
    log = read(path, keys, known=None if known is None else known[1])
    if state is not None and state == _state_of(path):
        _read_before[path, keys] = (state, log)
    return log


def _state_of(path: Path) -> tuple[int, ...] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    # The time of the last change to the inode can't be set back as that of the content can.
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _check_link(before: Signed | None, after: Signed) -> None:
    number, previous, at = (0, GENESIS_HASH, None) if before is None else _place(before)
    if after.anchor.number != number + 1 or after.anchor.previous != previous:
        raise BrokenAnchors(f"anchor {after.anchor.number} does not follow the one before it: one is missing or moved")
    if at is not None and after.anchor.at < at:
        raise BrokenAnchors(f"anchor {after.anchor.number} is earlier than the one before it")


def _place(signed: Signed) -> tuple[int, str, datetime]:
    return signed.anchor.number, signed.anchor.hash, signed.anchor.at


def _check_empty(path: Path, descriptor: int) -> None:
    """The file may have what a crash left of a first anchor, and no whole line."""
    if os.fstat(descriptor).st_size:
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as view:
            if view.find(b"\n") >= 0:
                raise FileExistsError(f"{path} has been begun")


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
