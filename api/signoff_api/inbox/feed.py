"""What has changed, told to everybody in this process who listens: one poller, however many they are.

The poller asks while there are listeners and not otherwise. Each listener keeps the ids it has not taken yet, up to a
bound; beyond it, and after every time at which something may have been missed, it is told to read everything again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID
from weakref import WeakSet

import orjson
import structlog

from signoff.errors import Unavailable
from signoff.identity import Principal
from signoff.store.queries_changes import Changes

MAX_PENDING = 500
"""Ids a listener keeps; whoever is further behind reads the lists again."""
MAX_CURSOR = 200
_log = structlog.get_logger("signoff.inbox")

Look: TypeAlias = Callable[[datetime | None], Changes]
"""Asks for what was written after a moment; None only asks for the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often the feed looks and how far back, in seconds.

    A row is stamped before its transaction commits, as a rule a moment before: each look goes back by `overlap`. What
    waited longer, at most as long as a statement may take, is found by every `deep_every`th look, which goes back by
    `deep_overlap`. While the database is away the time between looks doubles up to `patience`.
    """

    look: float = 1.0
    overlap: float = 5.0
    deep_overlap: float = 30.0
    deep_every: int = 10
    patience: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a listener has to be told: ids, or to read everything again. All before `at` is in it, or was before."""

    ids: tuple[UUID, ...]
    refetch: bool
    at: datetime | None


class Listener:
    """Somebody who listens, with the ids that were not taken yet. Made by `Feed.listen`; close it."""

    def __init__(self, feed: Feed, viewer: Principal) -> None:
        self._feed = feed
        self._viewer = viewer
        self._pending: dict[UUID, None] = {}
        self._refetch = False

    @property
    def viewer(self) -> Principal:
        return self._viewer

    @property
    def caught_up(self) -> datetime | None:
        """The place before which everything has been taken; None while something has not."""
        with self._feed.changed:
            return None if self._pending or self._refetch else self._feed.position

    def wait(self, seconds: float) -> bool:
        """Whether there is news, at the latest after `seconds`."""
        with self._feed.changed:
            return self._feed.changed.wait_for(lambda: bool(self._pending) or self._refetch, seconds)

    def take(self, limit: int) -> News:
        """The news, at most `limit` ids of it; `at` is None while more of it is left."""
        with self._feed.changed:
            ids = tuple(self._pending)[:limit]
            for known in ids:
                del self._pending[known]
            refetch, self._refetch = self._refetch, False
            return News(ids=ids, refetch=refetch, at=None if self._pending else self._feed.position)

    def turn_into(self, viewer: Principal) -> None:
        """Go on with the rights that the viewer has now; what was found by the old ones is forgotten."""
        with self._feed.changed:
            self._viewer = viewer
            self.miss()

    def miss(self) -> None:
        """Something may have been missed. For the feed, under its lock."""
        self._pending.clear()
        self._refetch = True

    def offer(self, changes: Changes) -> None:
        """Note what concerns the viewer. For the feed, under its lock."""
        # Who has to read everything again needs no ids.
        if self._refetch:
            return
        self._pending.update(dict.fromkeys(each.id for each in changes.changes if each.concerns(self._viewer)))
        if len(self._pending) > MAX_PENDING:
            self.miss()

    def close(self) -> None:
        """Listen no more; once more is no error."""
        self._feed.leave(self)


class Feed:
    """The poller of one process and those who listen. Safe to share between threads."""

    def __init__(self, look: Look, *, max_listeners: int, pace: Pace | None = None) -> None:
        self.changed = threading.Condition()
        """Guards everything here, and is notified of news."""
        self.position: datetime | None = None
        self.stopping = False
        self._look = look
        self._pace = pace or Pace()
        self._max = max_listeners
        # Weak: one that is dropped without being closed, whatever went wrong, takes no place for good.
        self._listeners: WeakSet[Listener] = WeakSet()
        self._poller: threading.Thread | None = None

    def listen(self, viewer: Principal) -> Listener | None:
        """A listener with these rights; None when there are as many as may be, or the process is about to end."""
        with self.changed:
            if self.stopping or len(self._listeners) >= self._max:
                return None
            listener = Listener(self, viewer)
            self._listeners.add(listener)
            if self._poller is None:
                self.position = None
                self._poller = threading.Thread(target=self._poll, name="signoff-live", daemon=True)
                self._poller.start()
            return listener

    def leave(self, listener: Listener) -> None:
        """Tell this listener nothing more."""
        with self.changed:
            self._listeners.discard(listener)
            self.changed.notify_all()

    def stop(self) -> None:
        """The process is about to end: streams see it within their next turn. Takes no lock; a signal may call it."""
        self.stopping = True

    @property
    def polling(self) -> bool:
        """Whether the poller runs."""
        return self._poller is not None

    def _poll(self) -> None:
        poll = _Poll(self._look, self._pace)
        pause = 0.0
        while self._pause(pause):
            changes = poll.turn()
            with self.changed:
                if changes is None:
                    pause = min(max(pause, self._pace.look) * 2, self._pace.patience)
                    continue
                pause = self._pace.look
                self.position = changes.now
                for listener in list(self._listeners):
                    listener.offer(changes) if changes.complete else listener.miss()
                self.changed.notify_all()

    def _pause(self, seconds: float) -> bool:
        """Wait; false, and no poller any more, when nobody listens."""
        with self.changed:
            self.changed.wait_for(lambda: self.stopping or not self._listeners, seconds)
            if self._listeners and not self.stopping:
                return True
            self._poller = None
            return False


class _Poll:
    """The looks of one poller: where it is, and what it has told already."""

    def __init__(self, look: Look, pace: Pace) -> None:
        self._look = look
        self._pace = pace
        self._told: dict[UUID, datetime] = {}
        self._start: datetime | None = None
        self._at: datetime | None = None
        self._turns = 0
        self._missed = False

    def turn(self) -> Changes | None:
        """What is new; incomplete when some of it may be missing, None while the database is away."""
        try:
            if self._at is None or self._start is None:
                return self._begin()
            found = self._look(self._since(self._at, self._start))
        except Unavailable as error:
            if not self._missed:
                _log.warning("live_database_away", detail=error.detail)
            self._missed, self._at = True, None
            return None
        except Exception:  # noqa: BLE001
            # A poller that ends of a surprise would leave every page in the past without a word.
            _log.exception("live_look_failed")
            self._missed, self._at = True, None
            return None
        self._at = found.now
        self._turns += 1
        fresh = tuple(each for each in found.changes if self._told.get(each.id) != each.changed_at)
        oldest = found.now - timedelta(seconds=self._pace.deep_overlap)
        self._told = {known: at for known, at in self._told.items() if at >= oldest}
        self._told.update((each.id, each.changed_at) for each in fresh)
        return Changes(now=found.now, changes=fresh, complete=found.complete)

    def _begin(self) -> Changes:
        self._at = self._look(None).now
        self._start = self._at - timedelta(seconds=self._pace.overlap)
        self._told.clear()
        missed, self._missed = self._missed, False
        return Changes(now=self._at, changes=(), complete=not missed)

    def _since(self, at: datetime, start: datetime) -> datetime:
        deep = self._turns % self._pace.deep_every == self._pace.deep_every - 1
        back = self._pace.deep_overlap if deep else self._pace.overlap
        return max(at - timedelta(seconds=back), start)


def encode_cursor(at: datetime, viewer: Principal) -> str:
    """The place `at` in what this viewer is told, with the rights they have now."""
    return base64.urlsafe_b64encode(orjson.dumps([at.isoformat(), _rights(viewer)])).rstrip(b"=").decode()


def decode_cursor(text: str, viewer: Principal) -> datetime | None:
    """The place in a cursor; None when the viewer's rights are no longer those it was made for.

    Raises ValueError when it is none.
    """
    if len(text) > MAX_CURSOR:
        raise ValueError("too long")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        at, rights = orjson.loads(raw)
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("no time zone")
        moment = moment.astimezone(UTC)
    except (binascii.Error, TypeError, OverflowError) as error:
        raise ValueError("not one of ours") from error
    return moment if rights == _rights(viewer) else None


def _rights(viewer: Principal) -> str:
    grants = sorted((grant.role, grant.workflow) for grant in viewer.grants)
    key = [None if some is None else sorted(some) for some in (viewer.scopes, viewer.workflows)]
    held = [sorted(viewer.groups), sorted(viewer.roles), grants, key]
    mandates = [[each.name, sorted(each.groups), each.workflow] for each in viewer.mandates]
    said = orjson.dumps([str(viewer.id), viewer.name, viewer.kind, *held, mandates])
    return hashlib.sha256(said).hexdigest()[:16]
