"""`signoff principal`: people, services and agents; in the database, so that somebody can be the first."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from signoff.cli.options import AsJson, Limit
from signoff.cli.output import Listing, Output
from signoff.errors import SignoffError

if TYPE_CHECKING:
    from signoff.identity import Principal

_PANEL = "Operations"
_principals = typer.Typer(no_args_is_help=True, help="People, services and agents. Needs the database, not the API.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the principal.")]
Groups = Annotated[list[str] | None, typer.Option("--group", "-g", help="May be repeated.")]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", "-r", help="admin, operator, author, requester, reviewer or auditor; may be repeated."),
]


def add_to(app: typer.Typer) -> None:
    app.add_typer(_principals, name="principal", rich_help_panel=_PANEL)


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
    from signoff.cli.direct import opened_database, operator
    from signoff.store.identity import create_principal

    roles = role or (["requester", "reviewer"] if kind == "user" else ["requester"])
    with opened_database() as database:
        made = create_principal(database, name=name, kind=kind, groups=group or (), roles=roles, by=operator())
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
    from signoff.cli.direct import opened_database, operator
    from signoff.store.identity import update_principal

    if group and no_groups:
        raise SignoffError("--group and --no-groups exclude each other", code="usage", fix="give one of them")
    groups = () if no_groups else group
    with opened_database() as database:
        enabled = False if enable else None
        made = update_principal(database, name, groups=groups, roles=role, disabled=enabled, by=operator())
    _show_principal(Output(as_json=as_json), made)


@_principals.command()
def disable(name: Name, as_json: AsJson = False) -> None:
    """Disable a principal: its keys open nothing from the next request on."""
    from signoff.cli.direct import opened_database, operator
    from signoff.store.identity import update_principal

    with opened_database() as database:
        found = update_principal(database, name, disabled=True, by=operator())
    output = Output(as_json=as_json)
    if as_json:
        output.json(_principal_json(found) | {"disabled": True})
    else:
        output.line(f"{found.name} is disabled")


@_principals.command()
def enable(name: Name, as_json: AsJson = False) -> None:
    """Undo `principal disable`: keys that were not revoked open what they did."""
    from signoff.cli.direct import opened_database, operator
    from signoff.store.identity import update_principal

    with opened_database() as database:
        found = update_principal(database, name, disabled=False, by=operator())
    output = Output(as_json=as_json)
    if as_json:
        output.json(_principal_json(found) | {"disabled": False})
    else:
        output.line(f"{found.name} is enabled")


@_principals.command()
def password(
    name: Name,
    *,
    generate: Annotated[bool, typer.Option("--generate", help="Make one and print it, once.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take it: they sign in by a key, link or provider.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let a person sign in to the pages by a password, which is asked for twice. Ends all their sessions.

    From a pipe it is read once, from the first line. It is never an argument: those can be seen by other users.
    """
    from signoff.cli.direct import opened_database, operator
    from signoff.passwords import generate_password
    from signoff.store.passwords import remove_password, set_password

    if generate and remove:
        raise SignoffError("--generate and --remove exclude each other", code="usage", fix="give one of them")
    made = generate_password() if generate else ""
    with opened_database() as database:
        if remove:
            ended = remove_password(database, name, by=operator())
        else:
            ended = set_password(database, name, made or _asked_password(name), by=operator())
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": name, "removed": remove, "sessions_ended": ended} | ({"password": made} if made else {}))
        return
    if made:
        sys.stdout.write(f"{made}\n")
    done = "has no password any more" if remove else "signs in by this password; it can't be shown again"
    output.note(f"{name} {done}. {ended} session{'' if ended == 1 else 's'} ended")


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
    from signoff.cli.direct import load, opened_database, operator
    from signoff.store.provider_identities import link_identity

    found = issuer or load().oidc_issuer
    if not found:
        raise SignoffError("which provider?", code="usage", fix="--issuer URL, or $SIGNOFF_OIDC_ISSUER")
    with opened_database() as database:
        link_identity(database, name, issuer=found, subject=subject, by=operator())
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": name, "issuer": found, "subject": subject})
    else:
        output.line(f"{name} signs in as {subject} of {found}")


@_principals.command()
def history(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only what was changed of this principal or group.")
    ] = None,
    *,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List who changed whose rights, newest first: roles, groups, keys, passwords, sign-ins. No secret is in it."""
    from signoff.cli.direct import opened_database
    from signoff.cli.text import ago, visible
    from signoff.store.identity_changes import list_changes

    with opened_database() as database:
        found = list_changes(database, name, limit=limit)
    output = Output(as_json=as_json)
    if as_json:
        output.json([each.to_json() for each in found])
        return
    rows = Listing("WHEN", "WHOSE", "CHANGE", "BY", "FROM", "TO", flexible=5)
    for each in found:
        whose = each.subject if each.principal_id is not None else f"group {each.subject}"
        by = each.actor["id"] if each.actor["type"] in ("cli", "process") else each.actor["name"]
        rows.add(ago(each.at), visible(whose), each.change, visible(by), *map(_told, (each.before, each.after)))
    output.listing(rows)


def _told(value: Any) -> str:
    """What a change was from or to, in a line."""
    from signoff.cli.text import visible

    parts = [
        f"{name} {', '.join(map(str, one)) if isinstance(one, list) else one}" for name, one in (value or {}).items()
    ]
    return visible("; ".join(part for part in parts if not part.endswith(" None")))


def _asked_password(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().removesuffix("\n")
    # The prompt goes to the terminal, not to standard output.
    found: str = typer.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True, err=True)
    return found


def _principal_json(principal: Principal) -> dict[str, Any]:
    return {
        "id": str(principal.id),
        "name": principal.name,
        "kind": principal.kind,
        "groups": sorted(principal.groups),
        "roles": sorted(principal.roles),
    }


def _show_principal(output: Output, principal: Principal) -> None:
    if output.as_json:
        output.json(_principal_json(principal))
        return
    groups = f", in {', '.join(sorted(principal.groups))}" if principal.groups else ""
    output.line(f"{principal.name}: {principal.kind}, {', '.join(sorted(principal.roles)) or 'no roles'}{groups}")
