"""Signing people out and changing keys from the command line, with effect on the next request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.integration.cli.test_direct import signoff

from signoff.identity import StartedWith
from signoff.store.database import Database
from signoff.store.identity import (
    authenticate,
    create_api_key,
    create_principal,
    find_principal,
    list_api_keys,
    update_principal,
)
from signoff.store.sessions import (
    create_sign_in_link,
    list_sessions,
    session_principal,
    start_session,
    use_sign_in_link,
)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database.connect(database_url, pool_size=2)
    for name in ("ana", "sam"):
        create_principal(made, name=name, kind="user", roles=("reviewer",))
    yield made
    made.close()


def _session(database: Database, name: str, *, agent: str = "test", started_with: StartedWith | None = None) -> str:
    with database.autocommit() as cursor:
        principal = find_principal(cursor, name)
    assert principal is not None
    return start_session(database, principal, hours=1, user_agent=agent, key=None, started_with=started_with)


def test_open_sessions_are_listed_without_what_opens_them(database: Database, database_url: str) -> None:
    tokens = [_session(database, "ana", agent="Firefox"), _session(database, "sam")]
    everybody = signoff(database_url, "session", "list", "--json")
    one = signoff(database_url, "session", "list", "ana")
    found = json.loads(everybody.stdout)
    assert [each["principal"] for each in found] == ["sam", "ana"]
    assert (found[1]["user_agent"], found[1]["by_key"]) == ("Firefox", False)
    assert "ana" in one.stdout
    assert "sam" not in one.stdout
    assert not any(token in everybody.stdout + one.stdout for token in tokens)


@pytest.mark.parametrize(
    ("started_with", "shown"),
    [("password", "password"), ("provider", "provider"), ("link", "link"), ("api_key", "key"), (None, "")],
)
def test_the_list_says_what_a_session_was_begun_with(
    database: Database, database_url: str, started_with: StartedWith | None, shown: str
) -> None:
    _session(database, "ana", started_with=started_with)
    (told,) = json.loads(signoff(database_url, "session", "list", "--json").stdout)
    assert told["started_with"] == started_with
    header, row = signoff(database_url, "session", "list").stdout.splitlines()
    assert row[header.index("BY") : header.index("MADE")].strip() == shown


def test_a_revoked_session_opens_nothing_with_the_next_request(database: Database, database_url: str) -> None:
    ended, kept = _session(database, "ana"), _session(database, "ana")
    (_, session) = list_sessions(database, "ana")
    result = signoff(database_url, "session", "revoke", str(session.id))
    assert (result.exit_code, result.stdout) == (0, "1 session ended\n")
    assert session_principal(database, ended) is None
    assert session_principal(database, kept) is not None


def test_all_of_a_person_ends_their_links_too_and_nobody_elses(database: Database, database_url: str) -> None:
    tokens, other = [_session(database, "ana"), _session(database, "ana")], _session(database, "sam")
    link = create_sign_in_link(database, "ana", lasts=timedelta(minutes=5))
    result = signoff(database_url, "session", "revoke", "--all", "ana", "--json")
    assert json.loads(result.stdout) == {"revoked": 2}
    assert [session_principal(database, token) for token in tokens] == [None, None]
    assert use_sign_in_link(database, link) is None
    assert session_principal(database, other) is not None


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["session", "list", "nobody"], 1, "error[not_found]"),
        (["session", "revoke", "nothing"], 1, "error[not_found]"),
        (["session", "revoke", str(uuid4())], 1, "error[not_found]"),
        (["session", "revoke", "--all", "nobody"], 1, "error[not_found]"),
        (["session", "revoke"], 2, "which session?"),
        (["session", "revoke", "x", "--all", "ana"], 2, "which session?"),
        (["principal", "link", "nobody", "sub-1", "--issuer", "https://idp.example"], 1, "error[not_found]"),
        (["principal", "link", "ana", "\u202e", "--issuer", "https://idp.example"], 1, "error[invalid]"),
        (["principal", "link", "ana", "sub-1"], 2, "which provider?"),
        (["key", "rotate", "so_nothing"], 1, "error[not_found]"),
        (["key", "rotate", "so_nothing", "--overlap", "soon"], 2, "--overlap 24h"),
        (["key", "rotate", "so_nothing", "--overlap", "31d"], 2, "up to 30 days"),
    ],
)
def test_what_can_not_be_is_refused(database_url: str, arguments: list[str], code: int, told: str) -> None:
    result = signoff(database_url, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr


def test_a_rotated_key_and_the_new_one_both_work_until_the_overlap_is_over(
    database: Database, database_url: str
) -> None:
    old = create_api_key(database, "ana")
    result = signoff(database_url, "key", "rotate", old.rpartition("_")[0][:11])
    new = result.stdout.strip()
    assert result.exit_code == 0, result.stderr
    for key in (old, new):
        found = authenticate(database, key)
        assert found is not None
        assert found.name == "ana"
    fresh, before = list_api_keys(database, "ana")
    assert fresh.expires_at is None
    assert before.expires_at is not None
    assert abs(before.expires_at - datetime.now(UTC) - timedelta(hours=24)) < timedelta(minutes=1)
    again = signoff(database_url, "key", "rotate", str(fresh.id), "--overlap", "0s", "--json")
    said = json.loads(again.stdout)
    assert (said["principal"], said["replaces"]["prefix"]) == ("ana", fresh.prefix)
    assert authenticate(database, new) is None, "without an overlap the old key is dead at once"
    assert authenticate(database, said["key"]) is not None


def test_rotating_makes_no_key_last_longer_than_it_was_made_for(database: Database, database_url: str) -> None:
    ends = datetime.now(UTC) + timedelta(hours=2)
    old = create_api_key(database, "ana", expires_at=ends)
    assert signoff(database_url, "key", "rotate", old).exit_code == 0
    fresh, before = list_api_keys(database, "ana")
    assert before.expires_at == ends, "the overlap is longer than what was left of it"
    assert fresh.expires_at is not None
    assert abs(fresh.expires_at - ends) < timedelta(minutes=1), "the new key is given the same span"


@pytest.mark.parametrize("how", ["revoked", "expired", "disabled"])
def test_a_key_that_opens_nothing_is_not_rotated_into_one_that_does(
    database: Database, database_url: str, how: str
) -> None:
    key = create_api_key(database, "ana")
    if how == "disabled":
        update_principal(database, "ana", disabled=True)
    else:
        column = {"revoked": "revoked_at", "expired": "expires_at"}[how]
        with database.autocommit() as cursor:
            cursor.execute(f"UPDATE api_keys SET {column} = now()")
    result = signoff(database_url, "key", "rotate", key)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error[conflict]" in result.stderr
    assert len(list_api_keys(database, "ana")) == 1


def test_a_subject_is_linked_to_one_person_and_no_program(database: Database, database_url: str) -> None:
    create_principal(database, name="portal", kind="service", roles=("requester",))
    link = ("principal", "link")
    where = ("--issuer", "https://idp.example", "--json")
    assert signoff(database_url, *link, "portal", "sub-1", *where).exit_code == 1
    result = signoff(database_url, *link, "ana", "sub-1", *where)
    assert json.loads(result.stdout) == {"name": "ana", "issuer": "https://idp.example", "subject": "sub-1"}
    again = signoff(database_url, *link, "sam", "sub-1", *where)
    assert (again.exit_code, json.loads(again.stderr)["code"]) == (1, "conflict")
