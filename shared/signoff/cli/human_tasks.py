"""`signoff inbox` and `signoff decide`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from signoff.cli.options import Api, As, AsJson, Key, Limit
from signoff.cli.output import Output, grid
from signoff.errors import ConfigurationError, InvalidInput, SignoffError

if TYPE_CHECKING:
    from signoff.cli.client import Answer, ApiProblem
    from signoff.cli.target import Target

_PANEL = "Human tasks"


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel=_PANEL)(inbox)
    app.command(rich_help_panel=_PANEL)(decide)


def inbox(
    *,
    state: Annotated[
        Literal["open", "completed", "canceled", "timed_out", "all"], typer.Option(help="In this state.")
    ] = "open",
    workflow: Annotated[str | None, typer.Option(help="Of this workflow.")] = None,
    gate: Annotated[str | None, typer.Option(help="Of this gate.")] = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Of this run.")] = None,
    assignee: Annotated[str | None, typer.Option(help="Held by: me, none, or a name.")] = None,
    candidate: Annotated[str | None, typer.Option(help="That ask this person or group.")] = None,
    due: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Due before: 2h from now, or an RFC 3339 timestamp.")
    ] = None,
    snoozed: Annotated[
        Literal["hide", "only", "show"], typer.Option(help="What to do with those that you have put off.")
    ] = "hide",
    search: Annotated[str | None, typer.Option("--search", "-q", help="Words of the title, or of a run's id.")] = None,
    sort: Annotated[
        Literal["due_at", "-due_at", "created_at", "priority"], typer.Option(help="In this order.")
    ] = "due_at",
    limit: Limit = 20,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """List the human tasks that you may see."""
    from signoff.cli.client import path
    from signoff.cli.runs import moment
    from signoff.cli.target import find_target
    from signoff.cli.views import WIDE, inbox_listing

    output = Output(as_json=as_json)
    given = {"state": state, "workflow": workflow, "gate": gate, "run": run, "assignee": assignee}
    given |= {"candidate": candidate, "q": search, "sort": sort, "snoozed": snoozed}
    given |= {"due_before": moment(due, past=False) if due else None}
    query = [(name, value) for name, value in given.items() if value]
    target = find_target(api, key, as_, default="admin")
    with target.client() as client:
        found, cursor = client.items(path("human-tasks"), query, limit)
        put_off: list[dict[str, Any]] = []
        if not found and snoozed == "hide" and not as_json:
            only = [(name, "only" if name == "snoozed" else value) for name, value in query]
            put_off, _ = client.items(path("human-tasks"), only, 1)
    if as_json:
        output.json({"items": found, "next_cursor": cursor})
        return
    if not found:
        nothing = "nothing waits for a person" if state == "open" else "no human tasks"
        output.note(f"{nothing}, but what you have put off: --snoozed only" if put_off else nothing)
        return
    output.listing(inbox_listing(found, wide=output.console.width >= WIDE))
    if cursor is not None:
        output.note(f"there are more: --limit {min(limit * 5, 10_000)}")


def decide(
    human_task_id: Annotated[str, typer.Argument(metavar="TASK", help="Id of the human task.")],
    decision: Annotated[
        str,
        typer.Argument(metavar="DECISION", help="approve, reject, request_changes, or an option of the gate's own."),
    ],
    *,
    note: Annotated[str | None, typer.Option("--note", "-m", help="What you say to it.")] = None,
    reason: Annotated[str | None, typer.Option(help="A short reason, for statistics.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="Edit a field of the payload; may be repeated.")
    ] = None,
    patch: Annotated[
        str | None, typer.Option(metavar="JSON", help="Edit by a JSON merge patch; @FILE reads a file.")
    ] = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="NAME", help="In the stead of this person, by their delegation.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Without asking back on a terminal.")] = False,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Decide on a human task.

    It is shown first, and the decision names the hash of the payload that was shown: one that changed meanwhile is
    refused.
    """
    from signoff.cli.client import ApiProblem, path
    from signoff.cli.target import find_target

    output = Output(as_json=as_json)
    target = find_target(api, key, as_, default=None)
    if target.key is None:
        raise _nobody(target, human_task_id)
    where = path("human-tasks", human_task_id)
    with target.client() as client:
        task = client.get(where)
        expect_true_hash(task)
        body = _said(task, decision, _edit(settings, patch, task), note=note, reason=reason)
        body |= {} if for_ is None else {"on_behalf_of": for_}
        # Of one that is decided the answer says all there is to say.
        if task["state"] == "open":
            _ask_back(output, task, body, yes=yes)
        # Saying the same of the same revision twice is saying it once, so a broken connection is tried again.
        try:
            answer = client.post(f"{where}/decisions", body, repeatable=True)
        except ApiProblem as problem:
            _name_who_could(problem, target, task)
            raise
    _report(output, answer)


def _name_who_could(problem: ApiProblem, target: Target, human_task: Mapping[str, Any]) -> None:
    """Of somebody who may not decide, say in a development folder who may."""
    from signoff.cli.target import who_could_decide

    if problem.status == HTTPStatus.FORBIDDEN and problem.fix is None and target.identities:
        could = [name for name in who_could_decide(target.identities, human_task) if name != target.acting_as]
        problem.fix = f"these are asked: --as {' or --as '.join(could)}" if could else None


def _said(
    human_task: Mapping[str, Any], decision: str, edit: Any, *, note: str | None, reason: str | None
) -> dict[str, Any]:
    """The body of the request. It names the payload as it was read here."""
    body = {"decision": option_of(human_task, decision), "payload_sha256": human_task["payload_sha256"]}
    given = {"patch": edit, "note": note, "reason": reason}
    return body | {name: value for name, value in given.items() if value is not None}


def _ask_back(output: Output, human_task: Mapping[str, Any], body: dict[str, Any], *, yes: bool) -> None:
    """Show what is decided on; at a terminal ask for the note that is missing, and whether it is meant."""
    from signoff.cli.views import show_human_task

    if output.as_json:
        return
    show_human_task(output, human_task)
    _show_edit(output, human_task, body.get("patch"))
    if yes or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    if body["decision"] in human_task["require_note"] and "note" not in body:
        body["note"] = typer.prompt("note", err=True)
    typer.confirm(f"{body['decision']}?", abort=True, err=True)


def option_of(human_task: Mapping[str, Any], decision: str) -> str:
    """The gate's option that is meant: hyphens do for underscores.

    Raises InvalidInput for an unknown one, so that nobody is asked whether they mean it. Of a human task that is no
    longer open the API's answer says more.
    """
    options = human_task["options"]
    spelled = decision.replace("-", "_")
    if decision not in options and spelled in options:
        return spelled
    if decision not in options and human_task["state"] == "open":
        raise InvalidInput(f"this gate has no option {decision!r}", fix=f"one of {', '.join(options)}")
    return decision


def expect_true_hash(human_task: Mapping[str, Any]) -> None:
    """The hash that is sent has to be that of the bytes that are shown, whoever computed it."""
    from signoff.canonical import sha256_hex

    if sha256_hex(human_task["payload"]) != human_task["payload_sha256"]:
        raise SignoffError(
            "the payload is not the one its hash names", code="hash_mismatch", fix="don't decide; tell an administrator"
        )


def _edit(settings: list[str] | None, patch: str | None, human_task: Mapping[str, Any]) -> Any:
    from signoff.cli.patches import merge_patch_of
    from signoff.cli.runs import read_json

    if settings and patch is not None:
        raise SignoffError("--set and --patch both edit the payload", code="usage", fix="give one of them")
    if patch is not None:
        found = read_json(patch)
        if not isinstance(found, dict):
            raise InvalidInput("--patch is no JSON object", fix='name the fields to change: {"amount": "40.00"}')
        return found
    return merge_patch_of(settings, human_task) if settings else None


def _show_edit(output: Output, human_task: Mapping[str, Any], edit: Any) -> None:
    from rich.text import Text

    from signoff.cli.patches import described
    from signoff.cli.text import visible

    if not isinstance(edit, dict):
        return
    rows = grid()
    for name, before, after in described(edit, human_task["payload"]):
        rows.add_row(Text(f"  {visible(name)}", style="cyan"), visible(before), "→", Text(visible(after), style="bold"))
    output.show(Text("  your edit", style="dim"), rows)


def _report(output: Output, answer: Answer) -> None:
    from rich.text import Text

    from signoff.cli.text import visible
    from signoff.cli.views import status_text

    body = answer.body
    if output.as_json:
        output.json(body)
        return
    task, run, said = body["human_task"], body["run"], body["decision"]
    again = "  (it stood already)" if answer.headers.get("idempotent-replayed") else ""
    output.line("")
    by = visible(said["by"]["name"])
    output.show(Text.assemble(("✓ ", "green"), f"{by} said ", (visible(said["decision"]), "cyan"), again))
    quorum = task["quorum"]
    if task["state"] == "open" and task["release_at"]:
        output.line(f"  it takes effect at {visible(task['release_at'])}; until then it can be taken back")
    elif task["state"] == "open":
        output.line(f"  {quorum['approvals']} of {quorum['required']} approvals; the human task stays open")
    output.show(Text.assemble(f"  run {visible(run['id'])} is ", status_text(run["status"])))
    output.note(f"  follow it: signoff show {visible(run['id'])} --watch")


def _nobody(target: Target, human_task_id: str) -> ConfigurationError:
    """Nobody has said who decides: a development folder holds the keys of many, so it lists those who could."""
    from signoff.cli.client import path
    from signoff.cli.target import development_client, who_could_decide

    with development_client(target, "admin") as client:
        task = client.get(path("human-tasks", human_task_id))
    could = who_could_decide(target.identities, task)
    fix = (
        f"say who decides: --as {' or --as '.join(could)}"
        if could
        else "no development identity is a candidate; decide with a candidate's key, --key"
    )
    return ConfigurationError("a decision is somebody's, and nobody is named", code="who_decides", fix=fix)
