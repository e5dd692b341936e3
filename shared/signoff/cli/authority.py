"""`signoff authority`: up to what somebody may approve. Over the API, so that a limit keeps the name of who set it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from signoff.cli.options import Api, As, AsJson, Key
from signoff.cli.output import Listing, Output

_authority = typer.Typer(
    no_args_is_help=True, help="Up to what somebody may approve, where a gate asks for it. For administrators."
)

Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="user:NAME or group:NAME.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(_authority, name="authority", rich_help_panel="Operations")


@_authority.command("set")
def set_limit(
    subject: Subject,
    limit: Annotated[
        str, typer.Argument(metavar="LIMIT", help="A CEL condition over the payload: 'amount <= 500.0', or true.")
    ],
    *,
    workflow: Annotated[str, typer.Option(help="At gates of this workflow; * for all.")] = "*",
    gate: Annotated[str, typer.Option(help="At this gate; * for all.")] = "*",
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Set a limit; it supersedes the one for the same subject, workflow and gate. Nobody sets their own."""
    from signoff.cli.client import path
    from signoff.cli.target import find_target

    output = Output(as_json=as_json)
    body = {"subject": subject, "limit": limit, "workflow": workflow, "gate": gate}
    with find_target(api, key, as_, default="admin").client() as client:
        made = client.put(path("authority"), body)
    if as_json:
        output.json(made)
    else:
        output.line(f"{made['subject']} may approve {_where(made)} what is within {made['limit']}")


@_authority.command("list")
def list_all(
    subject: Annotated[str | None, typer.Argument(metavar="[SUBJECT]", help="Only of user:NAME or group:NAME.")] = None,
    *,
    ended: Annotated[bool, typer.Option("--ended", help="Also those that hold no more.")] = False,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """List the limits, who set them and when."""
    from signoff.cli.client import path
    from signoff.cli.target import find_target

    output = Output(as_json=as_json)
    query = [("subject", subject)] if subject else []
    query += [("ended", "true")] if ended else []
    with find_target(api, key, as_, default="admin").client() as client:
        found = client.get(path("authority"), query)["items"]
    if as_json:
        output.json({"items": found})
        return
    if not found:
        output.note("no limits: where a gate asks for authority, nobody may approve")
        return
    rows = Listing("LIMIT", "SUBJECT", "WHERE", "WITHIN", "SET BY", "STATE", flexible=3)
    for each in found:
        state = "holds" if each["ended_at"] is None else f"ended {each['ended_at'][:10]} by {each['ended_by']['name']}"
        by = f"{each['set_by']['name']}, {each['set_at'][:10]}"
        rows.add(each["id"], each["subject"], _where(each), each["limit"], by, state)
    output.listing(rows)


@_authority.command("remove")
def remove(
    limit_id: Annotated[str, typer.Argument(metavar="LIMIT", help="Id of the limit, of `authority list`.")],
    *,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Let a limit hold no more. It is kept, with who ended it and when."""
    from signoff.cli.client import path
    from signoff.cli.target import find_target

    output = Output(as_json=as_json)
    with find_target(api, key, as_, default="admin").client() as client:
        ended = client.delete(path("authority", limit_id))
    if as_json:
        output.json(ended)
    else:
        output.line(f"{ended['limit']} of {ended['subject']} holds no more")


def _where(limit: Any) -> str:
    workflow, gate = limit["workflow"], limit["gate"]
    if workflow == gate == "*":
        return "everywhere"
    return f"{'any workflow' if workflow == '*' else workflow}/{'any gate' if gate == '*' else gate}"
