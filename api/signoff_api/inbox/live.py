"""Live pages: which human tasks have changed, by id and nothing else, as a stream or when asked.

`GET /live` is a stream of server-sent events. `ready` begins it; `changed` has the `ids` of human tasks that the
viewer sees, or saw until now; `refetch` says that some may have been missed. Each carries a cursor as its id, with
which the next stream, or `GET /live/changes?since=`, goes on. Both may name an id twice. A page reads what it shows
anew, under the viewer's rights. A stream holds a thread, so there are few; who gets none asks for changes instead.
"""

from __future__ import annotations

import random
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from flask import Flask, Response, current_app, request

from signoff.errors import FieldError, InvalidInput, Unavailable
from signoff.identity import Principal
from signoff.store.database import Database
from signoff.store.queries_changes import Changes, changes_since, database_now
from signoff.store.sessions import session_principal
from signoff_api.context import wiring
from signoff_api.inbox.feed import Feed, Listener, Pace, decode_cursor, encode_cursor
from signoff_api.inbox.pages import Pages, Visit

EXTENSION = "signoff.live"
MAX_AGE = timedelta(minutes=10)
"""How old a cursor may be: who was away longer reads everything again."""
MAX_MISSED = 1_000
"""Changes since a cursor that are gone through for one viewer; beyond them they read everything again."""
MAX_IDS = 50
"""Ids of one event: it fits into what a socket that takes anything at all takes at once."""
RETRY_MS = 3_000
RETRY_AFTER_SECONDS = 30

pages = Pages()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPace:
    """The times of a stream in seconds. `turn` is how soon it notices that its client or its process is going."""

    heartbeat: float = 15.0
    turn: float = 0.25
    lasts: float = 240.0
    slow: float = 30.0


@pages.route("GET", "/live")
def stream_changes(visit: Visit) -> Response:
    """The stream. 503 when this process has as many as it may have."""
    if request.method == "HEAD":
        return _event_stream(iter(()))
    feed = _feed()
    listener = feed.listen(visit.principal)
    if listener is None:
        return Response(
            "too many streams\n",
            503,
            {"Retry-After": str(RETRY_AFTER_SECONDS)},
            content_type="text/plain; charset=utf-8",
        )
    try:
        # After the listener is there, so that between the two nothing is lost.
        caught_up = _since(visit, request.headers.get("Last-Event-ID") or request.args.get("since"), lenient=True)
    except BaseException:
        listener.close()
        raise
    client = request.environ.get("gunicorn.socket")
    # Only our own worker's socket knows of it; what is not closed at once is closed in a while.
    getattr(client, "close_after_answer", lambda: None)()
    database, token = visit.engine.database, visit.token
    return _event_stream(
        Stream(
            feed=feed,
            listener=listener,
            begins=_beginning(caught_up, visit.principal),
            whose=lambda: session_principal(database, token),
            client=client,
        )
    )


@pages.route("GET", "/live/changes")
def list_changes(visit: Visit) -> Response:
    """The ids that changed since a cursor, and the next cursor; without one only that."""
    found = _since(visit, request.args.get("since"), lenient=False)
    body = {
        "ids": [str(changed) for changed in found.ids],
        "refetch": found.refetch,
        "cursor": encode_cursor(found.at, visit.principal),
    }
    return Response(orjson.dumps(body), content_type="application/json")


def cursor_now(visit: Visit) -> str:
    """A cursor for a page that is about to be made: with it, the page's stream tells what changed since."""
    with visit.engine.database.autocommit() as cursor:
        return encode_cursor(database_now(cursor), visit.principal)


def end_streams(app: Flask) -> None:
    """The process is about to end: so do its streams, and none begins any more. Takes no lock."""
    with app.app_context():
        _feed().stop()


class Stream(Iterator[bytes]):
    """The body of one stream: waits for news and for all that may end it, in turns that are short.

    It hands out a piece only when the client has room for one, so that no write ever blocks: a client that does not
    read holds up neither the end of its session nor that of the process.
    """

    def __init__(
        self,
        *,
        feed: Feed,
        listener: Listener,
        begins: list[bytes],
        whose: Callable[[], Principal | None],
        client: Any = None,
        pace: StreamPace | None = None,
    ) -> None:
        self._feed = feed
        self._listener = listener
        self._begins = begins
        self._whose = whose
        self._client = client
        self._pace = pace or StreamPace()
        now = time.monotonic()
        # Not all at once: they come back, and a process that has just started had all of them at one moment.
        self._ends_at = now + self._pace.lasts * random.uniform(1.0, 1.25)  # noqa: S311
        self._heartbeat_at = now + self._pace.heartbeat
        self._stuck_at = now + self._pace.slow

    def __next__(self) -> bytes:
        while not self._over():
            now = time.monotonic()
            beats = now >= self._heartbeat_at
            if beats and not self._still_signed_in():
                break
            if not self._has_room(now):
                continue
            if self._begins:
                return self._begins.pop(0)
            if beats:
                self._heartbeat_at = now + self._pace.heartbeat
                return self._heartbeat()
            piece = self._news() if self._listener.wait(self._pace.turn) else None
            if piece is not None:
                return piece
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Free the place for another."""
        self._listener.close()

    def _over(self) -> bool:
        return self._feed.stopping or time.monotonic() >= self._ends_at or _gone(self._client)

    def _entitled(self) -> bool:
        """Whether the session still holds; rights that have changed hold from here on. Raises Unavailable."""
        viewer = self._whose()
        if viewer is None:
            return False
        told = self._listener.viewer
        if (viewer, viewer.mandates) != (told, told.mandates):
            self._listener.turn_into(viewer)
        return True

    def _still_signed_in(self) -> bool:
        # While nobody can say, a stream that tells nothing may stay.
        try:
            return self._entitled()
        except Unavailable:
            return True

    def _has_room(self, now: float) -> bool:
        if self._client is None or _ready(self._client, select.POLLOUT, self._pace.turn):
            self._stuck_at = now + self._pace.slow
            return True
        if now >= self._stuck_at:
            self._ends_at = now
        return False

    def _news(self) -> bytes | None:
        """The next event; None when the session has ended, or when nobody can say whether it has."""
        try:
            if not self._entitled():
                self._ends_at = time.monotonic()
                return None
        except Unavailable:
            # What is pending was found by rights that nobody can vouch for now.
            self._listener.turn_into(self._listener.viewer)
            time.sleep(self._pace.turn)
            return None
        news = self._listener.take(MAX_IDS)
        cursor = None if news.at is None else encode_cursor(news.at, self._listener.viewer)
        return _event("refetch" if news.refetch else "changed", cursor=cursor, ids=news.ids)

    def _heartbeat(self) -> bytes:
        at = self._listener.caught_up
        place = "" if at is None else f"id: {encode_cursor(at, self._listener.viewer)}\n"
        return f": still here\n{place}\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What has changed since a cursor."""

    ids: tuple[UUID, ...]
    refetch: bool
    at: datetime


def _feed() -> Feed:
    """The feed of this process, made by whoever is the first to need it."""
    parts = wiring()
    database = parts.engine.database
    made = Feed(lambda since: _look(database, since), max_listeners=parts.settings.api_threads // 2)
    found: Feed = current_app.extensions.setdefault(EXTENSION, made)
    return found


def _look(database: Database, since: datetime | None) -> Changes:
    with database.autocommit() as cursor:
        if since is None:
            return Changes(now=database_now(cursor), changes=(), complete=True)
        return changes_since(cursor, since)


def _since(visit: Visit, text: str | None, *, lenient: bool) -> _Found:
    """What the viewer has to be told to go on from this cursor, which may be one of other rights or too old."""
    place: datetime | None = None
    if text is not None:
        try:
            place = decode_cursor(text, visit.principal)
        except ValueError as error:
            # A browser repeats the id it has, whatever became of the server that gave it.
            if not lenient:
                fix = "send the cursor as it came, or none to start"
                field = FieldError(path="?since", message="is no cursor of this server", fix=fix)
                raise InvalidInput(errors=[field]) from error
    with visit.engine.database.autocommit() as cursor:
        now = database_now(cursor)
        if place is None or not now - MAX_AGE <= place <= now:
            return _Found(ids=(), refetch=text is not None, at=now)
        found = changes_since(cursor, place - timedelta(seconds=Pace().overlap), limit=MAX_MISSED)
    told = tuple(each.id for each in found.changes if each.concerns(visit.principal))
    return _Found(ids=told if found.complete else (), refetch=not found.complete, at=found.now)


def _beginning(found: _Found, viewer: Principal) -> list[bytes]:
    """`ready`, and what was missed. Only the last has a cursor: who hangs up before it has not been told all."""
    events: list[tuple[str, tuple[UUID, ...]]] = [("ready", ())]
    if found.refetch:
        events.append(("refetch", ()))
    events += [("changed", found.ids[start : start + MAX_IDS]) for start in range(0, len(found.ids), MAX_IDS)]
    cursor = encode_cursor(found.at, viewer)
    pieces = [
        _event(kind, cursor=cursor if place == len(events) else None, ids=ids)
        for place, (kind, ids) in enumerate(events, start=1)
    ]
    return [f"retry: {RETRY_MS}\n\n".encode() + pieces[0], *pieces[1:]]


def _event(kind: str, *, cursor: str | None = None, ids: tuple[UUID, ...] = ()) -> bytes:
    place = "" if cursor is None else f"id: {cursor}\n"
    said = orjson.dumps({"ids": [str(changed) for changed in ids]} if ids else {}).decode()
    return f"event: {kind}\n{place}data: {said}\n\n".encode()


def _event_stream(body: Iterator[bytes]) -> Response:
    response = Response(body, content_type="text/event-stream; charset=utf-8")
    # Proxies that gather answers before they hand them on are asked to let this one through.
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _gone(client: Any) -> bool:
    """Whether the client has hung up. What it sends besides is left for nobody: the connection ends with the stream."""
    if client is None:
        return False
    try:
        if not _ready(client, select.POLLIN, 0):
            return False
        return not client.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def _ready(client: Any, what: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(client.fileno(), what)
    return bool(poll.poll(seconds * 1000))
