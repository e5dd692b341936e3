"""`signoff run`, `runs`, `show`, `cancel`, `retry`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from signoff.cli.options import Api, As, AsJson, Key, Limit
from signoff.cli.output import Output
from signoff.errors import InvalidInput, MalformedInput, SignoffError

if TYPE_CHECKING:
    from signoff.cli.client import Client
    from signoff.cli.target import Target

_PANEL = "Runs"
MAX_INPUT_BYTES = 16 * 1024 * 1024

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel=_PANEL)(run)
    app.command(rich_help_panel=_PANEL)(runs)
    app.command(rich_help_panel=_PANEL)(show)
    app.command(rich_help_panel=_PANEL)(cancel)
    app.command(rich_help_panel=_PANEL)(retry)


def run(
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="Name of the workflow.")],
    input: Annotated[str, typer.Argument(metavar="JSON", help="The input; @FILE reads a file, - standard input.")],
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it until it ends or parks at a gate.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it through gates until it has ended.")] = False,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", metavar="K=V", help="May be repeated.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="This version instead of the newest.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key starts the same run once.")
    ] = None,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Start a run.

    Exit code 0: started; with --watch 0: completed, 1: failed or canceled, 3: parked at a gate.
    With --watch --json each line is one JSON object: {"event": …}, at last {"run": …, "human_tasks": […]}.
    """
    from signoff.cli.client import fresh_key, path
    from signoff.cli.target import find_target
    from signoff.cli.views import show_run

    output = Output(as_json=as_json)
    body: dict[str, Any] = {"workflow": workflow, "input": read_json(input)}
    body |= {"version": version} if version is not None else {}
    body |= {"labels": labels(label)} if label else {}
    target = find_target(api, key, as_, default="requester")
    with target.client() as client:
        # With a key of our own a broken connection is no reason to wonder whether it was started: we just ask again.
        started = client.post(path("runs"), body, idempotency_key=idempotency_key or fresh_key()).body
        if watch or wait:
            if not as_json:
                output.line(f"run {started['id']}", style="bold")
            _follow(client, target, output, started["id"], through_gates=wait)
    if as_json:
        output.json(started)
        return
    show_run(output, started)
    output.note(f"follow it: signoff show {started['id']} --watch")


def runs(
    *,
    workflow: Annotated[str | None, typer.Option(help="Of this workflow.")] = None,
    status: Annotated[
        Literal["queued", "running", "waiting", "retrying", "completed", "failed", "canceled"] | None,
        typer.Option(help="In this status."),
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", metavar="K=V", help="May be repeated.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Started after: 2h, 3d, or an RFC 3339 timestamp.")
    ] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """List runs, newest first."""
    from signoff.cli.client import path
    from signoff.cli.target import find_target
    from signoff.cli.views import WIDE, runs_listing

    output = Output(as_json=as_json)
    query = [("workflow", workflow)] if workflow else []
    query += [("status", status)] if status else []
    query += [("label", f"{name}:{value}") for name, value in labels(label).items()]
    query += [("created_after", moment(since, past=True))] if since else []
    target = find_target(api, key, as_, default="admin")
    with target.client() as client:
        found, cursor = client.items(path("runs"), query, limit)
    if as_json:
        output.json({"items": found, "next_cursor": cursor})
        return
    if not found:
        output.note("no runs")
        return
    output.listing(runs_listing(found, wide=output.console.width >= WIDE))
    if cursor is not None:
        output.note(f"there are more: --limit {min(limit * 5, 10_000)}")


def show(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or of a human task.")],
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it until it ends or parks at a gate.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it through gates until it has ended.")] = False,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Show a run or a human task.

    Of a run: where it stands, its timeline, and what waits for a person. With --watch the exit codes are those of
    `signoff run --watch`.
    """
    from signoff.cli.client import ApiProblem, path
    from signoff.cli.target import find_target

    output = Output(as_json=as_json)
    target = find_target(api, key, as_, default="admin")
    with target.client() as client:
        if watch or wait:
            _follow(client, target, output, run_id, through_gates=wait)
        try:
            found = client.get(path("runs", run_id))
        except ApiProblem as problem:
            task = _human_task(client, run_id) if problem.status == HTTPStatus.NOT_FOUND else None
            if task is None:
                raise
            _show_human_task(output, target, task)
            return
        _show_run(output, target, client, found)


def cancel(
    run_id: RunId,
    *,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it becomes part of the log.")],
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Cancel a run and its open human tasks."""
    from signoff.cli.target import find_target

    _change(find_target(api, key, as_, default="admin"), run_id, "cancel", {"reason": reason}, as_json=as_json)


def retry(
    run_id: RunId,
    *,
    from_step: Annotated[str | None, typer.Option("--from", metavar="STEP", help="From this earlier step.")] = None,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Let a failed run go on.

    It goes on at the step that failed, or with --from at an earlier one.
    """
    from signoff.cli.target import find_target

    body = {"from_step": from_step} if from_step else {}
    _change(find_target(api, key, as_, default="admin"), run_id, "retry", body, as_json=as_json)


def read_json(text: str) -> Any:
    """The JSON value of an argument: itself, of a file (`@FILE`), or of standard input (`-`).

    Raises MalformedInput, with the line and the column, and InvalidInput for a file that can't be read.
    """
    from signoff import strict_json

    if text == "-":
        raw = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
    elif text.startswith("@"):
        try:
            with Path(text[1:]).open("rb") as file:
                raw = file.read(MAX_INPUT_BYTES + 1)
        except OSError as error:
            raise InvalidInput(f"can't read {text[1:]}: {error.strerror}", fix="name a file that is there") from error
    else:
        raw = text.encode("utf-8", "surrogateescape")
    try:
        return strict_json.loads(raw, max_bytes=MAX_INPUT_BYTES)
    except MalformedInput as error:
        fix = error.fix or 'in a shell it stands between single quotes: \'{"amount": "40"}\'; @FILE reads a file'
        raise MalformedInput(error.detail, fix=fix) from error


def labels(given: list[str] | None) -> dict[str, str]:
    """Labels written as `key=value`. Raises a usage error."""
    found: dict[str, str] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise SignoffError(f"--label {text!r} is not KEY=VALUE", code="usage", fix="write it like team=billing")
        found[name] = value
    return found


def moment(text: str, *, past: bool) -> str:
    """A timestamp as it is, or a duration from now (back, with `past`), as RFC 3339. Raises a usage error."""
    from signoff.durations import parse_duration
    from signoff.model import format_time

    try:
        offset = timedelta(milliseconds=parse_duration(text))
    except ValueError:
        try:
            found = datetime.fromisoformat(text)
        except ValueError as error:
            raise SignoffError(f"{text!r} is no time", code="usage", fix="2h, 3d or 2026-01-31T12:00:00Z") from error
        return format_time(found.astimezone(UTC))
    now = datetime.now(UTC)
    return format_time(now - offset if past else now + offset)


def _follow(client: Client, target: Target, output: Output, run_id: str, *, through_gates: bool) -> NoReturn:
    from signoff.cli.following import Follower

    try:
        code = Follower(client, target, output, through_gates=through_gates).follow(run_id)
    except KeyboardInterrupt:
        output.note(f"the run goes on: signoff show {run_id} --watch")
        raise
    raise typer.Exit(code)


def _show_run(output: Output, target: Target, client: Client, found: Any) -> None:
    from signoff.cli.client import path
    from signoff.cli.target import who_could_decide
    from signoff.cli.timeline import Timeline
    from signoff.cli.views import decide_commands, show_human_task, show_run

    events = list(client.events(found["id"]))
    tasks, _ = client.items(path("human-tasks"), [("run", found["id"]), ("state", "all")], 100)
    if output.as_json:
        output.json({"run": found, "events": events, "human_tasks": tasks})
        return
    show_run(output, found)
    output.line("")
    timeline = Timeline()
    for event in events:
        output.console.print(timeline.line(timeline.entry(event)), soft_wrap=True)
    for task in (each for each in tasks if each["state"] == "open"):
        output.line("")
        show_human_task(output, task, payload=False)
        people = who_could_decide(target.identities, task) if target.identities else []
        for command in decide_commands(task, acting_as=people[0] if people else None)[:1]:
            output.line(f"  {command}", style="bold")


def _human_task(client: Client, human_task_id: str) -> Any:
    from signoff.cli.client import ApiProblem, path

    try:
        return client.get(path("human-tasks", human_task_id))
    except ApiProblem:
        return None


def _show_human_task(output: Output, target: Target, task: Any) -> None:
    from signoff.cli.target import who_could_decide
    from signoff.cli.views import decide_commands, show_human_task

    if output.as_json:
        output.json(task)
        return
    show_human_task(output, task)
    if task["state"] == "open":
        people = who_could_decide(target.identities, task) if target.identities else []
        output.line("")
        for command in decide_commands(task, acting_as=people[0] if people else None):
            output.line(f"  {command}", style="bold")


def _change(target: Target, run_id: str, verb: str, body: dict[str, Any], *, as_json: bool) -> None:
    from signoff.cli.client import path
    from signoff.cli.text import visible

    output = Output(as_json=as_json)
    with target.client() as client:
        found = client.post(path("runs", run_id, verb), body).body
    if as_json:
        output.json(found)
    else:
        output.line(f"run {visible(found['id'])} is {visible(found['status'])}")
