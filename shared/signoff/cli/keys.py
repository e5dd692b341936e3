"""`signoff key`: API keys; in the database, so that somebody can be the first."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from signoff.cli.options import AsJson
from signoff.cli.output import Listing, Output
from signoff.errors import Conflict, NotFound, SignoffError

if TYPE_CHECKING:
    from signoff.store.database import Database
    from signoff.store.identity import ApiKey

_MAX_OVERLAP = timedelta(days=30)
_keys = typer.Typer(no_args_is_help=True, help="API keys. Needs the database, not the API.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(_keys, name="key", rich_help_panel="Operations")


@_keys.command("create")
def create(
    principal: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the principal.")] = None,
    *,
    admin: Annotated[
        str | None, typer.Option(metavar="NAME", help="A key for this administrator, who is added if missing.")
    ] = None,
    expires: Annotated[str | None, typer.Option(metavar="DURATION", help="How long it opens anything: 90d.")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", "-s", help="What it is for, such as runs:start; may be repeated. Default: everything."),
    ] = None,
    workflow: Annotated[
        list[str] | None,
        typer.Option("--workflow", "-w", help="Only what is of this workflow; may be repeated. Default: all of them."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key. It is printed now and never again: only its hash is kept.

    It does what its principal may; with --scope and --workflow of that only what they name, also through a session.
    """
    from signoff.cli.direct import opened_database, operator
    from signoff.store.identity import create_api_key

    if (principal is None) == (admin is None):
        raise SignoffError("whose key is it?", code="usage", fix="signoff key create NAME, or --admin NAME")
    expires_at = _expiry(expires)
    with opened_database() as database:
        if admin is not None:
            _ensure_admin(database, admin)
        name = principal or admin or ""
        limits = {"scopes": scope or None, "workflows": workflow or None}
        made = create_api_key(database, name, expires_at=expires_at, **limits, by=operator())
    output = Output(as_json=as_json)
    if as_json:
        at = None if expires_at is None else expires_at.isoformat()
        narrowed = {
            "scopes": sorted(set(scope)) if scope else None,
            "workflows": sorted(set(workflow)) if workflow else None,
        }
        output.json({"principal": name, "key": made, "expires_at": at} | narrowed)
        return
    # The key alone goes to standard output: KEY=$(signoff key create ana)
    sys.stdout.write(f"{made}\n")
    output.note(f"the key of {name}; it can't be shown again. Use it as $SIGNOFF_API_KEY")


@_keys.command("list")
def list_keys(
    principal: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only those of this principal.")] = None,
    as_json: AsJson = False,
) -> None:
    """List keys, newest first: what is kept of them, which is not the key."""
    from signoff.cli.direct import opened_database
    from signoff.cli.text import ago, until

    with opened_database() as database:
        found = _keys_of(database, principal)
    output = Output(as_json=as_json)
    if as_json:
        output.json([_key_json(each) for each in found])
        return
    rows = Listing("KEY", "PREFIX", "PRINCIPAL", "FOR", "MADE", "STATE", flexible=3)
    for each in found:
        state = f"expires {until(each.expires_at)}" if each.expires_at is not None else ""
        if each.expires_at is not None and each.expires_at < datetime.now(UTC):
            state = "expired"
        state = "revoked" if each.revoked_at is not None else state
        rows.add(str(each.id), f"so_{each.prefix}", each.principal, _ends(each), ago(each.created_at), state)
    output.listing(rows)


@_keys.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, its prefix, or the key itself.")],
    as_json: AsJson = False,
) -> None:
    """End a key for good, with the next request."""
    from signoff.cli.direct import opened_database, operator
    from signoff.store.identity import revoke_api_key

    with opened_database() as database:
        found = _key_named(database, key)
        revoke_api_key(database, found.id, by=operator())
    output = Output(as_json=as_json)
    if as_json:
        output.json({"id": str(found.id), "principal": found.principal, "revoked": True})
    else:
        output.line(f"so_{found.prefix} of {found.principal} is revoked")


@_keys.command("rotate")
def rotate(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, its prefix, or the key itself.")],
    *,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the old key still opens what it does.")
    ] = "24h",
    as_json: AsJson = False,
) -> None:
    """Make a new key for the same principal; the old one ends after the overlap. The new one is printed once."""
    from signoff.cli.direct import opened_database, operator
    from signoff.store.identity import rotate_api_key

    lasts = _overlap(overlap)
    with opened_database() as database:
        found = _key_named(database, key)
        made = rotate_api_key(database, found.id, overlap=lasts, by=operator())
        old = next(each for each in _keys_of(database, found.principal) if each.id == found.id)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"principal": found.principal, "key": made, "replaces": _key_json(old)})
        return
    sys.stdout.write(f"{made}\n")
    output.note(f"the new key of {found.principal}; it can't be shown again. so_{found.prefix} ends within {overlap}")


def _ensure_admin(database: Database, name: str) -> None:
    """Add the administrator if there is none of that name. Nobody becomes one by this who was something else."""
    from signoff.cli.direct import operator
    from signoff.store.identity import create_principal, find_principal

    with database.autocommit() as cursor:
        found = find_principal(cursor, name)
    if found is None:
        create_principal(database, name=name, kind="user", roles=("admin",), by=operator())
    elif "admin" not in found.roles:
        raise Conflict(
            f"{name} is no administrator",
            fix=f"signoff key create {name}; or first signoff principal update {name} --role admin",
        )


def _expiry(text: str | None) -> datetime | None:
    from signoff.durations import parse_duration

    if text is None:
        return None
    try:
        return datetime.now(UTC) + timedelta(milliseconds=parse_duration(text))
    except ValueError as error:
        raise SignoffError(str(error), code="usage", fix="--expires 90d") from error


def _overlap(text: str) -> timedelta:
    from signoff.durations import parse_duration

    try:
        lasts = timedelta(milliseconds=parse_duration(text))
    except ValueError as error:
        raise SignoffError(str(error), code="usage", fix="--overlap 24h") from error
    if not timedelta(0) <= lasts <= _MAX_OVERLAP:
        raise SignoffError("two keys overlap for up to 30 days", code="usage", fix="--overlap 24h")
    return lasts


def _key_named(database: Database, key: str) -> ApiKey:
    prefix = key.removeprefix("so_").split("_")[0]
    found = next((each for each in _keys_of(database, None) if key == str(each.id) or prefix == each.prefix), None)
    if found is None:
        raise NotFound("there is no such API key", fix="signoff key list")
    return found


def _keys_of(database: Database, principal: str | None) -> list[ApiKey]:
    from signoff.store.identity import list_api_keys, list_principals

    names = [each.name for each in list_principals(database)]
    if principal is not None and principal not in names:
        raise NotFound(f"there is no principal {principal!r}", fix="signoff principal list")
    return [key for name in ([principal] if principal else names) for key in list_api_keys(database, name)]


def _key_json(key: ApiKey) -> dict[str, Any]:
    moments = {"created_at": key.created_at, "expires_at": key.expires_at, "revoked_at": key.revoked_at}
    narrowed = {"scopes": key.scopes, "workflows": key.workflows}
    return (
        {"id": str(key.id), "prefix": key.prefix, "principal": key.principal}
        | {name: None if at is None else at.isoformat() for name, at in moments.items()}
        | {name: None if some is None else sorted(some) for name, some in narrowed.items()}
    )


def _ends(key: ApiKey) -> str:
    """What it is for, in a few words."""
    scopes = ", ".join(sorted(key.scopes)) if key.scopes is not None else ""
    workflows = f"of {', '.join(sorted(key.workflows))}" if key.workflows is not None else ""
    return " ".join(part for part in (scopes, workflows) if part) or "everything"
