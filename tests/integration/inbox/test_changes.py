"""Who is told of a change: by the log, whom a human task was before, and by the row, whom it is before now."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from tests.integration.inbox.live_site import GATES, PEOPLE
from tests.servers import eventually

from signoff.definition.document import compile_document, parse_yaml
from signoff.engine import Engine, build_engine
from signoff.errors import Unavailable
from signoff.identity import Mandate, Principal
from signoff.settings import Settings
from signoff.store import queries_changes
from signoff.store.identity import create_principal
from signoff.store.queries_changes import Change, Changes, changes_since, database_now
from signoff_api.inbox.feed import Feed, Pace, decode_cursor, encode_cursor
from signoff_api.inbox.live import Stream, StreamPace


@pytest.fixture
def engine(database_url: str, broker_url: str) -> Iterator[Engine]:
    built = build_engine(Settings(database_url=database_url, broker_url=broker_url), pool_size=3)
    yield built
    # A poller that is still looking would give its connection back to a pool that is no longer there.
    eventually(lambda: not any(thread.name == "signoff-live" for thread in threading.enumerate()), why="a poller")
    built.close()


@pytest.fixture
def people(engine: Engine) -> dict[str, Principal]:
    found = {
        name: create_principal(engine.database, name=name, kind="user", groups=groups, roles=roles)
        for name, (groups, roles) in PEOPLE.items()
    }
    for name, gate in GATES.items():
        compiled = compile_document(parse_yaml(f"workflow: {name}\nsteps: [{gate}]"))
        engine.register(compiled.graph, by=found["req"].actor)
    return found


def start(engine: Engine, requester: Principal, workflow: str) -> UUID:
    run_id = engine.start(workflow=workflow, input={"name": "x"}, requester=requester).run_id
    with engine.database.autocommit() as cursor:
        (found,) = cursor.execute("SELECT id FROM human_tasks WHERE run_id = %s", (run_id,)).fetchall()
    return UUID(str(found[0]))


def look(engine: Engine, since: datetime) -> dict[UUID, Change]:
    with engine.database.autocommit() as cursor:
        return {each.id: each for each in changes_since(cursor, since).changes}


def now(engine: Engine) -> datetime:
    with engine.database.autocommit() as cursor:
        return database_now(cursor)


def test_only_the_change_that_takes_it_away_is_told_to_who_loses_it(
    engine: Engine, people: dict[str, Principal]
) -> None:
    task = start(engine, people["req"], "moves-on")
    before = now(engine)
    eventually(lambda: engine.sweep().human_tasks, why="the gate asks the managers instead")
    told = look(engine, before)[task]
    assert [name for name, who in people.items() if told.concerns(who)] == ["ana", "sam", "max", "zoe", "req"]
    after = now(engine)
    engine.claim(task, by=people["max"])
    told = look(engine, after)[task]
    assert [name for name, who in people.items() if told.concerns(who)] == ["max", "zoe", "req"]


def test_a_candidate_alone_is_no_stranger_to_what_another_holds(engine: Engine, people: dict[str, Principal]) -> None:
    task = start(engine, people["req"], "to-leads")
    before = now(engine)
    engine.claim(task, by=people["ana"])
    engine.release(task, by=people["ana"])
    told = look(engine, before)[task]
    assert told.parts[0].assignee is None
    assert told.concerns(people["sam"])
    assert not told.concerns(people["max"])


def test_one_look_is_one_statement_by_the_index(engine: Engine, people: dict[str, Principal]) -> None:
    task = start(engine, people["req"], "to-leads")
    with engine.database.autocommit() as cursor:
        cursor.execute(
            "INSERT INTO human_tasks SELECT (jsonb_populate_record(h, jsonb_build_object('id', gen_random_uuid(),"
            " 'changed_at', now() - n * interval '1 second'))).* FROM human_tasks h, generate_series(1, 20000) n"
            " WHERE h.id = %s",
            (task,),
        )
        cursor.execute("ANALYZE human_tasks")
        since = database_now(cursor) - timedelta(seconds=100)
        plan = cursor.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {queries_changes._CHANGED}", {"since": since, "limit": 1001}
        ).fetchone()
        assert plan is not None
        assert "human_tasks_changed" in json.dumps(plan[0])
        took = []
        for _ in range(20):
            begun = time.perf_counter()
            found = changes_since(cursor, since, limit=1000)
            took.append(time.perf_counter() - begun)
        assert 95 <= len(found.changes) <= 101
        print(f"a look at {len(found.changes)} changes of 20001 rows: median {sorted(took)[10] * 1000:.2f} ms")
        assert sorted(took)[10] < 0.05


def test_a_look_says_when_there_was_more(engine: Engine, people: dict[str, Principal]) -> None:
    before = now(engine)
    for _ in range(3):
        start(engine, people["req"], "to-leads")
    with engine.database.autocommit() as cursor:
        assert changes_since(cursor, before, limit=3).complete
        found = changes_since(cursor, before, limit=2)
    assert (len(found.changes), found.complete) == (2, False)


class Session:
    """Whose session it is, as a test sets it."""

    def __init__(self, viewer: Principal | None) -> None:
        self.viewer = viewer
        self.away = False

    def __call__(self) -> Principal | None:
        if self.away:
            raise Unavailable("away")
        return self.viewer


def stream(engine: Engine, session: Session, client: socket.socket | None = None, **pace: float) -> Stream:
    def ask(since: datetime | None) -> Changes:
        with engine.database.autocommit() as cursor:
            at = database_now(cursor)
            return Changes(now=at, changes=(), complete=True) if since is None else changes_since(cursor, since)

    feed = Feed(ask, max_listeners=1, pace=Pace(look=0.02))
    assert session.viewer is not None
    listener = feed.listen(session.viewer)
    assert listener is not None
    times = StreamPace(**({"turn": 0.02, "heartbeat": 60.0} | pace))
    return Stream(feed=feed, listener=listener, begins=[b"x"], whose=session, client=client, pace=times)


def test_a_heartbeat_comes_by_itself_and_ends_what_has_no_session(engine: Engine, people: dict[str, Principal]) -> None:
    session = Session(people["ana"])
    made = stream(engine, session, heartbeat=0.05)
    assert next(made) == b"x"
    assert next(made).startswith(b": ")
    session.away = True
    assert next(made).startswith(b": ")
    session.away, session.viewer = False, None
    assert list(made) == []


def test_other_rights_are_told_to_read_all_again(engine: Engine, people: dict[str, Principal]) -> None:
    session = Session(people["ana"])
    made = stream(engine, session)
    next(made)
    session.viewer = people["max"]
    task = start(engine, people["req"], "to-leads")
    piece = next(made)
    assert b"event: refetch" in piece
    assert str(task).encode() not in piece
    made.close()


def test_a_right_that_is_lent_no_more_is_told_nothing_more(engine: Engine, people: dict[str, Principal]) -> None:
    ana, max_ = people["ana"], people["max"]
    lent = Mandate(delegation_id=uuid4(), principal_id=ana.id, name=ana.name, groups=ana.groups)
    borrowing = replace(max_, mandates=(lent,))
    session = Session(borrowing)
    made = stream(engine, session)
    next(made)
    session.viewer = max_
    task = start(engine, people["req"], "to-leads")
    piece = next(made)
    assert b"event: refetch" in piece
    assert str(task).encode() not in piece
    made.close()
    at = datetime.now(UTC)
    assert decode_cursor(encode_cursor(at, borrowing), borrowing) == at
    assert decode_cursor(encode_cursor(at, borrowing), max_) is None, "what was lent no more is to be dropped"


def test_a_stream_ends_by_itself(engine: Engine, people: dict[str, Principal]) -> None:
    made = stream(engine, Session(people["ana"]), lasts=0.1)
    assert list(made) == [b"x"]


def test_a_client_that_takes_nothing_is_given_up(engine: Engine, people: dict[str, Principal]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                ours.send(b"x" * 1000)
        assert list(stream(engine, Session(people["ana"]), client=ours, slow=0.1)) == []


def test_a_client_that_has_hung_up_is_noticed_at_once(engine: Engine, people: dict[str, Principal]) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        made = stream(engine, Session(people["ana"]), client=ours)
        assert next(made) == b"x"
        theirs.close()
        assert list(made) == []
