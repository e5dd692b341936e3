"""Every verb that changes somebody's rights leaves who did it: `signoff principal history`."""

from __future__ import annotations

import ast
import json
import os
import pwd
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
from tests.integration.cli.test_direct import signoff
from typer.testing import CliRunner

from signoff.cli.main import app
from signoff.embedded.identities import IDENTITIES, seed
from signoff.identity import Authentication, Principal
from signoff.store import identity_changes
from signoff.store.database import Database
from signoff.store.identity import create_api_key, create_principal, list_api_keys
from signoff.store.passwords import change_password, set_password
from signoff.store.provider_identities import Known, sign_in_from_provider
from signoff.store.role_grants import Holder, grant_role
from signoff.store.sessions import create_sign_in_link, list_sessions, start_session

pytestmark = pytest.mark.long

GOOD = "correct horse battery staple"
OTHER = "another horse in the same stable"
CLI = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"

CHANGES = {
    "db upgrade": ("principal.added", "key.made"),
    "principal add new": ("principal.added",),
    "principal update ana --group night --role auditor": ("groups.changed", "roles.changed"),
    "principal update off --enable": ("principal.enabled",),
    "principal disable ana": ("principal.disabled",),
    "principal enable off": ("principal.enabled",),
    "principal password ana --generate": ("password.set", "sessions.revoked"),
    "principal password ana --remove": ("password.removed", "sessions.revoked"),
    "principal link ana 1234 --issuer https://login.example": ("provider.linked",),
    "group add night ana": ("groups.changed",),
    "group remove leads ana": ("groups.changed",),
    "role grant ana -r author -w loan": ("role.granted",),
    "role grant -g leads -r author -w loan": ("role.granted",),
    "role revoke ana -r auditor -w refund": ("role.revoked",),
    "key create ana --scope runs:read": ("key.made",),
    "key create --admin root": ("principal.added", "key.made"),
    "key revoke KEY": ("key.revoked",),
    "key rotate KEY": ("key.rotated",),
    "sign-in ana --api http://pages.example": ("sign_in_link.made",),
    "session revoke SESSION": ("sessions.revoked",),
    "session revoke --all ana": ("sessions.revoked",),
    "callback link chat ana U2": ("callback.linked",),
    "callback unlink chat U1": ("callback.unlinked",),
    "callback remove chat": ("callback.unlinked",),
}
"""A line of the command line, and the changes that it has to leave."""

SEEDS = {"dev"}
"""Changes identities, and has a test of its own here."""

LEAVES_RIGHTS_ALONE = {
    *("worker", "beat", "api", "check", "deploy", "graph", "run", "runs", "show", "cancel", "retry", "inbox"),
    *("decide", "snooze", "doctor", "delegate to", "delegate list", "delegate end", "absence set", "absence list"),
    *("absence end", "audit verify", "audit export", "audit anchor", "audit keygen", "audit separation"),
    *("db status", "db grants", "db backup", "db restore", "db check", "principal list", "principal history"),
    *("group list", "group members", "role list", "key list", "session list", "callback add", "callback list"),
    *("callback rotate", "link create", "link list", "link revoke", "authority set", "authority list"),
    *("authority remove", "webhook add", "webhook list", "webhook remove", "webhook enable", "webhook rotate"),
    *("webhook test", "webhook deliveries", "webhook redeliver", "notify add", "notify channels", "notify remove"),
    *("notify disable", "notify enable", "notify test", "notify list", "notify redeliver"),
}
"""Who stands in for whom and limits of authority have rows of their own, with who made and ended them."""

_RIGHTS = (
    *("principals", "api_keys", "role_grants", "passwords", "provider_identities", "callback_people"),
    *("sessions", "sign_in_links"),
)
_USED_NOT_CHANGED = {
    "start_session": "who signs in uses a right",
    "touch_session": "so does who acts",
    "end_session": "who signs out takes nothing from anybody",
    "use_sign_in_link": "it was given when it was made",
    "forget_ended": "what is deleted opened nothing any more",
    "_made_anew": "the same password, hashed as it is done today",
    "_keep": "both its callers record it",
}


def verbs(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[str]:
    """All commands there are, as they are typed."""
    command = typer.main.get_command(app) if command is None else command
    if not hasattr(command, "commands"):
        yield " ".join(path)
        return
    for name, below in command.commands.items():
        yield from verbs(below, (*path, name))


def of(line: str) -> str:
    """The command of a line."""
    return max((verb for verb in verbs() if f"{line} ".startswith(f"{verb} ")), key=len)


@dataclass(frozen=True, kw_only=True)
class Office:
    """A database in which each verb has something to change."""

    url: str
    database: Database

    def people(self) -> None:
        """Ana, who has one of everything; Off, who is disabled; and the callback that speaks for Ana."""
        create_principal(self.database, name="ana", kind="user", groups=["leads"], roles=["reviewer"])
        create_principal(self.database, name="off", kind="user")
        create_api_key(self.database, "ana")
        with self.database.autocommit() as cursor:
            # No hash of one: nobody signs in by it here, and they take long.
            cursor.execute("INSERT INTO passwords SELECT id, '-', now() FROM principals WHERE name = 'ana'")
        grant_role(self.database, Holder(name="ana"), role="auditor", workflow="refund")
        self.session()
        create_sign_in_link(self.database, "ana", lasts=timedelta(hours=1))
        for line in ("principal disable off", "callback add chat", "callback link chat ana U1"):
            assert signoff(self.url, *line.split()).exit_code == 0

    def ana(self) -> Principal:
        with self.database.autocommit() as cursor:
            row = cursor.execute("SELECT id FROM principals WHERE name = 'ana'").fetchone()
        assert row is not None
        return Principal(id=row[0], name="ana", kind="user")

    def session(self) -> None:
        start_session(self.database, self.ana(), hours=1, user_agent="a browser", key=None)

    def filled(self, line: str) -> list[str]:
        """The words of a line, with the key and the session that there are."""
        words = line.split()
        if "KEY" in words:
            words[words.index("KEY")] = str(list_api_keys(self.database, "ana")[0].id)
        if "SESSION" in words:
            words[words.index("SESSION")] = str(list_sessions(self.database, "ana")[0].id)
        return words

    def rights(self) -> list[Any]:
        """All that changes tell of, as it is."""
        with psycopg.connect(self.url) as connection:
            return [connection.execute(f"SELECT t::text FROM {table} t ORDER BY 1").fetchall() for table in _RIGHTS]  # type: ignore[call-overload]

    def history(self, *names: str) -> list[dict[str, Any]]:
        """As programs get it, oldest first."""
        result = signoff(self.url, "principal", "history", *names, "--json")
        assert result.exit_code == 0, result.stderr
        return list(reversed(json.loads(result.stdout)))


@pytest.fixture
def office(database_url: str) -> Iterator[Office]:
    opened = Database.connect(database_url, pool_size=2)
    yield Office(url=database_url, database=opened)
    opened.close()


def test_every_verb_of_the_command_line_is_known_to_change_rights_or_not_to() -> None:
    known = {of(line) for line in CHANGES} | SEEDS | LEAVES_RIGHTS_ALONE
    assert set(verbs()) == known, "say of a new verb what it changes, and have it recorded"


@pytest.mark.parametrize("line", CHANGES)
def test_a_verb_that_changes_rights_leaves_who_did_it(office: Office, line: str) -> None:
    if line != "db upgrade":
        office.people()
    rights, kept = office.rights(), office.history()

    result = signoff(office.url, *office.filled(line))

    assert result.exit_code == 0, result.output
    assert office.rights() != rights
    made = office.history()[len(kept) :]
    assert sorted(each["change"] for each in made) == sorted(CHANGES[line])
    assert {each["actor"]["id"] for each in made} == {CLI}


@pytest.mark.parametrize(
    "line",
    [
        "principal update ana --group leads --role reviewer",
        "principal enable ana",
        "group add leads ana",
        "role grant ana -r auditor -w refund",
    ],
)
def test_what_changes_nothing_leaves_nothing(office: Office, line: str) -> None:
    office.people()
    kept = office.history()
    assert signoff(office.url, *line.split()).exit_code == 0
    assert office.history() == kept


@pytest.mark.parametrize(
    "line", ["principal add ana", "role grant nobody -r author -w loan", "group add leads ana nobody"]
)
def test_what_is_refused_leaves_nothing(office: Office, line: str) -> None:
    office.people()
    rights, kept = office.rights(), office.history()
    assert signoff(office.url, *line.split()).exit_code == 1
    assert (office.rights(), office.history()) == (rights, kept)


def test_no_statement_that_writes_rights_is_without_a_row() -> None:
    written = re.compile(rf"(?:INSERT INTO|UPDATE|DELETE FROM) (?:{'|'.join(_RIGHTS)})\b")
    silent = {}
    for module in Path(identity_changes.__file__).parent.glob("*.py"):
        source = module.read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                text = ast.get_source_segment(source, node) or ""
                if written.search(text) and not re.search(r"\b_?record(?:_rights)?\(cursor, ", text):
                    silent[node.name] = module.name
    assert silent.keys() <= _USED_NOT_CHANGED.keys(), silent


def test_no_row_holds_a_secret(office: Office) -> None:
    office.people()
    set_password(office.database, "ana", GOOD)
    shown = [
        signoff(office.url, *line.split()).stdout.strip()
        for line in ("key create ana", "sign-in ana --api http://pages.example", "principal password ana --generate")
    ]
    told = json.dumps(office.history())
    prefix, secret = shown[0].removeprefix("so_").split("_", 1)
    assert prefix in told
    for each in (secret, shown[1].rsplit("/", 1)[1], shown[2], GOOD):
        assert len(each) > 20
        assert each not in told


def test_a_change_tells_how_it_was_and_how_it_is(office: Office) -> None:
    office.people()
    signoff(office.url, "group", "add", "night", "ana")
    last = office.history("ana")[-1]
    assert (last["subject"], last["before"], last["after"]) == (
        "ana",
        {"groups": ["leads"]},
        {"groups": ["leads", "night"]},
    )
    signoff(office.url, "role", "grant", "-g", "night", "-r", "author", "-w", "loan")
    (granted,) = office.history("night")
    assert (granted["principal_id"], granted["after"]) == (None, {"role": "author", "workflow": "loan"})
    shown = signoff(office.url, "principal", "history").stdout
    assert "group night" in shown
    assert CLI in shown


def test_the_newest_are_shown_and_a_name_that_nobody_has_is_told(office: Office) -> None:
    office.people()
    newest = json.loads(signoff(office.url, "principal", "history", "ana", "-n", "1", "--json").stdout)
    assert newest == office.history("ana")[-1:]
    assert signoff(office.url, "principal", "history", "nobody").exit_code == 1
    assert signoff(office.url, "principal", "history", "leads").exit_code == 0


def test_what_a_provider_says_of_somebody_is_its_own_doing_and_told_once(office: Office) -> None:
    known = Known(
        issuer="https://login.example",
        subject="1",
        name="kim",
        groups=frozenset({"leads"}),
        roles=frozenset({"auditor"}),
    )
    sign_in_from_provider(office.database, known, create=True)
    assert [each["change"] for each in office.history("kim")] == ["principal.added", "provider.linked"]
    sign_in_from_provider(office.database, known, create=True)
    assert len(office.history("kim")) == 2

    sign_in_from_provider(office.database, replace(known, groups=frozenset({"night"}), roles=frozenset()), create=True)

    changed = office.history("kim")
    assert [(each["change"], each["before"], each["after"]) for each in changed[2:]] == [
        ("groups.changed", {"groups": ["leads"]}, {"groups": ["night"]}),
        ("roles.changed", {"roles": ["auditor"]}, {"roles": []}),
    ]
    assert {(each["actor"]["type"], each["actor"]["id"]) for each in changed} == {("oidc", "https://login.example")}


def test_who_changes_their_own_password_is_named_with_the_session_they_did_it_in(office: Office) -> None:
    office.people()
    set_password(office.database, "ana", GOOD)
    office.session()
    (session,) = list_sessions(office.database, "ana")
    known_by = Authentication(method="session", id=str(session.id), started_with="password")
    ana = replace(office.ana(), authentication=known_by)
    office.session()
    kept = len(office.history())
    change_password(office.database, ana, current=GOOD, new=OTHER, session_id=session.id, address=None)
    made = office.history()[kept:]
    assert [each["change"] for each in made] == ["password.set", "sessions.revoked"]
    for each in made:
        assert (each["actor"]["name"], each["actor"]["authentication"]["id"]) == ("ana", str(session.id))


def test_what_the_development_server_makes_is_recorded_once(office: Office, tmp_path: Path) -> None:
    seed(office.url, tmp_path)
    made = office.history()
    assert sorted(each["change"] for each in made) == sorted(["principal.added", "key.made"] * len(IDENTITIES))
    assert {each["actor"]["id"] for each in made} == {CLI}
    seed(office.url, tmp_path)
    assert office.history() == made


def test_the_account_is_the_systems_word_and_not_the_environments(office: Office) -> None:
    environment = {"SIGNOFF_DATABASE_URL": office.url, "LOGNAME": "somebody-else", "USER": "somebody-else"}
    assert CliRunner().invoke(app, ["principal", "add", "ana"], env=environment).exit_code == 0
    (made,) = office.history()
    assert made["actor"] == {"type": "cli", "id": CLI, "name": CLI.removeprefix("cli:")}
