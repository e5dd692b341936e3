"""A run's log as sentences: one line an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from signoff.cli.text import parse_time, shown_time, span, visible
from signoff.durations import format_duration

if TYPE_CHECKING:
    from rich.text import Text

_SIGNS = {
    "run.created": ("▶", "cyan"),
    "step.completed": ("✓", "green"),
    "step.failed": ("✗", "red"),
    "step.retry_scheduled": ("↻", "yellow"),
    "gate.opened": ("◆", "yellow"),
    "gate.passed": ("◇", "green"),
    "gate.revised": ("◆", "yellow"),
    "decision.recorded": ("✎", "cyan"),
    "gate.decided": ("◇", "cyan"),
    "gate.reminded": ("◷", "yellow"),
    "gate.escalated": ("◷", "yellow"),
    "gate.timed_out": ("◷", "red"),
    "run.completed": ("■", "green"),
    "run.failed": ("■", "red"),
    "run.canceled": ("■", "red"),
    "run.retried": ("↻", "cyan"),
}
_OTHER = ("·", "dim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event as it is shown: when, a sign, what happened to what, and the words that came with it."""

    at: datetime
    sign: str
    style: str
    what: str
    detail: str = ""


class Timeline:
    """Turns events into entries, in the order of the log: later ones name what earlier ones opened."""

    def __init__(self) -> None:
        self._gates: dict[str, str] = {}
        self._began: datetime | None = None

    def entry(self, event: Mapping[str, Any]) -> Entry:
        """What this event says."""
        data = event.get("data") or {}
        if data.get("human_task_id") and data.get("gate"):
            self._gates[data["human_task_id"]] = data["gate"]
        at = parse_time(event["at"])
        assert at is not None
        kind = event["type"]
        sign, style = _SIGNS.get(kind, _OTHER)
        what, detail = self._say(kind, data, str((event.get("actor") or {}).get("name", "?")))
        return Entry(at=at, sign=sign, style=style, what=visible(what), detail=visible(detail))

    def line(self, entry: Entry) -> Text:
        """The entry with the time since the run began."""
        from rich.text import Text

        if self._began is None:
            self._began = entry.at
            when = shown_time(entry.at)[-8:]
        else:
            when = f"+{span(entry.at - self._began)}"
        made = Text.assemble((f"{when:>12}  ", "dim"), (entry.sign, entry.style), " ", entry.what)
        if entry.detail:
            made.append(f"  {entry.detail}", style="dim")
        return made

    def _say(self, kind: str, data: Mapping[str, Any], who: str) -> tuple[str, str]:
        group, _, verb = kind.partition(".")
        if group == "run":
            return _say_run(verb, data, who)
        if group == "step":
            return _say_step(verb, data)
        gate = str(data.get("gate") or self._gates.get(data.get("human_task_id", ""), "a gate"))
        if group == "gate":
            return _say_gate(verb, data, gate)
        if kind == "decision.recorded":
            return _say_decision(data, who, gate)
        verbs = {
            "claimed": f"{who} claimed {gate}",
            "released": f"{who} released {gate}",
            "assigned": f"{who} assigned {gate} to {data.get('assignee')}",
            "commented": f"{who} commented on {gate}",
        }
        return verbs.get(verb, f"{kind} {gate}"), str(data.get("text") or "")


def _say_run(verb: str, data: Mapping[str, Any], who: str) -> tuple[str, str]:
    match verb:
        case "created":
            return f"{data.get('workflow')} v{data.get('version')} started", f"by {who}"
        case "completed":
            return "completed", _unless(data.get("outcome"), "completed")
        case "failed":
            where = f" at {data['step']}" if data.get("step") else ""
            return f"failed{where}", f"{data.get('code')}: {data.get('message')}"
        case "canceled":
            return "canceled", f"{data.get('reason') or ''} (by {who})"
        case "retried":
            return f"{who} retried it", f"from {data['from']}" if data.get("from") else ""
        case _:
            return f"run {verb}", ""


def _say_step(verb: str, data: Mapping[str, Any]) -> tuple[str, str]:
    step, attempt = str(data.get("step")), data.get("attempt") or 1
    match verb:
        case "completed":
            return step, f"attempt {attempt}" if attempt > 1 else ""
        case "failed":
            return f"{step} failed", f"{data.get('code')}: {data.get('message')}"
        case "retry_scheduled":
            wait = f"again in {format_duration(data['delay_ms'])}" if data.get("delay_ms") else "again at once"
            return f"{step} attempt {attempt} failed, {wait}", f"{data.get('code')}: {data.get('message')}"
        case _:
            return f"{step} {verb}", ""


def _say_gate(verb: str, data: Mapping[str, Any], gate: str) -> tuple[str, str]:
    match verb:
        case "opened":
            beside = " beside the run" if data.get("mode") == "after" else ""
            return f"{gate} asks {_names(data.get('candidates'))}{beside}", str(data.get("why") or "")
        case "passed":
            return f"{gate} passed by policy", str(data.get("why") or "")
        case "revised":
            return f"{gate} shows revision {data.get('revision')}", str(data.get("why") or "")
        case "decided":
            edited = f"edited {', '.join(data['edited'])}" if data.get("edited") else ""
            return f"{gate}: {data.get('outcome')}, by {data.get('decided_by')}", edited
        case "reminded":
            return f"{gate} {'is overdue' if data.get('overdue') else 'reminded its candidates'}", ""
        case "escalated":
            why = "over the limits of authority of those it asked" if data.get("reason") == "over_limit" else ""
            return f"{gate} {data.get('action', 'escalate')}d to {_names(data.get('to'))}", why
        case "timed_out":
            return f"{gate}: nobody decided in time", f"→ {data.get('action')}"
        case _:
            return f"{gate} {verb}", ""


def _say_decision(data: Mapping[str, Any], who: str, gate: str) -> tuple[str, str]:
    if data.get("decision") is None:
        return f"{who} decided {gate}", "not shown before the gate is decided"
    if data.get("withdraws"):
        return f"{who} took the decision on {gate} back", ""
    edited = f"edited {', '.join(data['patch'])}" if isinstance(data.get("patch"), dict) and data["patch"] else ""
    words = [edited, f"“{data['note']}”" if data.get("note") else "", str(data.get("reason") or "")]
    return f"{who} said {data['decision']} at {gate}", " · ".join(word for word in words if word)


def _names(candidates: Any) -> str:
    if not isinstance(candidates, Mapping):
        return "nobody"
    found: Sequence[str] = [*candidates.get("groups", []), *candidates.get("users", [])]
    return ", ".join(found) or "nobody"


def _unless(text: Any, ordinary: str) -> str:
    return "" if text in (None, ordinary) else f"outcome {text}"


def lasted(run: Mapping[str, Any]) -> timedelta | None:
    """How long a finished run took."""
    created, finished = parse_time(run["created_at"]), parse_time(run["finished_at"])
    return None if created is None or finished is None else finished - created
