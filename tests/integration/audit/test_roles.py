"""The role of the application appends to the log, and can neither change nor take away what is in it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url
from tests.integration.audit.notary import Notary
from tests.integration.engine.world import RecordingPublisher, World, shift_clock
from tests.integration.store.states import a_run_in_every_state
from tests.unit.transitions.graphs import gate, graph, pay

from signoff.engine import DecisionRequest, Engine, channels
from signoff.errors import SignoffError
from signoff.model import SYSTEM
from signoff.settings import Settings
from signoff.store import grants, schema
from signoff.store.callbacks import add_callback, link_person, remove_callback, unlink_person
from signoff.store.database import Database
from signoff.store.delegations import NewDelegation
from signoff.store.identity import create_api_key, create_principal, list_api_keys, revoke_api_key
from signoff.store.notification_events import expand
from signoff.store.passwords import prove, remove_password, set_password
from signoff.store.role_grants import Holder, grant_role, revoke_role
from signoff.store.sessions import revoke_all_sessions, start_session
from signoff.store.task_links import find_link

MAIL = "mailto://mail.example.com/leads@example.com?from=signoff@example.com"


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


def test_the_application_does_all_that_people_and_programs_are_given_by(roles: Roles) -> None:
    """Each table beside the log is written and cleared by who has these grants and no more."""
    settings = Settings(database_url=roles.application)
    engine = Engine(database=Database.connect(roles.application), publisher=RecordingPublisher(), settings=settings)
    database = engine.database
    try:
        ana, root = (
            create_principal(database, name=name, kind="user", groups=groups, roles=[role])
            for name, groups, role in (("ana", ["leads"], "requester"), ("root", [], "admin"))
        )
        create_principal(database, name="ben", kind="user")
        revoke_api_key(database, _new_key(database))
        grant_role(database, Holder(name="ben"), role="auditor", workflow="small")
        revoke_role(database, Holder(name="ben"), role="auditor", workflow="small")
        engine.register(graph(gate("ok", "pay", four_eyes=False), pay()), by=SYSTEM)
        limit = engine.set_limit(subject="group:leads", limit="true", by=root)
        engine.remove_limit(limit.id, by=root)
        engine.delegate(NewDelegation(kind="delegation", delegate="ben"), by=ana)
        for each in engine.list_delegations(by=ana):
            engine.end_delegation(each.id, by=ana)
        run = engine.start(workflow="small", input={"amount": 1}, requester=ana).run_id
        with database.autocommit() as cursor:
            row = cursor.execute("SELECT id, payload_sha256 FROM human_tasks WHERE run_id = %s", (run,)).fetchone()
        assert row is not None
        engine.snooze(row[0], until=datetime.now(UTC) + timedelta(hours=1), by=ana)
        engine.unsnooze(row[0], by=ana)
        channel = channels.add(database, settings, subject="group:leads", url=MAIL, by=root)
        with database.transaction() as cursor:
            expand(cursor, limit=10)
        found = find_link(database, engine.issue_task_link(row[0], "ana").token)
        assert found is not None
        said = DecisionRequest(decision="approve", payload_sha256=row[1], surface="link")
        engine.decide_by_link(found, said, by=ana)
        channels.remove(database, channel.id, by=root)
        set_password(database, "ana", "four words to guess")
        assert prove(database, "ana", "one word to guess", address="192.0.2.1") is None
        assert prove(database, "ana", "four words to guess", address="192.0.2.1") is not None
        remove_password(database, "ana")
        add_callback(database, "portal")
        link_person(database, "portal", "ana", external_id="U1")
        unlink_person(database, "portal", external_id="U1")
        remove_callback(database, "portal")
        start_session(database, ana, hours=1, user_agent="x", key=None)
        revoke_all_sessions(database, "ana")
        engine.sweep()
        assert engine.verify().ok
    finally:
        engine.close()
    _all_refused(roles.application, WRITES)


def _new_key(database: Database) -> UUID:
    create_api_key(database, "ana", scopes=["runs:read"], workflows=["small"])
    return list_api_keys(database, "ana")[0].id


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
