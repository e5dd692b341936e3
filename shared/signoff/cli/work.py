"""`signoff delegate`, `signoff absence`, `signoff snooze`: who does whose work, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from signoff.cli.options import Api, As, AsJson, Key
from signoff.cli.output import Listing, Output
from signoff.errors import SignoffError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PANEL = "Human tasks"

Whose = Annotated[str | None, typer.Option("--of", metavar="NAME", help="Of this person instead of you; for admins.")]
From = Annotated[
    str | None, typer.Option("--from", metavar="WHEN", help="Not before: 2h from now, or an RFC 3339 timestamp.")
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="WHEN", help="Not after: 14d from now, or an RFC 3339 timestamp.")
]
Note = Annotated[str | None, typer.Option("--note", "-m", help="Why, for those who see it.")]
Everything = Annotated[bool, typer.Option("--ended", help="Those that are over too.")]
ListOf = Annotated[str | None, typer.Option("--of", metavar="NAME", help="Of this person; * for all.")]

_delegations = typer.Typer(no_args_is_help=True, help="Let somebody decide in your stead.")
_absences = typer.Typer(no_args_is_help=True, help="Say that you are away, and who stands in for you.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(_delegations, name="delegate", rich_help_panel=_PANEL)
    app.add_typer(_absences, name="absence", rich_help_panel=_PANEL)
    app.command(rich_help_panel=_PANEL)(snooze)


@_delegations.command("to")
def delegate_to(
    delegate: Annotated[str, typer.Argument(metavar="NAME", help="Who may decide.")],
    *,
    workflow: Annotated[str | None, typer.Option(help="Only in this workflow.")] = None,
    from_: From = None,
    until: Until = None,
    note: Note = None,
    of: Whose = None,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Let NAME decide in your stead, for good or for a time.

    They say so with each decision: `signoff decide TASK approve --for YOU`. The log names both of you.
    """
    asked = {"kind": "delegation", "delegate": delegate, "workflow": workflow, "note": note, "delegator": of}
    _add(asked, from_, until, as_json=as_json, api=api, key=key, as_=as_)


@_absences.command("set")
def absence_set(
    *,
    until: Annotated[str, typer.Option("--until", metavar="WHEN", help="Until 14d from now, or a timestamp.")],
    to: Annotated[str | None, typer.Option("--to", metavar="NAME", help="Who stands in for you.")] = None,
    from_: From = None,
    note: Note = None,
    of: Whose = None,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Be away until then: what would be assigned to you goes to who stands in, who may decide for you."""
    asked = {"kind": "absence", "delegate": to, "note": note, "delegator": of}
    _add(asked, from_, until, as_json=as_json, api=api, key=key, as_=as_)


@_delegations.command("list")
def list_delegations(
    *,
    ended: Everything = False,
    of: ListOf = None,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """List delegations, those you gave and those you were given."""
    _list("delegation", ended=ended, of=of, as_json=as_json, api=api, key=key, as_=as_)


@_absences.command("list")
def list_absences(
    *,
    ended: Everything = False,
    of: ListOf = None,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """List absences, your own and those in which you stand in."""
    _list("absence", ended=ended, of=of, as_json=as_json, api=api, key=key, as_=as_)


@_delegations.command("end")
def end_delegation(
    delegation: Annotated[str, typer.Argument(metavar="ID", help="Id of the delegation.")],
    *,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """End a delegation now."""
    _end(delegation, as_json=as_json, api=api, key=key, as_=as_)


@_absences.command("end")
def end_absence(
    absence: Annotated[str, typer.Argument(metavar="ID", help="Id of the absence.")],
    *,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Be back now."""
    _end(absence, as_json=as_json, api=api, key=key, as_=as_)


def snooze(
    human_task_id: Annotated[str, typer.Argument(metavar="TASK", help="Id of the human task.")],
    *,
    until: Until = None,
    off: Annotated[bool, typer.Option("--off", help="Bring it back now.")] = False,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Put a human task off: your lists leave it out until then, and nothing changes for others."""
    from signoff.cli.client import path
    from signoff.cli.runs import moment
    from signoff.cli.target import find_target

    if off == (until is not None):
        raise SignoffError("until when?", code="usage", fix="--until 2h, or --off to bring it back")
    where = path("human-tasks", human_task_id, "snooze")
    with find_target(api, key, as_, default="admin").client() as client:
        found = client.delete(where) if until is None else client.put(where, {"until": moment(until, past=False)})
    output = Output(as_json=as_json)
    if as_json:
        output.json(found)
    else:
        output.line("it is back" if until is None else f"put off until {_shown(found['snoozed_until'])}")


def _add(
    asked: dict[str, Any],
    begin: str | None,
    end: str | None,
    *,
    as_json: bool,
    api: str | None,
    key: str | None,
    as_: str | None,
) -> None:
    from signoff.cli.client import path
    from signoff.cli.runs import moment
    from signoff.cli.target import find_target

    asked |= {"from": moment(begin, past=False) if begin else None}
    asked |= {"until": moment(end, past=False) if end else None}
    body = {name: value for name, value in asked.items() if value is not None}
    with find_target(api, key, as_, default="admin").client() as client:
        made = client.post(path("delegations"), body).body
    output = Output(as_json=as_json)
    if as_json:
        output.json(made)
    else:
        output.line(_said(made))


def _list(
    kind: Literal["delegation", "absence"],
    *,
    ended: bool,
    of: str | None,
    as_json: bool,
    api: str | None,
    key: str | None,
    as_: str | None,
) -> None:
    from signoff.cli.client import path
    from signoff.cli.target import find_target
    from signoff.cli.text import visible

    query = [("ended", "yes" if ended else "no"), *([("of", of)] if of else [])]
    with find_target(api, key, as_, default="admin").client() as client:
        items = client.get(path("delegations"), query)["items"]
    found = [each for each in items if each["kind"] == kind]
    output = Output(as_json=as_json)
    if as_json:
        output.json({"items": found})
        return
    rows = Listing("ID", "OF", "TO", "IN", "FROM", "UNTIL", "HOLDS", "NOTE", flexible=7)
    for each in found:
        where, to = each["workflow"] or "all", each["delegate"] or "nobody"
        moments = _shown(each["from_at"]), _shown(each["ended_at"] or each["until_at"]) or "-"
        holds = "yes" if each["active"] else "no"
        rows.add(each["id"], each["delegator"], to, where, *moments, holds, visible(each["note"] or ""))
    output.listing(rows)


def _end(delegation_id: str, *, as_json: bool, api: str | None, key: str | None, as_: str | None) -> None:
    from signoff.cli.client import path
    from signoff.cli.target import find_target

    with find_target(api, key, as_, default="admin").client() as client:
        found = client.delete(path("delegations", delegation_id))
    output = Output(as_json=as_json)
    if as_json:
        output.json(found)
    else:
        output.line(f"ended: {_said(found)}")


def _said(found: Mapping[str, Any]) -> str:
    whom = found["delegate"] or "nobody"
    where = "" if found["workflow"] is None else f" in {found['workflow']}"
    until = "" if found["until_at"] is None else f" until {_shown(found['until_at'])}"
    if found["kind"] == "absence":
        return f"{found['delegator']} is away, and {whom} stands in, from {_shown(found['from_at'])}{until}"
    return f"{whom} may decide for {found['delegator']}{where}, from {_shown(found['from_at'])}{until}"


def _shown(at: str | None) -> str:
    from signoff.cli.text import parse_time, shown_time

    found = parse_time(at)
    return "" if found is None else shown_time(found)
