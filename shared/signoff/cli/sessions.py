"""`signoff session`: who is signed in to the pages, and signing them out from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from signoff.cli.options import AsJson
from signoff.cli.output import Listing, Output
from signoff.errors import NotFound, SignoffError

if TYPE_CHECKING:
    from signoff.store.sessions import Session

BEGUN = {"api_key": "key", "link": "link", "provider": "provider", "password": "password"}

_sessions = typer.Typer(no_args_is_help=True, help="Who is signed in to the pages. Needs the database, not the API.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(_sessions, name="session", rich_help_panel="Operations")


@_sessions.command("list")
def list_open(
    principal: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only those of this person.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the sessions that are open, newest first."""
    from signoff.cli.direct import opened_database
    from signoff.cli.text import ago, until, visible
    from signoff.store.identity import list_principals
    from signoff.store.sessions import list_sessions

    with opened_database() as database:
        if principal is not None and principal not in {each.name for each in list_principals(database)}:
            raise NotFound(f"there is no principal {principal!r}", fix="signoff principal list")
        found = list_sessions(database, principal)
    output = Output(as_json=as_json)
    if as_json:
        output.json([_json(each) for each in found])
        return
    rows = Listing("SESSION", "PRINCIPAL", "BY", "MADE", "USED", "ENDS", "WITH", flexible=6)
    for each in found:
        moments = ago(each.created_at), ago(each.seen_at), until(each.expires_at)
        rows.add(
            str(each.id), each.principal, BEGUN.get(each.started_with or "", ""), *moments, visible(each.user_agent)
        )
    output.listing(rows)


@_sessions.command("revoke")
def revoke(
    session: Annotated[str | None, typer.Argument(metavar="[ID]", help="Id of the session.")] = None,
    *,
    everything: Annotated[
        str | None, typer.Option("--all", metavar="NAME", help="All sessions of this person, and unused sign-in links.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign somebody out: a session opens nothing from the next request on."""
    from signoff.cli.direct import opened_database, operator
    from signoff.ids import parse_id
    from signoff.store.sessions import revoke_all_sessions, revoke_session

    if (session is None) == (everything is None):
        raise SignoffError("which session?", code="usage", fix="signoff session revoke ID, or --all NAME")
    with opened_database() as database:
        if everything is not None:
            count = revoke_all_sessions(database, everything, by=operator())
        else:
            found = parse_id(session or "")
            if found is None:
                raise NotFound("there is no such session", fix="signoff session list")
            revoke_session(database, found, by=operator())
            count = 1
    output = Output(as_json=as_json)
    if as_json:
        output.json({"revoked": count})
    else:
        output.line(f"{count} session{'' if count == 1 else 's'} ended")


def _json(session: Session) -> dict[str, Any]:
    return {
        "id": str(session.id),
        "principal": session.principal,
        "by_key": session.by_key,
        "started_with": session.started_with,
        "user_agent": session.user_agent,
        "created_at": session.created_at.isoformat(),
        "seen_at": session.seen_at.isoformat(),
        "expires_at": session.expires_at.isoformat(),
    }
