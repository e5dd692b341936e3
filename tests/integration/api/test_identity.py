"""Principals and API keys: stored as hashes, ended at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import structlog
from structlog.testing import capture_logs
from tests.integration.api.client import Api, problem

from signoff.errors import Conflict, InvalidInput, NotFound
from signoff.identity import Principal
from signoff.store.database import Database
from signoff.store.identity import (
    authenticate,
    create_api_key,
    create_principal,
    ensure_principal,
    find_principal,
    list_api_keys,
    list_principals,
    revoke_api_key,
    update_principal,
)


@pytest.fixture
def database(api: Api) -> Database:
    return api.engine.database


@pytest.fixture
def eve(database: Database) -> Principal:
    """A person with a name of this test's own."""
    number = len(list_principals(database))
    return create_principal(database, name=f"eve-{number}", kind="user", groups=["leads"], roles=["reviewer"])


def test_a_key_is_whose_it_was_made_for(database: Database, eve: Principal) -> None:
    key = create_api_key(database, eve.name)
    assert authenticate(database, key) == eve
    prefix, secret = key.removeprefix("so_").split("_", maxsplit=1)
    assert (len(prefix), len(secret)) == (8, 43)
    assert create_api_key(database, eve.name) != key


def test_no_part_of_a_secret_is_stored(database: Database, eve: Principal) -> None:
    secret = create_api_key(database, eve.name).split("_", maxsplit=2)[2]
    with database.query() as connection:
        for table in ("api_keys", "principals"):
            for row in connection.exec_driver_sql(
                f"SELECT {table}::text, encode(to_json({table})::text::bytea, 'escape') FROM {table}"
            ):
                assert secret not in str(row)
                assert secret.encode().hex() not in str(row)


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key + "x",
        lambda key: key[:-1],
        lambda key: key.upper(),
        lambda _: "",
        lambda _: "so_",
        lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
        lambda key: key + "\n",
        lambda _: "é",
    ],
)
def test_a_key_that_is_a_little_different_is_nobodys(database: Database, eve: Principal, change: object) -> None:
    assert callable(change)
    assert authenticate(database, change(create_api_key(database, eve.name))) is None


def test_revoking_ends_a_key_with_the_next_request_and_only_that_key(
    api: Api, database: Database, eve: Principal
) -> None:
    api.keys[eve.name] = key = create_api_key(database, eve.name)
    other = create_api_key(database, eve.name)
    assert api.as_(eve.name).get("/runs").status_code == 200
    named = next(kept for kept in list_api_keys(database, eve.name) if kept.prefix == key[3:11])
    revoke_api_key(database, named.id)
    problem(api.as_(eve.name).get("/runs"), 401, "unauthenticated")
    assert authenticate(database, other) == eve
    revoke_api_key(database, named.id)
    assert [kept.revoked_at is not None for kept in list_api_keys(database, eve.name)] == [False, True]


def test_a_key_expires(database: Database, eve: Principal) -> None:
    now = datetime.now(UTC)
    assert authenticate(database, create_api_key(database, eve.name, expires_at=now + timedelta(minutes=5))) == eve
    assert authenticate(database, create_api_key(database, eve.name, expires_at=now - timedelta(minutes=5))) is None
    with pytest.raises(InvalidInput, match="time zone"):
        create_api_key(database, eve.name, expires_at=datetime(2030, 1, 1))  # noqa: DTZ001


def test_a_disabled_principal_is_out_until_it_is_enabled(api: Api, database: Database, eve: Principal) -> None:
    key = create_api_key(database, eve.name)
    update_principal(database, eve.name, disabled=True)
    assert authenticate(database, key) is None
    with database.autocommit() as cursor:
        assert find_principal(cursor, eve.name) is None
    update_principal(database, eve.name, groups=["managers"])
    assert authenticate(database, key) is None
    update_principal(database, eve.name, disabled=False)
    assert authenticate(database, key) == Principal(
        id=eve.id, name=eve.name, kind="user", groups=frozenset({"managers"}), roles=eve.roles
    )


def test_groups_that_change_hold_from_the_next_request(api: Api, eve: Principal) -> None:
    api.keys[eve.name] = create_api_key(api.engine.database, eve.name)
    caller = api.as_(eve.name)
    task = api.as_("ana").task(api.as_("portal").start("expense", {"amount": 1}))
    update_principal(api.engine.database, eve.name, groups=[])
    problem(caller.decide(task, "approve"), 403, "not_candidate")
    update_principal(api.engine.database, eve.name, groups=["leads"])
    assert caller.decide(task, "approve").status_code == 201


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": "Eve"}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "x" * 65}, "/name"),
        ({"name": "-x"}, "/name"),
        ({"name": "eve\n"}, "/name"),
        ({"kind": "system"}, "/kind"),
        ({"kind": "robot"}, "/kind"),
        ({"roles": ["king"]}, "/roles"),
        ({"groups": ["A B"]}, "/groups"),
        ({"groups": [f"g{n}" for n in range(65)]}, "/groups"),
    ],
)
def test_a_principal_has_known_roles_and_plain_names(database: Database, change: dict[str, object], path: str) -> None:
    given = {"name": "fine", "kind": "user", "groups": [], "roles": []} | change
    with pytest.raises(InvalidInput) as caught:
        create_principal(database, **given)  # type: ignore[arg-type]
    assert {error.path for error in caught.value.errors} == {path}


def test_a_name_is_taken_once_and_a_kind_never_changes(database: Database, eve: Principal) -> None:
    with pytest.raises(Conflict):
        create_principal(database, name=eve.name, kind="user")
    with pytest.raises(Conflict, match="can't become"):
        ensure_principal(database, name=eve.name, kind="service")
    assert ensure_principal(database, name=eve.name, kind="user", roles=["auditor"]).roles == {"auditor"}
    assert ensure_principal(database, name=f"{eve.name}-2", kind="agent").kind == "agent"


def test_nobody_gets_no_key(database: Database) -> None:
    for missing in ("no-such-name", "", "No\x00"):
        with pytest.raises(NotFound):
            create_api_key(database, missing.replace("\x00", ""))
        with pytest.raises(NotFound):
            update_principal(database, missing, roles=[])


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer so_aaaaaaaa_" + "A" * 43, "so_x", "Bearer \x7f"]
)
def test_without_a_valid_key_the_answer_says_how_to_send_one(api: Api, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = api.as_(None).get("/runs", headers=headers)
    problem(response, 401, "unauthenticated")
    assert response.headers["WWW-Authenticate"].startswith("Bearer realm=")
    assert ("invalid_token" in response.headers["WWW-Authenticate"]) == (header is not None)


def test_keys_are_never_logged(api: Api, eve: Principal) -> None:
    key = create_api_key(api.engine.database, eve.name)
    structlog.reset_defaults()
    with capture_logs() as logs:
        for sent in (key, key[:-1] + "!"):
            headers = {"Authorization": f"Bearer {sent}", "X-Request-Id": "trace-1"}
            response = api.as_(None).get(f"/runs?workflow={key}", headers=headers)
            assert response.headers["X-Request-Id"] == "trace-1"
    assert [line["by"] for line in logs if line["event"] == "request"] == [eve.name, None]
    assert key[12:40] not in str(logs)
