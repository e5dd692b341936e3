"""Sessions and sign-in links as they are stored: nothing kept opens anything, and what has ended is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from tests.integration.engine.world import together

from signoff.errors import NotFound
from signoff.identity import Authentication, Principal
from signoff.store.database import Database
from signoff.store.identity import authenticate, create_api_key, create_principal, update_principal
from signoff.store.sessions import (
    create_sign_in_link,
    end_session,
    forget_ended,
    list_sessions,
    peek_sign_in_link,
    revoke_session,
    session_principal,
    start_session,
    touch_session,
    use_sign_in_link,
)

MINUTE = timedelta(minutes=1)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database.connect(database_url, pool_size=8)
    yield made
    made.close()


@pytest.fixture
def ana(database: Database) -> Principal:
    return create_principal(database, name="ana", kind="user", groups=("leads",), roles=("reviewer",))


def _start(database: Database, ana: Principal, hours: float = 1) -> str:
    return start_session(database, ana, hours=hours, user_agent="test", key=None)


def _age(database: Database, table: str, ended: str) -> None:
    with database.autocommit() as cursor:
        cursor.execute(f"UPDATE {table} SET expires_at = now() - interval '{ended}'")


def _dump(database: Database) -> str:
    with database.autocommit() as cursor:
        rows = cursor.execute("SELECT s::text FROM sessions s UNION ALL SELECT l::text FROM sign_in_links l").fetchall()
    return "\n".join(text for (text,) in rows)


def test_a_token_is_seen_once_and_only_its_digest_is_kept(database: Database, ana: Principal) -> None:
    token, link = _start(database, ana), create_sign_in_link(database, "ana", lasts=MINUTE)
    assert session_principal(database, token) == ana
    assert token not in _dump(database)
    assert link not in _dump(database)
    assert len({_start(database, ana) for _ in range(5)}) == 5


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "A" * 42 + "\x00", "é" * 43, "A" * 10_000])
def test_what_is_no_token_is_nobody(database: Database, token: str) -> None:
    assert session_principal(database, token) is None
    assert peek_sign_in_link(database, token) is None
    assert use_sign_in_link(database, token) is None


def test_a_session_knows_which_it_is_and_what_it_was_begun_with(database: Database, ana: Principal) -> None:
    key = create_api_key(database, "ana")
    plain, linked, keyed = (
        start_session(database, ana, hours=1, user_agent="test", key=None),
        start_session(database, ana, hours=1, user_agent="test", key=None, started_with="link"),
        start_session(database, ana, hours=1, user_agent="test", key=key),
    )
    found = [session_principal(database, token) for token in (plain, linked, keyed)]
    known = [each.authentication for each in found if each is not None and each.authentication is not None]
    told = [(each.method, each.started_with) for each in known]
    assert told == [("session", None), ("session", "link"), ("session", "api_key")]
    assert len({each.id for each in known}) == 3
    by_key = authenticate(database, key)
    assert by_key is not None
    assert by_key.authentication == Authentication(method="api_key", id=key.split("_")[1])


def test_a_link_is_no_session_and_a_session_is_no_link(database: Database, ana: Principal) -> None:
    token, link = _start(database, ana), create_sign_in_link(database, "ana", lasts=MINUTE)
    assert session_principal(database, link) is None
    assert peek_sign_in_link(database, token) is None


def test_groups_and_roles_are_those_of_now(database: Database, ana: Principal) -> None:
    token = _start(database, ana)
    with database.autocommit() as cursor:
        cursor.execute("UPDATE principals SET groups = '{others}', roles = '{}'")
    found = session_principal(database, token)
    assert found is not None
    assert (found.groups, found.roles) == (frozenset({"others"}), frozenset())


def test_ending_and_revoking_are_for_good_and_twice_is_no_error(database: Database, ana: Principal) -> None:
    first, second = _start(database, ana), _start(database, ana)
    end_session(database, first)
    end_session(database, first)
    assert session_principal(database, first) is None
    (left,) = list_sessions(database, "ana")
    revoke_session(database, left.id)
    revoke_session(database, left.id)
    assert session_principal(database, second) is None
    assert list_sessions(database, "ana") == []
    with pytest.raises(NotFound):
        revoke_session(database, uuid4())


def test_a_session_lasts_its_hours_and_no_longer(database: Database, ana: Principal) -> None:
    token = _start(database, ana)
    (session,) = list_sessions(database, "ana")
    assert session.expires_at - session.created_at == timedelta(hours=1)
    touch_session(database, token)
    assert list_sessions(database, "ana")[0].expires_at == session.expires_at, "use does not make it longer"
    assert list_sessions(database, "ana")[0].seen_at > session.seen_at
    _age(database, "sessions", "0 seconds")
    assert session_principal(database, token) is None


def test_a_link_is_used_by_one_of_many_at_once(database: Database, ana: Principal) -> None:
    for _ in range(5):
        link = create_sign_in_link(database, "ana", lasts=MINUTE)
        assert peek_sign_in_link(database, link) == ana
        found = together(*[lambda link=link: use_sign_in_link(database, link)] * 6)
        assert sorted(found, key=str) == [None] * 5 + [ana] or found.count(ana) == 1
        assert found.count(None) == 5
        assert peek_sign_in_link(database, link) is None


def test_links_are_for_people_who_are_there(database: Database, ana: Principal) -> None:
    create_principal(database, name="portal", kind="service", groups=(), roles=("requester",))
    for name in ("portal", "nobody", ""):
        with pytest.raises(NotFound):
            create_sign_in_link(database, name, lasts=MINUTE)
    link = create_sign_in_link(database, "ana", lasts=MINUTE)
    update_principal(database, "ana", disabled=True)
    assert use_sign_in_link(database, link) is None
    with pytest.raises(NotFound):
        create_sign_in_link(database, "ana", lasts=MINUTE)


def test_what_ended_a_day_ago_is_forgotten_a_bounded_number_at_a_time(database: Database, ana: Principal) -> None:
    for _ in range(3):
        _start(database, ana)
        create_sign_in_link(database, "ana", lasts=MINUTE)
    for ended, gone in (("23 hours", [0]), ("25 hours", [4, 2, 0])):
        _age(database, "sessions", ended)
        _age(database, "sign_in_links", ended)
        for count in gone:
            with database.autocommit() as cursor:
                assert forget_ended(cursor, limit=2) == count
