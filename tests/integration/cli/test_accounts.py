"""`signoff db upgrade`'s first administrator, `principal password`, `role`, `group` and narrowed keys."""

from __future__ import annotations

import json
import threading
from typing import Any

import psycopg
import pytest
from tests.integration.cli.test_direct import signoff
from typer.testing import CliRunner

from signoff.cli.main import app
from signoff.store.database import Database
from signoff.store.first_admin import make_first_admin
from signoff.store.identity import authenticate
from signoff.store.passwords import prove

GOOD = "correct horse battery staple"


def said(database_url: str, *arguments: str) -> Any:
    result = signoff(database_url, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def database(database_url: str) -> Any:
    opened = Database.connect(database_url, pool_size=4)
    yield opened
    opened.close()


class TestFirstAdmin:
    def test_an_upgrade_with_nobody_there_prints_the_key_of_an_administrator_once(
        self, database_url: str, database: Database
    ) -> None:
        first = signoff(database_url, "db", "upgrade")
        again = signoff(database_url, "db", "upgrade")

        key = first.stdout.splitlines()[-1]
        admin = authenticate(database, key)
        assert admin is not None
        assert (admin.name, admin.kind, admin.roles) == ("admin", "user", frozenset({"admin"}))
        assert key not in first.stderr
        assert "so_" not in again.stdout + again.stderr

    def test_as_json_it_is_a_member(self, database_url: str, database: Database) -> None:
        found = said(database_url, "db", "upgrade")["admin"]
        assert found["name"] == "admin"
        assert authenticate(database, found["key"]) is not None
        assert said(database_url, "db", "upgrade")["admin"] is None

    def test_it_is_not_made_where_somebody_is_there_or_nobody_wants_it(self, database_url: str) -> None:
        assert said(database_url, "db", "upgrade", "--no-admin")["admin"] is None
        assert said(database_url, "principal", "list") == []
        said(database_url, "principal", "add", "portal", "--kind", "service")
        said(database_url, "principal", "disable", "portal")
        assert said(database_url, "db", "upgrade")["admin"] is None

    def test_of_many_that_begin_at_once_one_makes_it(self, database: Database) -> None:
        made: list[str | None] = []
        threads = [threading.Thread(target=lambda: made.append(make_first_admin(database))) for _ in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(30)
        assert len(made) == 6
        (key,) = [each for each in made if each is not None]
        assert authenticate(database, key) is not None


class TestPassword:
    def run(self, database_url: str, *arguments: str, typed: str = "") -> Any:
        environment = {"SIGNOFF_DATABASE_URL": database_url, "COLUMNS": "200"}
        return CliRunner().invoke(app, ["principal", "password", *arguments], input=typed, env=environment)

    def test_one_is_read_from_a_pipe_or_made_and_printed_once(self, database_url: str, database: Database) -> None:
        signoff(database_url, "principal", "add", "ana")
        piped = self.run(database_url, "ana", typed=f"{GOOD}\n")
        assert piped.exit_code == 0, piped.output
        assert GOOD not in piped.output
        assert prove(database, "ana", GOOD, address=None) is not None

        made = self.run(database_url, "ana", "--generate")
        assert prove(database, "ana", made.stdout.strip(), address=None) is not None
        assert prove(database, "ana", GOOD, address=None) is None

        assert self.run(database_url, "ana", "--remove").exit_code == 0
        assert prove(database, "ana", made.stdout.strip(), address=None) is None

    @pytest.mark.parametrize(
        ("name", "typed", "told"),
        [("ana", "short\n", "12 to 256"), ("portal", f"{GOOD}\n", "no person"), ("nobody", f"{GOOD}\n", "no person")],
    )
    def test_what_will_not_do_is_told(self, database_url: str, name: str, typed: str, told: str) -> None:
        signoff(database_url, "principal", "add", "ana")
        signoff(database_url, "principal", "add", "portal", "--kind", "service")
        result = self.run(database_url, name, typed=typed)
        assert result.exit_code == 1
        assert told in result.stderr


class TestKeys:
    def test_a_key_is_narrowed_and_stays_so_when_it_is_rotated(self, database_url: str, database: Database) -> None:
        signoff(database_url, "principal", "add", "portal", "--kind", "service")
        arguments = ("-s", "runs:start", "-s", "runs:read", "-w", "refund", "--expires", "90d")
        made = said(database_url, "key", "create", "portal", *arguments)
        assert (made["scopes"], made["workflows"]) == (["runs:read", "runs:start"], ["refund"])
        (listed,) = said(database_url, "key", "list", "portal")
        assert (listed["scopes"], listed["workflows"]) == (["runs:read", "runs:start"], ["refund"])
        assert "runs:" in signoff(database_url, "key", "list").stdout

        new = said(database_url, "key", "rotate", listed["id"])["key"]
        found = authenticate(database, new)
        assert found is not None
        assert (found.scopes, found.workflows) == (frozenset({"runs:read", "runs:start"}), frozenset({"refund"}))

    def test_a_scope_that_there_is_not_is_told_with_those_there_are(self, database_url: str) -> None:
        signoff(database_url, "principal", "add", "portal", "--kind", "service")
        result = signoff(database_url, "key", "create", "portal", "--scope", "runs:everything")
        assert result.exit_code == 1
        assert "tasks:decide" in result.stderr

    def test_an_empty_list_is_no_way_to_say_everything(self, database_url: str) -> None:
        signoff(database_url, "key", "create", "--admin", "root")
        with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("UPDATE api_keys SET scopes = '{}'")


class TestRoles:
    def test_granted_listed_and_revoked(self, database_url: str, database: Database) -> None:
        signoff(database_url, "principal", "add", "ana", "--group", "leads")
        key = said(database_url, "key", "create", "ana")["key"]
        assert said(database_url, "role", "grant", "ana", "-r", "auditor", "-w", "refund")["new"] is True
        assert said(database_url, "role", "grant", "ana", "-r", "auditor", "-w", "refund")["new"] is False
        said(database_url, "role", "grant", "--group", "leads", "-r", "author", "-w", "loan")

        found = authenticate(database, key)
        assert found is not None
        assert {(each.role, each.workflow) for each in found.grants} == {("auditor", "refund"), ("author", "loan")}
        assert [each.get("principal", each.get("group")) for each in said(database_url, "role", "list")] == [
            "leads",
            "ana",
        ]
        assert len(said(database_url, "role", "list", "ana")) == 1
        assert len(said(database_url, "role", "list", "--workflow", "loan")) == 1

        said(database_url, "group", "remove", "leads", "ana")
        said(database_url, "role", "revoke", "ana", "-r", "auditor", "-w", "refund")
        found = authenticate(database, key)
        assert found is not None
        assert found.grants == frozenset()

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (("grant", "ana", "-r", "king", "-w", "refund"), 1),
            (("grant", "ana", "-r", "author", "-w", "Not A Name"), 1),
            (("grant", "nobody", "-r", "author", "-w", "refund"), 1),
            (("revoke", "ana", "-r", "author", "-w", "refund"), 1),
            (("grant", "-r", "author", "-w", "refund"), 2),
            (("grant", "ana", "-g", "leads", "-r", "author", "-w", "refund"), 2),
        ],
    )
    def test_what_will_not_do_is_told(self, database_url: str, arguments: tuple[str, ...], code: int) -> None:
        signoff(database_url, "principal", "add", "ana")
        result = signoff(database_url, "role", *arguments)
        assert (result.exit_code, bool(result.stderr)) == (code, True)

    def test_there_are_not_more_than_so_many(self, database_url: str) -> None:
        signoff(database_url, "principal", "add", "ana")
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "INSERT INTO role_grants (id, principal_id, role, workflow, created_at)"
                " SELECT gen_random_uuid(), id, 'author', 'w' || n, now() FROM principals, generate_series(1, 200) n"
            )
        result = signoff(database_url, "role", "grant", "ana", "-r", "author", "-w", "one-more")
        assert result.exit_code == 1
        assert len(said(database_url, "role", "list", "ana")) == 200


class TestGroups:
    def test_who_is_in_which(self, database_url: str) -> None:
        for name in ("ana", "sam"):
            signoff(database_url, "principal", "add", name)
        assert said(database_url, "group", "add", "leads", "ana", "sam")["members"] == ["ana", "sam"]
        said(database_url, "group", "add", "night-shift", "sam")
        assert said(database_url, "group", "list") == [
            {"name": "leads", "members": ["ana", "sam"]},
            {"name": "night-shift", "members": ["sam"]},
        ]
        assert said(database_url, "group", "remove", "leads", "sam")["members"] == ["ana"]
        assert signoff(database_url, "group", "members", "leads").stdout == "ana\n"

    def test_all_or_none(self, database_url: str) -> None:
        signoff(database_url, "principal", "add", "ana")
        assert signoff(database_url, "group", "add", "leads", "ana", "nobody").exit_code == 1
        assert said(database_url, "group", "list") == []


def test_a_disabled_principal_is_enabled_again(database_url: str) -> None:
    signoff(database_url, "principal", "add", "ana")
    assert said(database_url, "principal", "disable", "ana")["disabled"] is True
    assert said(database_url, "principal", "enable", "ana")["disabled"] is False
    assert [each["disabled"] for each in said(database_url, "principal", "list")] == [False]
