"""The Merkle tree over the heads of one anchor: its root pins them all, a path proves one of them.

A leaf is 52 bytes: a run's id, its last event's number (big-endian) and that event's hash. Leaves are hashed behind a
zero byte, inner nodes behind a one, so that neither passes for the other; a node without a sibling goes up as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from uuid import UUID

LEAF_BYTES = 52
_ID_BYTES = 16


def leaf(run_id: UUID, seq: int, event_hash: bytes) -> bytes:
    """One head as it is anchored. Leaves sort by run, in the order in which PostgreSQL sorts ids."""
    return run_id.bytes + seq.to_bytes(4, "big") + event_hash


def unleaf(packed: bytes) -> tuple[UUID, int, bytes]:
    """The run, the number and the hash of a leaf."""
    return UUID(bytes=packed[:_ID_BYTES]), int.from_bytes(packed[_ID_BYTES:20], "big"), packed[20:]


def leaves_of(packed: bytes) -> Iterator[bytes]:
    """The leaves one after the other."""
    return (packed[at : at + LEAF_BYTES] for at in range(0, len(packed), LEAF_BYTES))


def root(packed: bytes) -> str:
    """The hash, in hexadecimal, that pins these leaves and their order."""
    level = _level(packed)
    while len(level) > 1:
        level = _above(level)
    return level[0].hex() if level else hashlib.sha256().hexdigest()


def path(packed: bytes, index: int) -> list[str]:
    """The siblings, from the leaf upward, that prove the leaf at `index` to be in the tree."""
    level, found = _level(packed), []
    while len(level) > 1:
        if index ^ 1 < len(level):
            found.append(level[index ^ 1].hex())
        level, index = _above(level), index // 2
    return found


def index_of(packed: bytes, run_id: UUID) -> int | None:
    """Where the leaf of this run is among the sorted leaves; None where there is none."""
    low, high = 0, len(packed) // LEAF_BYTES
    wanted = run_id.bytes
    while low < high:
        middle = (low + high) // 2
        if packed[middle * LEAF_BYTES : middle * LEAF_BYTES + _ID_BYTES] < wanted:
            low = middle + 1
        else:
            high = middle
    at = low * LEAF_BYTES
    return low if packed[at : at + _ID_BYTES] == wanted else None


def _level(packed: bytes) -> list[bytes]:
    return [hashlib.sha256(b"\0" + each).digest() for each in leaves_of(packed)]


def _above(level: Sequence[bytes]) -> list[bytes]:
    made = [hashlib.sha256(b"\1" + level[at] + level[at + 1]).digest() for at in range(0, len(level) - 1, 2)]
    return [*made, level[-1]] if len(level) % 2 else made
