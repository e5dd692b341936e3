"""The role of the application appends to the log, and can neither change nor take away what is in it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url
from tests.integration.audit.notary import Notary
from tests.integration.engine.world import World, shift_clock
from tests.integration.store.states import a_run_in_every_state

from signoff.errors import SignoffError
from signoff.store import grants, schema


@dataclass(frozen=True, kw_only=True)
class Roles:
    """One database as its owner sees it, and as roles with no more than their grants."""

    owner: str
    application: str
    auditor: str


def _role(owner: psycopg.Connection, url: str, made: dict[str, str], name: str) -> str:  # type: ignore[type-arg]
    role = f'{name}-"{secrets.token_hex(4)}"'
    password = secrets.token_hex(8)
    owner.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password)))
    statements = grants.auditor_grants(role) if name == "auditor" else grants.application_grants(role)
    for _ in range(2):
        for statement in statements:
            owner.execute(statement)  # type: ignore[call-overload]
    owner.execute(sql.SQL("GRANT USAGE ON SCHEMA shifted TO {}").format(sql.Identifier(role)))
    # The tests' clock is moved by whoever uses it.
    owner.execute(sql.SQL("GRANT SELECT, UPDATE ON shifted.by TO {}").format(sql.Identifier(role)))
    made[name] = role
    return make_url(url).set(username=role, password=password).render_as_string(hide_password=False)


@pytest.fixture
def roles(database_url: str) -> Iterator[Roles]:
    shift_clock(database_url)
    made: dict[str, str] = {}
    with psycopg.connect(database_url, autocommit=True) as owner:
        # More than it should have: the grants take it back.
        application = _role(owner, database_url, made, "application")
        owner.execute(sql.SQL("GRANT ALL ON events TO {}").format(sql.Identifier(made["application"])))
        for statement in grants.application_grants(made["application"]):
            owner.execute(statement)  # type: ignore[call-overload]
        yield Roles(owner=database_url, application=application, auditor=_role(owner, database_url, made, "auditor"))
        for role in made.values():
            owner.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


WRITES = (
    "UPDATE events SET data = data",
    "UPDATE events SET hash = hash WHERE seq = 1",
    "DELETE FROM events",
    "TRUNCATE events",
    "TRUNCATE runs CASCADE",
    "DELETE FROM runs",
    "DELETE FROM decisions",
    "DELETE FROM authority_limits",
    "DELETE FROM delegations",
    "DELETE FROM callbacks",
    "UPDATE workflow_versions SET sha256 = sha256",
    "UPDATE identity_changes SET actor = actor",
    "DELETE FROM identity_changes",
    "TRUNCATE identity_changes",
    "ALTER TABLE events DISABLE TRIGGER ALL",
    "DROP TABLE events",
    "CREATE RULE kept AS ON INSERT TO events DO INSTEAD NOTHING",
)


def test_the_application_lives_its_whole_life_and_changes_no_event(roles: Roles) -> None:
    world = World.on(roles.application)
    try:
        runs = a_run_in_every_state(world)
        world.later(3_600)
        world.engine.sweep()
        assert world.engine.verify().runs == len(runs) + 1
    finally:
        world.engine.close()
    _all_refused(roles.application, WRITES)
    with psycopg.connect(roles.owner) as owner:
        owner.execute("UPDATE events SET data = data")  # type: ignore[call-overload]
        owner.rollback()


def test_an_auditor_anchors_and_verifies_and_writes_nothing(roles: Roles, tmp_path: Path) -> None:
    world = World.on(roles.application)
    runs = a_run_in_every_state(world)
    world.engine.close()
    with Notary.at(roles.auditor, tmp_path) as notary:
        notary.anchor()
        found = notary.verified()
        assert (found.ok, found.runs, found.unanchored) == (True, len(runs) + 1, 0)
    _all_refused(
        roles.auditor,
        (*WRITES, "INSERT INTO events SELECT * FROM events", "SELECT * FROM api_keys", "SELECT * FROM sessions"),
    )


def _all_refused(url: str, statements: tuple[str, ...]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)  # type: ignore[call-overload]


@pytest.mark.parametrize("table", ["events", "workflow_versions"])
def test_a_role_with_less_can_not_do_its_work(roles: Roles, table: str) -> None:
    """The grants are no wider than they have to be: without INSERT here nothing starts."""
    with psycopg.connect(roles.owner, autocommit=True) as owner:
        name = make_url(roles.application).username
        assert name is not None
        owner.execute(sql.SQL("REVOKE INSERT ON {} FROM {}").format(sql.Identifier(table), sql.Identifier(name)))
    world = World.on(roles.application)
    try:
        with pytest.raises((psycopg.errors.InsufficientPrivilege, SignoffError)):
            a_run_in_every_state(world)
    finally:
        world.engine.close()


def test_every_table_is_granted_and_the_log_only_to_append() -> None:
    statements = grants.application_grants("app")
    for table in schema.metadata.tables:
        assert sum(f" ON {table} TO " in statement for statement in statements) == 1, table
    assert 'GRANT SELECT, INSERT ON events TO "app"' in statements
