"""Runs and human tasks as blocks and tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from signoff.cli.output import Listing, Output
from signoff.cli.text import (
    ago,
    compact,
    json_text,
    parse_time,
    shortened,
    shown_time,
    span,
    until,
    visible,
    visible_lines,
)
from signoff.cli.timeline import lasted

if TYPE_CHECKING:
    from rich.text import Text

STATUS_STYLES = {
    "queued": "cyan",
    "running": "cyan",
    "waiting": "yellow",
    "retrying": "yellow",
    "completed": "green",
    "failed": "red",
    "canceled": "magenta",
    "open": "yellow",
    "timed_out": "red",
}
WIDE = 110
"""Columns from which on tables show what else is worth knowing."""
_MAX_VALUE_LINES = 40


def status_text(status: str) -> Text:
    """A status in its colour."""
    from rich.text import Text

    return Text(visible(status), style=STATUS_STYLES.get(status, ""))


def runs_listing(runs: Iterable[Mapping[str, Any]], *, wide: bool) -> Listing:
    """One line a run."""
    rows = Listing("RUN", "WORKFLOW", "STATUS", "AT", "AGE", *(["BY", "LABELS"] if wide else []), flexible=3)
    for run in runs:
        more = [visible(run["requester"]["name"]), _labels(run["labels"])] if wide else []
        rows.add(
            visible(run["id"]),
            f"{visible(run['workflow'])} v{run['version']}",
            status_text(run["status"]),
            visible(where(run)),
            ago(parse_time(run["created_at"])).removesuffix(" ago"),
            *more,
        )
    return rows


def where(run: Mapping[str, Any]) -> str:
    """Where a run stands, or what it came to."""
    if run["status"] == "failed" and run["error"]:
        return f"{run['error']['code']} at {run['error']['step'] or run['current_node']}"
    if run["status"] == "completed":
        return "" if run["outcome"] in (None, "completed") else str(run["outcome"])
    return str(run["current_node"] or "")


def inbox_listing(human_tasks: Iterable[Mapping[str, Any]], *, wide: bool) -> Listing:
    """One line a human task."""
    rows = Listing("HUMAN TASK", "TITLE", "DUE", *(["GATE", "ASKED", "HELD BY"] if wide else []), flexible=1)
    for each in human_tasks:
        state = each["state"]
        due = until(parse_time(each["due_at"])) if state == "open" else state
        more = [f"{each['workflow']}/{each['gate']}", _asked(each), each["assignee"] or ""] if wide else []
        rows.add(visible(each["id"]), visible(each["title"]), visible(due), *map(visible, more))
    return rows


def show_run(output: Output, run: Mapping[str, Any]) -> None:
    """The head of a run."""
    from rich.text import Text

    stands = where(run)
    heading = Text.assemble((f"{visible(run['workflow'])} v{run['version']}", "bold"), "  ", status_text(run["status"]))
    if stands and run["status"] != "failed":
        heading.append(f"  {'at ' if run['current_node'] and run['status'] != 'completed' else ''}{visible(stands)}")
    created = parse_time(run["created_at"])
    took = lasted(run)
    facts = [
        ("run", visible(run["id"])),
        (
            "started",
            f"{shown_time(created) if created else ''} by {visible(run['requester']['name'])}, {ago(created)}"
            + (f", took {span(took)}" if took is not None else ""),
        ),
        ("labels", _labels(run["labels"])),
        ("input", compact(run["input"], 400)),
        ("output", compact(run["output"], 400) if run["output"] is not None else ""),
    ]
    output.show(heading)
    _facts(output, facts)
    if run["error"]:
        show_run_error(output, run["error"])


def show_run_error(output: Output, error: Mapping[str, Any]) -> None:
    """Why a run failed."""
    from rich.text import Text

    place = f" at {error['step']}, attempt {error['attempt']}" if error.get("step") else ""
    said = Text.assemble((f"  {visible(error['code'])}", "red"), visible(place), "\n")
    said.append("    " + visible_lines(error["message"]).replace("\n", "\n    "))
    output.console.print(said, soft_wrap=True)


def show_human_task(output: Output, human_task: Mapping[str, Any], *, payload: bool = True) -> None:
    """What a reviewer has to see: the title, why they are asked, the bytes, and what each answer does."""
    from rich.text import Text

    state = human_task["state"]
    heading = Text.assemble(("◆ ", "yellow"), (visible(human_task["title"]), "bold"))
    if state != "open":
        heading.append(f"  {state}", style=STATUS_STYLES.get(state, ""))
    output.show(heading)
    _facts(output, _human_task_facts(human_task))
    if payload:
        _show_payload(output, human_task)
    if state == "open":
        output.line("")
        _show_options(output, human_task)
    for said in human_task["decisions"]:
        _show_said(output, said)


def _human_task_facts(human_task: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    is_open = human_task["state"] == "open"
    score = (human_task.get("recommendation") or {}).get("score")
    quorum = human_task["quorum"]
    yield "why", visible(human_task["why"])
    yield "human task", visible(human_task["id"])
    yield "run", f"{visible(human_task['run_id'])}  {visible(human_task['workflow'])} v{human_task['version']}"
    yield "asked", visible(_asked(human_task)) + _held(human_task)
    if is_open and human_task["due_at"]:
        yield "due", until(parse_time(human_task["due_at"]))
    if is_open and human_task.get("not_before_at"):
        yield "not before", visible(human_task["not_before_at"])
    if is_open and human_task.get("release_at"):
        yield "decided", f"takes effect at {visible(human_task['release_at'])}, can be taken back until then"
    if quorum["required"] > 1:
        yield "quorum", f"{quorum['approvals']} of {quorum['required']} approvals"
    if human_task["revision"] > 1:
        yield "revision", str(human_task["revision"])
    if score is not None:
        yield "confidence", compact(score, 60)
    if human_task["outcome"]:
        yield "outcome", visible(f"{human_task['outcome']}, by {human_task['decided_by']}")
    if is_open and human_task["editable"]:
        yield "editable", visible(", ".join(human_task["editable"]))


def decide_commands(human_task: Mapping[str, Any], *, acting_as: str | None) -> list[str]:
    """The commands that decide a human task, one an option, as they can be pasted."""
    noted = human_task.get("require_note") or ()
    person = f" --as {acting_as}" if acting_as else ""
    return [
        f"signoff decide {human_task['id']} {option}{person}" + (' --note "…"' if option in noted else "")
        for option in human_task["options"]
    ]


def _show_payload(output: Output, human_task: Mapping[str, Any]) -> None:
    _facts(output, [("payload", f"sha256 {visible(human_task['payload_sha256'])}")])
    lines = json_text(human_task["payload"]).split("\n")
    for line in lines[:_MAX_VALUE_LINES]:
        output.line(f"    {line}")
    if len(lines) > _MAX_VALUE_LINES:
        more = len(lines) - _MAX_VALUE_LINES
        output.line(f"    … {more} more lines: signoff show {visible(human_task['id'])} --json", style="yellow")


def _show_options(output: Output, human_task: Mapping[str, Any]) -> None:
    from rich.text import Text

    width = max(len(option) for option in human_task["options"])
    for option in human_task["options"]:
        line = Text.assemble("  ", (visible(option).ljust(width), "cyan"))
        line.append(f"  {visible(human_task['consequences'].get(option, ''))}")
        line.rstrip()
        output.console.print(line, soft_wrap=True)


def _show_said(output: Output, said: Mapping[str, Any]) -> None:
    from rich.text import Text

    at = parse_time(said["at"])
    line = Text.assemble("  ✎ ", visible(said["by"]["name"]), " said ", (visible(said["decision"]), "cyan"))
    line.append(f"  {ago(at)}" + ("  (taken back)" if said.get("withdrawn") else ""), style="dim")
    if said["note"]:
        line.append(f"  “{visible(said['note'])}”")
    output.console.print(line)


def _facts(output: Output, facts: Iterable[tuple[str, str]]) -> None:
    from rich.text import Text

    for label, value in facts:
        if value:
            output.console.print(Text.assemble((f"  {label:<12}", "dim"), value), soft_wrap=True)


def _asked(human_task: Mapping[str, Any]) -> str:
    candidates = human_task["candidates"]
    return ", ".join([*candidates["groups"], *candidates["users"]]) or "nobody"


def _held(human_task: Mapping[str, Any]) -> str:
    return f", held by {visible(human_task['assignee'])}" if human_task["assignee"] else ""


def _labels(labels: Mapping[str, str]) -> str:
    return visible(shortened(" ".join(f"{key}={value}" for key, value in labels.items()), 200))
