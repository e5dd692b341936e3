"""`signoff principal` and `signoff key`: who may call the API; in the database, so that somebody can be the first."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from signoff.cli.options import AsJson
from signoff.cli.output import Listing, Output
from signoff.errors import Conflict, NotFound, SignoffError

if TYPE_CHECKING:
    from signoff.identity import Principal
    from signoff.store.database import Database
    from signoff.store.identity import ApiKey

_PANEL = "Operations"
_MAX_OVERLAP = timedelta(days=30)
_principals = typer.Typer(no_args_is_help=True, help="People, services and agents. Needs the database, not the API.")
_keys = typer.Typer(no_args_is_help=True, help="API keys. Needs the database, not the API.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the principal.")]
Groups = Annotated[list[str] | None, typer.Option("--group", "-g", help="May be repeated.")]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", "-r", help="admin, operator, author, requester, reviewer or auditor; may be repeated."),
]


def add_to(app: typer.Typer) -> None:
    app.add_typer(_principals, name="principal", rich_help_panel=_PANEL)
    app.add_typer(_keys, name="key", rich_help_panel=_PANEL)


@_principals.command("add")
def add_principal(
    name: Name,
    *,
    kind: Annotated[
        Literal["user", "service", "agent"],
        typer.Option(help="Only a user can decide. It never changes."),
    ] = "user",
    group: Groups = None,
    role: Roles = None,
    as_json: AsJson = False,
) -> None:
    """Add a principal. A user without roles gets those of a reviewer: start runs, and decide what they are asked."""
    from signoff.cli.direct import opened_database
    from signoff.store.identity import create_principal

    roles = role or (["requester", "reviewer"] if kind == "user" else ["requester"])
    with opened_database() as database:
        made = create_principal(database, name=name, kind=kind, groups=group or (), roles=roles)
    _show_principal(Output(as_json=as_json), made)


@_principals.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List all principals, disabled ones too."""
    from signoff.cli.direct import opened_database
    from signoff.store.identity import find_principal, list_principals

    output = Output(as_json=as_json)
    with opened_database() as database:
        found = list_principals(database)
        with database.autocommit() as cursor:
            enabled = {each.name for each in found if find_principal(cursor, each.name) is not None}
    if as_json:
        output.json([_principal_json(each) | {"disabled": each.name not in enabled} for each in found])
        return
    rows = Listing("NAME", "KIND", "GROUPS", "ROLES", "STATE", flexible=3)
    for each in found:
        state = "" if each.name in enabled else "disabled"
        rows.add(each.name, each.kind, ", ".join(sorted(each.groups)), ", ".join(sorted(each.roles)), state)
    output.listing(rows)


@_principals.command("update")
def update(
    name: Name,
    *,
    group: Groups = None,
    role: Roles = None,
    no_groups: Annotated[bool, typer.Option("--no-groups", help="Take them out of every group.")] = False,
    enable: Annotated[bool, typer.Option("--enable", help="Undo `principal disable`.")] = False,
    as_json: AsJson = False,
) -> None:
    """Replace the groups or roles that are given, and leave the rest. Holds from the next request on."""
    from signoff.cli.direct import opened_database
    from signoff.store.identity import update_principal

    if group and no_groups:
        raise SignoffError("--group and --no-groups exclude each other", code="usage", fix="give one of them")
    groups = () if no_groups else group
    with opened_database() as database:
        made = update_principal(database, name, groups=groups, roles=role, disabled=False if enable else None)
    _show_principal(Output(as_json=as_json), made)


@_principals.command()
def disable(name: Name, as_json: AsJson = False) -> None:
    """Disable a principal: its keys open nothing from the next request on."""
    from signoff.cli.direct import opened_database
    from signoff.store.identity import update_principal

    with opened_database() as database:
        found = update_principal(database, name, disabled=True)
    output = Output(as_json=as_json)
    if as_json:
        output.json(_principal_json(found) | {"disabled": True})
    else:
        output.line(f"{found.name} is disabled")


@_principals.command()
def link(
    name: Name,
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="The claim `sub` of this person at the provider.")],
    *,
    issuer: Annotated[
        str | None, typer.Option(metavar="URL", help="The provider. Default: $SIGNOFF_OIDC_ISSUER.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let somebody who is there already sign in by the OpenID provider, under the name they have."""
    from signoff.cli.direct import load, opened_database
    from signoff.store.provider_identities import link_identity

    found = issuer or load().oidc_issuer
    if not found:
        raise SignoffError("which provider?", code="usage", fix="--issuer URL, or $SIGNOFF_OIDC_ISSUER")
    with opened_database() as database:
        link_identity(database, name, issuer=found, subject=subject)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": name, "issuer": found, "subject": subject})
    else:
        output.line(f"{name} signs in as {subject} of {found}")


@_keys.command("create")
def create(
    principal: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the principal.")] = None,
    *,
    admin: Annotated[
        str | None, typer.Option(metavar="NAME", help="A key for this administrator, who is added if missing.")
    ] = None,
    expires: Annotated[str | None, typer.Option(metavar="DURATION", help="How long it opens anything: 90d.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key. It is printed now and never again: only its hash is kept."""
    from signoff.cli.direct import opened_database
    from signoff.store.identity import create_api_key

    if (principal is None) == (admin is None):
        raise SignoffError("whose key is it?", code="usage", fix="signoff key create NAME, or --admin NAME")
    expires_at = _expiry(expires)
    with opened_database() as database:
        if admin is not None:
            _ensure_admin(database, admin)
        name = principal or admin or ""
        made = create_api_key(database, name, expires_at=expires_at)
    output = Output(as_json=as_json)
    if as_json:
        at = None if expires_at is None else expires_at.isoformat()
        output.json({"principal": name, "key": made, "expires_at": at})
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
    rows = Listing("KEY", "PREFIX", "PRINCIPAL", "MADE", "STATE", flexible=2)
    for each in found:
        state = f"expires {until(each.expires_at)}" if each.expires_at is not None else ""
        if each.expires_at is not None and each.expires_at < datetime.now(UTC):
            state = "expired"
        state = "revoked" if each.revoked_at is not None else state
        rows.add(str(each.id), f"so_{each.prefix}", each.principal, ago(each.created_at), state)
    output.listing(rows)


@_keys.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, its prefix, or the key itself.")],
    as_json: AsJson = False,
) -> None:
    """End a key for good, with the next request."""
    from signoff.cli.direct import opened_database
    from signoff.store.identity import revoke_api_key

    with opened_database() as database:
        found = _key_named(database, key)
        revoke_api_key(database, found.id)
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
    from signoff.cli.direct import opened_database
    from signoff.store.identity import rotate_api_key

    lasts = _overlap(overlap)
    with opened_database() as database:
        found = _key_named(database, key)
        made = rotate_api_key(database, found.id, overlap=lasts)
        old = next(each for each in _keys_of(database, found.principal) if each.id == found.id)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"principal": found.principal, "key": made, "replaces": _key_json(old)})
        return
    sys.stdout.write(f"{made}\n")
    output.note(f"the new key of {found.principal}; it can't be shown again. so_{found.prefix} ends within {overlap}")


def _ensure_admin(database: Database, name: str) -> None:
    """Add the administrator if there is none of that name. Nobody becomes one by this who was something else."""
    from signoff.store.identity import create_principal, find_principal

    with database.autocommit() as cursor:
        found = find_principal(cursor, name)
    if found is None:
        create_principal(database, name=name, kind="user", roles=("admin",))
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


def _principal_json(principal: Principal) -> dict[str, Any]:
    return {
        "id": str(principal.id),
        "name": principal.name,
        "kind": principal.kind,
        "groups": sorted(principal.groups),
        "roles": sorted(principal.roles),
    }


def _key_json(key: ApiKey) -> dict[str, Any]:
    moments = {"created_at": key.created_at, "expires_at": key.expires_at, "revoked_at": key.revoked_at}
    return {"id": str(key.id), "prefix": key.prefix, "principal": key.principal} | {
        name: None if at is None else at.isoformat() for name, at in moments.items()
    }


def _show_principal(output: Output, principal: Principal) -> None:
    if output.as_json:
        output.json(_principal_json(principal))
        return
    groups = f", in {', '.join(sorted(principal.groups))}" if principal.groups else ""
    output.line(f"{principal.name}: {principal.kind}, {', '.join(sorted(principal.roles)) or 'no roles'}{groups}")
