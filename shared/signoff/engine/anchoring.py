"""Anchors: making the next one, and proving from them what one run's log was."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any
from uuid import UUID

from signoff.anchors import file as anchor_file
from signoff.anchors import tree
from signoff.anchors.file import AnchorFile, AnchorLog
from signoff.anchors.form import BrokenAnchors, Signed, sign
from signoff.anchors.keys import hexadecimal, read_private, read_public
from signoff.errors import ConfigurationError, Conflict
from signoff.settings import Settings
from signoff.store import heads
from signoff.store.database import Database

MIN_SLACK_SECONDS = 600
"""How old an event may be, at least, when it is committed and no lock has told of it.

The clock of a database that took over may be behind. A worker that holds a run reads no clock but carries on the one of
its claim, by a clock of its own that stands still with its machine; how long it may stand still is its lease.
"""

PATIENCE_SECONDS = 120.0
"""How long an anchor waits for those who write. An idle transaction is ended by the server after 60 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchored:
    """What an anchoring came to: the newest anchor, and whether it was `made` just now."""

    number: int
    at: datetime
    heads: int
    hash: str
    made: bool


def anchor(database: Database, settings: Settings, *, begin: bool = False) -> Anchored:
    """Sign where every log stands now, into the file; where nothing has changed, the newest anchor says so already.

    With `begin` the file is made. Any number of processes may do this at once.

    Raises ConfigurationError, Conflict where the file is not as it was left, Unavailable.
    """
    path = _file_of(settings)
    if settings.anchor_key_file is None:
        raise ConfigurationError("SIGNOFF_ANCHOR_KEY_FILE is not set", fix="make a pair: signoff audit keygen FILE")
    key = read_private(settings.anchor_key_file)
    keys = {hexadecimal(key.public_key()), *_public_keys(settings)}
    # Before the file is held: another anchor may well be made meanwhile, and this one then says what changed since.
    moment = heads.settled_moment(database, patience_seconds=PATIENCE_SECONDS)
    try:
        with AnchorFile.held(path, begin=begin) as held:
            newest = None if begin else held.last(keys)
            leaves = _changed(database, held, keys, newest, moment=moment, slack=_slack(settings))
            if newest is not None and not leaves:
                return _told(newest, made=False)
            # Another anchor may be from after that moment, and a database that took over be a little behind.
            at = moment if newest is None else max(moment, newest.anchor.at)
            signed = sign(newest, at, _slack(settings), leaves, key)
            held.append(signed)
            return _told(signed, made=True)
    except BrokenAnchors as error:
        raise Conflict(f"{path}: {error}", fix="find out who changed it; signoff audit verify says more") from error
    except FileNotFoundError as error:
        fix = "find out where it went; only the very first anchor begins a file: signoff audit anchor --begin"
        raise ConfigurationError(f"there is no file {path}", fix=fix) from error
    except FileExistsError as error:
        raise ConfigurationError(f"{path} has been begun already", fix="leave --begin away") from error
    except OSError as error:
        raise ConfigurationError(f"can't write {path}: {error.strerror}", fix="correct SIGNOFF_ANCHOR_FILE") from error


def anchors_of(settings: Settings) -> AnchorLog | None:
    """All anchors, verified; None where none are configured. Raises BrokenAnchors."""
    if settings.anchor_file is None:
        return None
    try:
        keys = frozenset(_public_keys(settings))
    except ConfigurationError as error:
        raise BrokenAnchors(f"the anchors can't be verified: {error}") from error
    if not keys:
        raise BrokenAnchors("the anchors can't be verified: SIGNOFF_ANCHOR_PUBLIC_KEY_FILE is not set")
    return anchor_file.read_again(settings.anchor_file, keys)


def proofs(settings: Settings, run_id: UUID, *, upto: int) -> list[dict[str, Any]]:
    """Each anchor that names this run, up to its event `upto`, with the path that proves it, oldest first.

    There is none where the file does not hold: it proves nothing then, and verification says so.
    """
    try:
        log = anchors_of(settings)
    except BrokenAnchors:
        return []
    return [] if log is None else [found for each in log.anchors for found in _proof(each, run_id, upto)]


def _proof(signed: Signed, run_id: UUID, upto: int) -> Iterable[dict[str, Any]]:
    index = tree.index_of(signed.leaves, run_id)
    if index is None:
        return
    at = index * tree.LEAF_BYTES
    _, seq, event_hash = tree.unleaf(signed.leaves[at : at + tree.LEAF_BYTES])
    if seq <= upto:
        yield {
            "anchor": signed.anchor.to_json(),
            "signature": signed.signature,
            "key": signed.key,
            "seq": seq,
            "hash": event_hash.hex(),
            "index": index,
            "path": tree.path(signed.leaves, index),
        }


def _changed(
    database: Database, held: AnchorFile, keys: set[str], newest: Signed | None, *, moment: datetime, slack: int
) -> bytes:
    """The heads that no anchor has yet, as packed leaves."""
    if newest is None:
        return b"".join(tree.leaf(*head) for head in heads.heads(database, None))
    since = newest.anchor.at - timedelta(seconds=max(slack, newest.anchor.slack))
    if moment < since:
        raise Conflict(
            f"the database's clock is behind anchor {newest.anchor.number} by {newest.anchor.at - moment}",
            fix="set its clock right; after a restore, begin another file of anchors",
        )
    recent = takewhile(lambda signed: signed.anchor.at >= since, held.newest(keys))
    known = {leaf for signed in recent for leaf in tree.leaves_of(signed.leaves)}
    found = (tree.leaf(*head) for head in heads.heads(database, since))
    return b"".join(leaf for leaf in found if leaf not in known)


def _slack(settings: Settings) -> int:
    return max(MIN_SLACK_SECONDS, math.ceil(2 * settings.lease_seconds))


def _told(signed: Signed, *, made: bool) -> Anchored:
    about = signed.anchor
    return Anchored(number=about.number, at=about.at, heads=about.heads, hash=about.hash, made=made)


def _file_of(settings: Settings) -> Path:
    if settings.anchor_file is None:
        raise ConfigurationError("SIGNOFF_ANCHOR_FILE is not set", fix="name a file outside of the database's reach")
    return settings.anchor_file


def _public_keys(settings: Settings) -> set[str]:
    if settings.anchor_public_key_file is not None:
        return set(read_public(settings.anchor_public_key_file))
    if settings.anchor_key_file is not None:
        return {hexadecimal(read_private(settings.anchor_key_file).public_key())}
    return set()
