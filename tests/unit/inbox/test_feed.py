"""The feed of changes: one poller while somebody listens, ids by the viewer's rights, and a bound on everything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.servers import eventually

from signoff.authorization import HumanTaskFacts
from signoff.errors import Unavailable
from signoff.identity import Principal
from signoff.ids import new_id
from signoff.model import Candidates
from signoff.store.queries_changes import Change, Changes
from signoff_api.inbox.feed import MAX_PENDING, Feed, Listener, Pace, decode_cursor, encode_cursor

START = datetime(2026, 1, 1, tzinfo=UTC)
FAST = Pace(look=0.005, patience=0.02)


def person(name: str, *groups: str, roles: tuple[str, ...] = ()) -> Principal:
    return Principal(id=new_id(), name=name, kind="user", groups=frozenset(groups), roles=frozenset(roles))


ANA, SAM = person("ana", "leads"), person("sam", "others")


class Rows:
    """Stands in for the table: rows with the moment they were written, and a clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = START
        self.rows: dict[UUID, Change] = {}
        self.looks: list[datetime | None] = []
        self.fails: Exception | None = None
        self.complete = True

    def write(self, *, users: tuple[str, ...] = ("ana",), at: datetime | None = None, id: UUID | None = None) -> UUID:
        part = HumanTaskFacts(
            workflow="w", requester_id="-", candidates=Candidates(users=users), assignee=None, four_eyes=False
        )
        found = id or new_id()
        self.now += timedelta(milliseconds=1)
        self.rows[found] = Change(id=found, changed_at=at or self.now, parts=(part,))
        return found

    def __call__(self, since: datetime | None) -> Changes:
        if self.fails is not None:
            raise self.fails
        self.looks.append(since)
        found = [] if since is None else [row for row in list(self.rows.values()) if row.changed_at > since]
        return Changes(now=self.now, changes=tuple(found), complete=self.complete)


@pytest.fixture
def rows() -> Rows:
    return Rows()


def make(rows: Callable[[datetime | None], Changes], pace: Pace = FAST, limit: int = 10) -> Feed:
    return Feed(rows, max_listeners=limit, pace=pace)


def listen(feed: Feed, viewer: Principal = ANA) -> Listener:
    found = feed.listen(viewer)
    assert found is not None
    return found


def looked(rows: Rows, times: int = 3) -> None:
    """Wait until the poller has looked some more times."""
    before = len(rows.looks)
    eventually(lambda: len(rows.looks) >= before + times, why="the poller looks")


def test_nobody_asks_while_nobody_listens_and_one_asks_for_all(rows: Rows) -> None:
    feed = make(rows)
    assert not feed.polling
    listeners = [listen(feed) for _ in range(5)]
    looked(rows)
    assert [one.name for one in threading.enumerate()].count("signoff-live") == 1
    for one in listeners:
        one.close()
    eventually(lambda: not feed.polling, why="the poller ends with the last listener")
    looks = len(rows.looks)
    again = listen(feed)
    looked(rows)
    again.close()
    assert rows.looks[looks] is None, "a poller that starts anew asks for the clock first"
    eventually(lambda: not feed.polling)


def test_who_sees_it_is_told_once_and_nobody_else(rows: Rows) -> None:
    feed = make(rows)
    ana, sam = listen(feed), listen(feed, SAM)
    looked(rows)
    hers, his = rows.write(), rows.write(users=("sam",))
    assert ana.wait(5)
    assert sam.wait(5)
    looked(rows)
    assert ana.take(10).ids == (hers,)
    assert sam.take(10).ids == (his,)
    looked(rows)
    assert not ana.wait(0.01)
    ana.close()
    sam.close()


def test_a_row_written_again_is_told_again(rows: Rows) -> None:
    feed = make(rows)
    ana = listen(feed)
    looked(rows)
    first = rows.write()
    assert ana.wait(5)
    assert ana.take(10).ids == (first,)
    rows.write(id=first)
    assert ana.wait(5)
    assert ana.take(10).ids == (first,)
    ana.close()


def test_a_row_that_is_committed_late_is_told(rows: Rows) -> None:
    feed = make(rows)
    ana = listen(feed)
    looked(rows)
    rows.now += timedelta(seconds=60)
    looked(rows)
    a_little = rows.write(at=rows.now - timedelta(seconds=4))
    assert ana.wait(5)
    assert ana.take(10).ids == (a_little,)
    much = rows.write(at=rows.now - timedelta(seconds=25))
    assert ana.wait(5), "every few looks go back as far as a statement may have waited"
    assert ana.take(10).ids == (much,)
    looked(rows, 25)
    assert not ana.wait(0.01)
    ana.close()


def test_what_was_told_is_forgotten_once_no_look_finds_it(rows: Rows) -> None:
    feed = make(rows)
    ana = listen(feed)
    looked(rows)
    from signoff_api.inbox import feed as module

    poll = module._Poll(rows, FAST)
    poll.turn()
    for _ in range(50):
        rows.write()
    poll.turn()
    assert len(poll._told) == 50
    rows.now += timedelta(seconds=31)
    poll.turn()
    assert poll._told == {}
    ana.close()


def test_who_does_not_keep_up_is_told_to_read_all_again(rows: Rows) -> None:
    feed = make(rows)
    ana = listen(feed)
    looked(rows)
    for _ in range(MAX_PENDING + 1):
        rows.write()
    looked(rows)
    news = ana.take(10)
    assert (news.ids, news.refetch) == ((), True)
    ana.close()


def test_there_is_no_place_to_go_on_from_while_something_is_left(rows: Rows) -> None:
    feed = make(rows)
    ana = listen(feed)
    looked(rows)
    for _ in range(3):
        rows.write()
    looked(rows)
    assert ana.caught_up is None
    assert ana.take(2).at is None
    assert ana.take(2).at == rows.now
    assert ana.caught_up == rows.now
    ana.close()


@pytest.mark.parametrize("failure", [Unavailable("away"), ZeroDivisionError("a surprise")])
def test_it_outlives_a_database_that_is_away_and_says_that_something_may_be_missing(
    rows: Rows, failure: Exception
) -> None:
    feed = make(rows)
    ana = listen(feed)
    looked(rows)
    rows.fails = failure
    rows.write()
    assert not ana.wait(0.1)
    rows.fails = None
    assert ana.wait(5)
    news = ana.take(10)
    assert (news.ids, news.refetch) == ((), True)
    # Those of the last seconds may come once more: nobody knows what was told.
    looked(rows)
    ana.take(10)
    again = rows.write()
    assert ana.wait(5)
    assert ana.take(10).ids == (again,)
    ana.close()


def test_more_than_one_look_answers_is_read_anew(rows: Rows) -> None:
    feed = make(rows)
    ana = listen(feed)
    looked(rows)
    rows.complete = False
    rows.write()
    assert ana.wait(5)
    assert ana.take(10).refetch
    ana.close()


def test_rights_that_change_forget_what_was_found_by_the_old_ones(rows: Rows) -> None:
    feed = make(rows)
    ana = listen(feed)
    looked(rows)
    rows.write()
    looked(rows)
    ana.turn_into(SAM)
    news = ana.take(10)
    assert (news.ids, news.refetch) == ((), True)
    rows.write()
    his = rows.write(users=("sam",))
    looked(rows)
    assert ana.take(10).ids == (his,)
    ana.close()


def test_there_are_only_as_many_listeners_as_may_be(rows: Rows) -> None:
    feed = make(rows, limit=2)
    one, two = listen(feed), listen(feed)
    assert feed.listen(ANA) is None
    one.close()
    one.close()
    three = listen(feed)
    two.close()
    three.close()


def test_one_that_is_dropped_without_being_closed_takes_no_place(rows: Rows) -> None:
    feed = make(rows, limit=1)
    dropped = listen(feed)
    del dropped
    eventually(lambda: feed.listen(ANA), why="its place is free")


def test_a_process_that_ends_takes_no_listener(rows: Rows) -> None:
    feed = make(rows)
    ana = listen(feed)
    feed.stop()
    assert feed.listen(ANA) is None
    eventually(lambda: not feed.polling, why="the poller ends")
    ana.close()


def test_a_cursor_holds_for_the_rights_it_was_made_for() -> None:
    at = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
    cursor = encode_cursor(at, ANA)
    assert decode_cursor(cursor, ANA) == at
    assert decode_cursor(cursor, SAM) is None
    assert "ana" not in cursor


@pytest.mark.parametrize(
    "text", ["", "x", "é", "W10", "eyJhIjoxfQ", "WzEsMl0", "WyIyMDI2IiwxXQ", "A" * 201, "WyIiLDFd"]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        decode_cursor(text, ANA)
