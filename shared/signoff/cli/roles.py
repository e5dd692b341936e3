"""`signoff role`: roles that hold for one workflow, of a principal or of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from signoff.cli.options import AsJson
from signoff.cli.output import Listing, Output
from signoff.errors import SignoffError

if TYPE_CHECKING:
    from signoff.store.role_grants import GrantView, Holder

_roles = typer.Typer(no_args_is_help=True, help="Roles for one workflow. Needs the database, not the API.")

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the principal.")]
Group = Annotated[str | None, typer.Option("--group", "-g", metavar="NAME", help="A group, instead of a principal.")]
Role = Annotated[
    str,
    typer.Option("--role", "-r", help="admin, operator, author, requester, reviewer or auditor."),
]
Workflow = Annotated[str, typer.Option("--workflow", "-w", help="The workflow it holds for.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(_roles, name="role", rich_help_panel="Operations")


@_roles.command("grant")
def grant(name: Name = None, *, group: Group = None, role: Role, workflow: Workflow, as_json: AsJson = False) -> None:
    """Grant a role for one workflow, from the next request on. What holds everywhere is `principal update --role`."""
    from signoff.cli.direct import opened_database, operator
    from signoff.store.role_grants import grant_role

    holder = _holder(name, group)
    with opened_database() as database:
        new = grant_role(database, holder, role=role, workflow=workflow, by=operator())
    output = Output(as_json=as_json)
    if as_json:
        output.json(_of(holder) | {"role": role, "workflow": workflow, "new": new})
    else:
        output.line(f"{holder}: {role} of {workflow}{'' if new else ', as before'}")


@_roles.command("revoke")
def revoke(name: Name = None, *, group: Group = None, role: Role, workflow: Workflow, as_json: AsJson = False) -> None:
    """Take such a role back, with the next request."""
    from signoff.cli.direct import opened_database, operator
    from signoff.store.role_grants import revoke_role

    holder = _holder(name, group)
    with opened_database() as database:
        revoke_role(database, holder, role=role, workflow=workflow, by=operator())
    output = Output(as_json=as_json)
    if as_json:
        output.json(_of(holder) | {"role": role, "workflow": workflow, "revoked": True})
    else:
        output.line(f"{holder} is no {role} of {workflow} any more")


@_roles.command("list")
def list_all(
    name: Name = None,
    *,
    group: Group = None,
    workflow: Annotated[str | None, typer.Option("--workflow", "-w", help="Only those for this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the roles that hold for one workflow each. What a principal has by its groups is listed with those."""
    from signoff.cli.direct import opened_database
    from signoff.store.role_grants import list_grants

    holder = _holder(name, group) if name is not None or group is not None else None
    with opened_database() as database:
        found = list_grants(database, holder=holder, workflow=workflow)
    output = Output(as_json=as_json)
    if as_json:
        output.json([_json(each) for each in found])
        return
    rows = Listing("WORKFLOW", "ROLE", "HOLDER", flexible=2)
    for each in found:
        rows.add(each.workflow, each.role, str(each.holder))
    output.listing(rows)


def _holder(name: str | None, group: str | None) -> Holder:
    from signoff.store.role_grants import Holder

    if (name is None) == (group is None):
        raise SignoffError("whose role is it?", code="usage", fix="name a principal, or --group NAME")
    return Holder(name=name or group or "", is_group=group is not None)


def _of(holder: Holder) -> dict[str, Any]:
    return {"group" if holder.is_group else "principal": holder.name}


def _json(found: GrantView) -> dict[str, Any]:
    at = found.created_at.isoformat()
    return _of(found.holder) | {"role": found.role, "workflow": found.workflow, "created_at": at}
