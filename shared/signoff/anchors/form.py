"""What an anchor says, how it is signed, and the one line of the file that holds it."""

from __future__ import annotations

import base64
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from signoff.anchors import tree
from signoff.anchors.keys import hexadecimal
from signoff.canonical import canonical, sha256_hex
from signoff.model import GENESIS_HASH, format_time

KIND = "signoff-anchor"
FORMAT = 1


class BrokenAnchors(Exception):
    """The file does not hold what it held: the sentence says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """All logs as of one moment of the database's clock.

    `previous` is the hash of the anchor before, 64 zeros for the first; `root` pins the `heads` heads that changed
    since then. Every event that is older than `at` by more than `slack` seconds is named by now, or never will be.
    """

    number: int
    at: datetime
    slack: int
    previous: str
    heads: int
    root: str

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": KIND,
            "format": FORMAT,
            "number": self.number,
            "at": format_time(self.at),
            "slack": self.slack,
            "previous": self.previous,
            "heads": self.heads,
            "root": self.root,
        }

    @property
    def settled(self) -> datetime:
        """The moment before which an event is named by this anchor, or one before it."""
        return self.at - timedelta(seconds=self.slack)

    @property
    def hash(self) -> str:
        return sha256_hex(self.to_json())


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """An anchor as the file has it: with its signature, the public key, and the heads as packed leaves."""

    anchor: Anchor
    signature: str
    key: str
    leaves: bytes

    def to_line(self) -> bytes:
        """One line of JSON, with its end."""
        members = {
            "anchor": self.anchor.to_json(),
            "signature": self.signature,
            "key": self.key,
            "leaves": base64.b64encode(self.leaves).decode(),
        }
        return orjson.dumps(members) + b"\n"


def sign(before: Signed | None, at: datetime, slack: int, leaves: bytes, key: Ed25519PrivateKey) -> Signed:
    """The anchor that comes next, over these leaves, which are sorted."""
    anchor = Anchor(
        number=1 if before is None else before.anchor.number + 1,
        at=at.astimezone(UTC),
        slack=slack,
        previous=GENESIS_HASH if before is None else before.anchor.hash,
        heads=len(leaves) // tree.LEAF_BYTES,
        root=tree.root(leaves),
    )
    signature = key.sign(canonical(anchor.to_json())).hex()
    return Signed(anchor=anchor, signature=signature, key=hexadecimal(key.public_key()), leaves=leaves)


def read_line(line: bytes, keys: Collection[str]) -> Signed | None:
    """The anchor of a line, its signature and its heads verified; None for a line that is no JSON at all.

    Only a line that was never finished is that. Raises BrokenAnchors.
    """
    try:
        found = orjson.loads(line)
    except ValueError:
        return None
    try:
        stored, key, signature = found["anchor"], found["key"], found["signature"]
        anchor = Anchor(
            number=stored["number"],
            at=datetime.fromisoformat(stored["at"]),
            slack=stored["slack"],
            previous=stored["previous"],
            heads=stored["heads"],
            root=stored["root"],
        )
        leaves = base64.b64decode(found["leaves"], validate=True)
        exact = anchor.to_json() == stored and found.keys() == {"anchor", "key", "signature", "leaves"}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BrokenAnchors("a line is no anchor") from error
    name = f"anchor {anchor.number}"
    if not exact:
        raise BrokenAnchors(f"{name} has another form than anchors have")
    if key not in keys:
        raise BrokenAnchors(f"{name} is signed with a key that is not known here")
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(
            bytes.fromhex(signature), canonical(anchor.to_json())
        )
    except (InvalidSignature, ValueError, TypeError) as error:
        raise BrokenAnchors(f"{name} is not what was signed") from error
    if len(leaves) != anchor.heads * tree.LEAF_BYTES or tree.root(leaves) != anchor.root:
        raise BrokenAnchors(f"{name} has other heads than it was signed for")
    return Signed(anchor=anchor, signature=signature, key=key, leaves=leaves)
