"""Which messages say nothing any more, because a process of this worker has just taken their run.

Runs that are taken together leave their messages behind. The parent of a pool looks here before it hands one to a
child. It is a help and no more: a message that is let through finds its run taken, and one that is dropped is sent
again should its run still be queued, which only a claim lost in a crash of the database leaves it.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import time

_SLOTS = 1 << 15
_SLOT = struct.Struct("=QQ")
_HASH = struct.Struct("=Q")


class Taken:
    """A table that the processes of one worker share, made before any fork. Later entries overwrite earlier ones.

    An entry counts for `believed_seconds`, which is less than it takes until a message is sent again.
    """

    def __init__(self, *, believed_seconds: float) -> None:
        self._memory = mmap.mmap(-1, _SLOTS * _SLOT.size)
        self._believed_ms = round(believed_seconds * 1000)

    def close(self) -> None:
        """Let go of the memory; a worker process keeps it to its end."""
        self._memory.close()

    def add(self, said: str) -> None:
        """The run of the message that says this (its `argsrepr`) is taken."""
        hashed = _hash(said)
        _SLOT.pack_into(self._memory, hashed % _SLOTS * _SLOT.size, hashed, _now_ms())

    def has(self, said: str) -> bool:
        """Whether it was taken, not long ago."""
        hashed = _hash(said)
        known: int
        at_ms: int
        known, at_ms = _SLOT.unpack_from(self._memory, hashed % _SLOTS * _SLOT.size)
        return known == hashed and _now_ms() - at_ms < self._believed_ms


def said_of(run_id: object, epoch: int) -> str:
    """What a message about this run and epoch says, as its header has it."""
    return repr([str(run_id), epoch])


def _hash(said: str) -> int:
    found: int = _HASH.unpack(hashlib.blake2b(said.encode(), digest_size=8).digest())[0]
    return found


def _now_ms() -> int:
    # The same clock in all processes of a machine.
    return time.monotonic_ns() // 1_000_000
