"""`signoff doctor`: is everything there that Signoff needs, and does it make progress?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from signoff.cli.options import Api, AsJson
from signoff.cli.output import Output, grid
from signoff.errors import ConfigurationError, SignoffError, Unavailable

if TYPE_CHECKING:
    from signoff.settings import Settings
    from signoff.store.database import Database

Status: TypeAlias = Literal["ok", "warn", "fail"]

MAX_SKEW_SECONDS = 2.0
MANY_SKEW_SECONDS = 30.0
LATE_SECONDS = 15.0
"""From here on what is due is late: sweeps come every second, and messages are sent again after five."""
_TASKS_LOOKED_AT = 100_000
"""Open human tasks among which those are looked for that nobody could decide."""
_SIGNS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}
_NEWEST_PYTHON = (3, 14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was looked at, what was found, and what to do where that is not good."""

    name: str
    status: Status
    detail: str
    fix: str = ""


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Operations")(doctor)


def doctor(
    *,
    as_json: AsJson = False,
    api: Api = None,
    settings_shown: Annotated[bool, typer.Option("--settings", help="Show every setting, without secrets.")] = False,
) -> None:
    """Find out what is wrong, and what to do about it.

    Looks at settings, database, migrations, clocks, broker, API and progress. Exit code 1 when something fails.
    """
    output = Output(as_json=as_json)
    findings: list[Finding] = []
    for finding in _examine(api, settings_shown=settings_shown):
        findings.append(finding)
        if not as_json:
            _show(output, finding)
    failed = any(finding.status == "fail" for finding in findings)
    if as_json:
        output.json({"ok": not failed, "findings": [asdict(finding) for finding in findings]})
    if failed:
        raise typer.Exit(1)


def _examine(api: str | None, *, settings_shown: bool) -> Iterator[Finding]:
    yield _python()
    try:
        from signoff.cli.direct import load

        settings = load()
    except ConfigurationError as error:
        yield Finding(name="settings", status="fail", detail=error.detail, fix=error.fix or "")
        return
    yield from _settings(settings, every=settings_shown)
    yield from _database(settings)
    yield _broker(settings)
    yield _api(settings, api)


def _python() -> Finding:
    found = sys.version_info
    text = f"{found.major}.{found.minor}.{found.micro}"
    if found[:2] > _NEWEST_PYTHON:
        return Finding(name="python", status="warn", detail=f"{text} is newer than what is tested")
    return Finding(name="python", status="ok", detail=text)


def _settings(settings: Settings, *, every: bool) -> Iterator[Finding]:
    from signoff.cli.direct import development_environment
    from signoff.cli.target import home

    completed = development_environment()
    where = f"completed by {home()}/dev.json" if completed else "from the environment"
    changed = sorted(settings.model_fields_set) if not every else list(type(settings).model_fields)
    shown = ", ".join(f"{name}={_harmless(name, settings)}" for name in changed)
    yield Finding(name="settings", status="ok", detail=f"{where}: {shown or 'all default'}")


def _harmless(name: str, settings: Settings) -> str:
    """A setting without the password in it."""
    from urllib.parse import urlsplit

    from pydantic import SecretStr

    value = getattr(settings, name)
    if not isinstance(value, SecretStr):
        return ",".join(value) if isinstance(value, tuple) else str(value)
    # Only these parts: a password may also be in the query (libpq) or, in a malformed URL, anywhere.
    try:
        parts = urlsplit(value.get_secret_value())
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(can't be read)"
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _database(settings: Settings) -> Iterator[Finding]:
    from signoff.cli.direct import database_fix
    from signoff.store.database import Database

    try:
        database = Database.connect(settings.require_database_url(), pool_size=1, statement_timeout_seconds=10.0)
    except ConfigurationError as error:
        yield Finding(name="database", status="fail", detail=error.detail, fix=error.fix or "")
        return
    try:
        yield from _server(database)
        yield _migrations(settings)
        yield from _progress(database)
        yield from _reviewers(database)
        yield from _notifications(database, settings)
    except Unavailable as error:
        cause = str(error.__cause__ or "").strip().splitlines()
        detail = f"{error.detail}: {cause[0]}" if cause else error.detail
        yield Finding(name="database", status="fail", detail=detail, fix=database_fix())
    finally:
        database.close()


def _server(database: Database) -> Iterator[Finding]:
    from signoff.store.diagnosis import MIN_SERVER_VERSION, server_facts

    server_facts(database)  # so that opening the connection is no part of the measured skew
    before = datetime.now(UTC)
    found = server_facts(database)
    after = datetime.now(UTC)
    detail = f"PostgreSQL {found.version_text}"
    if found.version < MIN_SERVER_VERSION:
        yield Finding(name="database", status="fail", detail=detail, fix="Signoff needs PostgreSQL 14 or later")
    elif found.standby:
        yield Finding(
            name="database",
            status="fail",
            detail=f"{detail}, a standby",
            fix="name the primary server",
        )
    else:
        yield Finding(name="database", status="ok", detail=detail)
    yield _clocks(found.now, before, after)


def _clocks(theirs: datetime, before: datetime, after: datetime) -> Finding:
    skew = max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0.0)
    detail = f"{skew * 1000:.0f} ms between the database's clock and this one"
    if skew <= MAX_SKEW_SECONDS:
        return Finding(name="clocks", status="ok", detail=detail)
    # Only the database's clock decides anything; ours is in the ids, which order lists.
    status: Status = "fail" if skew > MANY_SKEW_SECONDS else "warn"
    return Finding(name="clocks", status=status, detail=detail, fix="run NTP on both machines")


def _migrations(settings: Settings) -> Finding:
    from signoff.cli.direct import reachable
    from signoff.store import migrations

    with reachable():
        found = migrations.revision(settings.require_database_url())
    newest = migrations.head()
    if found == newest:
        return Finding(name="migrations", status="ok", detail=f"at {found}, the newest")
    detail = f"at {found or 'none'}; this release has {newest}"
    return Finding(name="migrations", status="fail", detail=detail, fix="signoff db upgrade")


def _progress(database: Database) -> Iterator[Finding]:
    import psycopg

    from signoff.cli.text import span
    from signoff.store.diagnosis import progress

    try:
        found = progress(database)
    except psycopg.errors.UndefinedTable:
        return  # the line about migrations has said it
    for name, overdue, fix in (
        ("sweep", found.wakes, "see that beat and a worker run: signoff beat, signoff worker"),
        ("leases", found.leases, "see that beat and a worker run; the sweep gives these runs to another worker"),
    ):
        oldest = span(timedelta(seconds=overdue.oldest_seconds))
        late = overdue.count > 0 and overdue.oldest_seconds > LATE_SECONDS
        what = f"{overdue.count} due, the oldest for {oldest}" if overdue.count else "nothing is overdue"
        yield Finding(name=name, status="fail" if late else "ok", detail=what, fix=fix if late else "")
    for queue in found.unserved:
        waiting = span(timedelta(seconds=queue.oldest_seconds))
        yield Finding(
            name="queues",
            status="warn",
            detail=f"{queue.queue}: {queue.runs} queued runs find no worker, the oldest for {waiting}",
            fix=f"start a worker that serves it: signoff worker --queues {queue.queue}",
        )
    if not found.unserved:
        yield Finding(name="queues", status="ok", detail="every queued run finds a worker")


def _reviewers(database: Database) -> Iterator[Finding]:
    import psycopg

    from signoff.store.queries_candidates import stranded_human_tasks

    try:
        with database.autocommit() as cursor:
            found = stranded_human_tasks(cursor, looked_at=_TASKS_LOOKED_AT)
    except psycopg.errors.UndefinedTable:
        return  # the line about migrations has said it
    if not found.count:
        yield Finding(name="reviewers", status="ok", detail="somebody could decide each open human task")
        return
    newest = found.examples[0]
    asked = ", ".join([*(f"user:{name}" for name in newest.users), *newest.groups]) or "nobody"
    fix = "put an enabled person who did not start the run into a group it asks: signoff principal update"
    if newest.powerless:
        asked += ", and nobody of them has a limit of authority there"
        fix = f"set one: signoff authority set group:NAME LIMIT --workflow {newest.workflow} --gate {newest.gate}"
    yield Finding(
        name="reviewers",
        status="warn",
        detail=f"{found.count} open human tasks can be decided by nobody now; the newest is {newest.id}, of"
        f" {newest.workflow}/{newest.gate}, which asks {asked}",
        fix=fix,
    )


def _notifications(database: Database, settings: Settings) -> Iterator[Finding]:
    import psycopg

    from signoff.store.notifications import count_notifications

    try:
        with database.autocommit() as cursor:
            waiting, dead, channels = count_notifications(cursor)
    except psycopg.errors.UndefinedTable:
        return  # the line about migrations has said it
    detail = f"{channels} channels, {waiting} to be sent, {dead} given up"
    if dead:
        yield Finding(name="notify", status="warn", detail=detail, fix="signoff notify list --state dead says why")
    elif channels and settings.public_url is None:
        yield Finding(
            name="notify", status="warn", detail=f"{detail}; messages have no link", fix="set SIGNOFF_PUBLIC_URL"
        )
    else:
        yield Finding(name="notify", status="ok", detail=detail)


def _broker(settings: Settings) -> Finding:
    from signoff.broker import BrokerPublisher

    try:
        url = settings.require_broker_url()
    except ConfigurationError as error:
        return Finding(name="broker", status="fail", detail=error.detail, fix=error.fix or "")
    return _pinged("broker", lambda: BrokerPublisher(url).ping(), "start it, or correct SIGNOFF_BROKER_URL")


def _pinged(name: str, ping: Callable[[], None], fix: str) -> Finding:
    try:
        ping()
    except Unavailable as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        return Finding(name=name, status="fail", detail=f"{error.detail}{cause}", fix=fix)
    except Exception as error:  # noqa: BLE001 - a transport that is not installed, a URL nobody can read: a finding
        return Finding(name=name, status="fail", detail=f"{type(error).__name__}: {error}", fix=fix)
    return Finding(name=name, status="ok", detail="reachable")


def _api(settings: Settings, api: str | None) -> Finding:
    import os

    from signoff.cli.client import ApiProblem, Client
    from signoff.cli.target import URL_VARIABLE, dev_state

    state = dev_state()
    named = api or os.environ.get(URL_VARIABLE) or (state.api_url if state is not None else None)
    url = named or f"http://{settings.api_host}:{settings.api_port}"
    try:
        with Client(url, None, seconds=10.0) as client:
            client.get("/readyz")
    except ApiProblem as error:
        return Finding(name="api", status="fail", detail=f"{url} is not ready: {error.detail}", fix=error.fix or "")
    except SignoffError as error:
        # Where nobody has said that there is an API here, its absence is worth a word and no more.
        fix = "start it: signoff api; or name it by $SIGNOFF_API_URL"
        return Finding(name="api", status="fail" if named else "warn", detail=error.detail, fix=fix)
    return Finding(name="api", status="ok", detail=f"{url} is ready")


def _show(output: Output, finding: Finding) -> None:
    from rich.text import Text

    from signoff.cli.text import visible

    sign, style = _SIGNS[finding.status]
    rows = grid()
    rows.add_column(width=1)
    rows.add_column(width=10)
    rows.add_column(overflow="fold")
    said = Text(visible(finding.detail))
    if finding.fix and finding.status != "ok":
        said.append(f"\n→ {visible(finding.fix)}", style="bold")
    rows.add_row(Text(sign, style=style), finding.name, said)
    output.show(rows)
