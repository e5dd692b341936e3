"""A run's log as sentences: who did what, what it changed, and where it leads. Pure.

Texts are as they were written; whoever shows them escapes them and marks what is hidden in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from signoff.canonical import Json
from signoff.durations import format_duration
from signoff.ids import parse_id
from signoff.store.blindness import Withheld
from signoff.store.queries_human_task_views import HumanTaskView
from signoff.store.queries_runs import EventView
from signoff_api.inbox.run_path import outcome_word

MAX_CHANGES = 12
"""Changed fields that one entry lists; the rest is counted."""
MAX_VALUE = 120
"""Characters of a value in a sentence."""

_NO_REASON = "no review needed: "
_SIGNS = {
    "run.created": "start",
    "step.completed": "done",
    "step.failed": "failed",
    "step.retry_scheduled": "again",
    "gate.opened": "gate",
    "gate.passed": "passed",
    "gate.revised": "gate",
    "human_task.claimed": "person",
    "human_task.released": "person",
    "human_task.assigned": "person",
    "human_task.commented": "comment",
    "decision.recorded": "person",
    "gate.decided": "gate",
    "gate.reminded": "clock",
    "gate.escalated": "clock",
    "gate.timed_out": "clock",
    "run.completed": "done",
    "run.failed": "failed",
    "run.canceled": "stopped",
    "run.retried": "again",
}
_VERBS = {"approve": "approved", "reject": "rejected", "request_changes": "asked for changes at"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One field that an edit changed. `before` is None where it is not known, `after` None where it was removed."""

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event as it is shown.

    `what` is the sentence; `aside` what explains it; `quote` what a person wrote. `more` counts the changes that are
    not listed. `data` is all of the event, `trace` the stack trace in it.
    """

    seq: int
    type: str
    sign: str
    at: datetime
    actor: Mapping[str, str]
    what: str
    aside: str = ""
    quote: str = ""
    changes: tuple[Change, ...] = ()
    more: int = 0
    human_task_id: UUID | None = None
    run_id: UUID | None = None
    trace: str = ""
    data: Json = None
    withheld: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """The words of an entry, before it is known whose they are."""

    what: str
    aside: str = ""
    quote: str = ""
    before: Json = None
    patch: Json = None


def entries(page: Iterable[EventView], *, tasks: Sequence[HumanTaskView], withheld: Withheld) -> Iterator[Entry]:
    """The events of one page of a log, oldest first.

    `tasks` are the run's human tasks: an edit is told by what they showed. Of a decision in `withheld` nothing is said
    but that it was made, and of an edit not by whom.
    """
    shown = _Shown(tasks)
    for event in page:
        shown.follow(event)
        yield _entry(event, shown, withheld)


class _Shown:
    """What each human task showed at each revision, as far as its row and the events of this page tell."""

    def __init__(self, tasks: Sequence[HumanTaskView]) -> None:
        self._payloads: dict[tuple[str, int], Json] = {
            (str(task.row.id), task.row.revision): task.row.payload for task in tasks
        }
        self._value: list[Json] = []

    def follow(self, event: EventView) -> None:
        data = event.data
        match event.type:
            case "run.created":
                self._value = [data.get("value", data.get("input"))]
            case "step.completed":
                self._value = [data.get("output")]
            case "gate.opened" | "gate.revised":
                value = [data["payload"]] if "payload" in data else self._value
                if value:
                    self._payloads.setdefault((str(data.get("human_task_id")), data.get("revision", 1)), value[0])

    def payload(self, data: Mapping[str, Any]) -> Json:
        """What was shown when this was decided; None where it is not known."""
        return self._payloads.get((str(data.get("human_task_id")), data.get("revision", 0)))


def _entry(event: EventView, shown: _Shown, withheld: Withheld) -> Entry:
    known = withheld.known(event)
    data = known.data
    who = known.actor.get("name", "?")
    unsaid = data is not event.data
    said = _say_withheld(data, who) if unsaid else _say(event.type, data, who, shown)
    changes = tuple(_changes(said.before, said.patch)) if isinstance(said.patch, Mapping) else ()
    trace = data.get("trace")
    return Entry(
        seq=event.seq,
        type=event.type,
        sign=_sign(event.type, data),
        at=event.at,
        actor=known.actor,
        what=said.what,
        aside=said.aside,
        quote=said.quote,
        changes=changes[:MAX_CHANGES],
        more=max(len(changes) - MAX_CHANGES, 0),
        human_task_id=parse_id(str(data.get("human_task_id", ""))),
        run_id=_other_run(data),
        trace=trace if isinstance(trace, str) else "",
        data={key: value for key, value in data.items() if key != "trace"},
        withheld=known is not event,
    )


def _sign(kind: str, data: Mapping[str, Any]) -> str:
    if kind == "decision.recorded":
        return {"approve": "done", "reject": "failed", "request_changes": "again"}.get(
            str(data.get("decision")), "person"
        )
    return _SIGNS.get(kind, "person")


def _other_run(data: Mapping[str, Any]) -> UUID | None:
    parent = data.get("parent")
    named = parent.get("run_id") if isinstance(parent, Mapping) else data.get("compensation_run_id")
    return parse_id(str(named)) if named else None


def _say_withheld(data: Mapping[str, Any], who: str) -> _Said:
    return _Said(
        what=f"{who} decided {data.get('gate', 'a gate')}",
        aside="what was said is shown once the gate is decided, so that everybody judges for themselves",
    )


def _say(kind: str, data: Mapping[str, Any], who: str, shown: _Shown) -> _Said:
    group, _, verb = kind.partition(".")
    gate = str(data.get("gate", "a gate"))
    match group:
        case "run":
            return _say_run(verb, data, who)
        case "step":
            return _say_step(verb, data)
        case "gate":
            return _say_gate(verb, data, gate)
        case "decision":
            return _say_decision(data, who, gate, shown)
        case _:
            return _say_human_task(verb, data, who, gate)


def _say_run(verb: str, data: Mapping[str, Any], who: str) -> _Said:
    match verb:
        case "created":
            started = f"{who} started {data.get('workflow')}, version {data.get('version')}"
            if data.get("parent"):
                return _Said(what=f"Started at {data.get('entry')}, after a late review of another run")
            return _Said(what=started)
        case "completed":
            outcome = data.get("outcome")
            return _Said(what="The run completed", aside="" if outcome == "completed" else outcome_word(outcome))
        case "failed":
            where = f" at {data['step']}" if data.get("step") else ""
            return _Said(what=f"The run failed{where}", aside=_fault(data))
        case "canceled":
            by = "The run was canceled" if who == "signoff" else f"{who} canceled the run"
            return _Said(what=by, quote=str(data.get("reason") or ""))
        case "retried":
            return _Said(what=f"{who} let the run go on from {data.get('from_step')}")
        case _:
            return _Said(what=f"run {verb}")


def _say_step(verb: str, data: Mapping[str, Any]) -> _Said:
    step, attempt = data.get("step"), data.get("attempt") or 1
    match verb:
        case "completed":
            return _Said(what=f"{step} is done", aside=f"attempt {attempt}" if attempt > 1 else "")
        case "failed":
            return _Said(what=f"{step} failed", aside=_fault(data))
        case "retry_scheduled":
            wait = f"again in {format_duration(data['delay_ms'])}" if data.get("delay_ms") else "again at once"
            return _Said(what=f"{step} failed at attempt {attempt}, {wait}", aside=_fault(data))
        case _:
            return _Said(what=f"{step} {verb}")


def _say_gate(verb: str, data: Mapping[str, Any], gate: str) -> _Said:
    why = str(data.get("why") or "")
    match verb:
        case "opened":
            beside = ", beside the run" if data.get("mode") == "after" else ""
            return _Said(what=f"{gate} asks {_names(data.get('candidates'))}{beside}", aside=_alarmed(data, why))
        case "passed":
            return _Said(what=f"{gate} passed by policy", aside=why.removeprefix(_NO_REASON))
        case "revised":
            return _Said(what=f"{gate} shows revision {data.get('revision')}", aside=_alarmed(data, why))
        case "decided":
            return _Said(what=_concluded(data, gate), aside=_consequence(data))
        case "reminded":
            said = "is overdue; nobody has decided" if data.get("overdue") else "reminded those it asks"
            return _Said(what=f"{gate} {said}")
        case "escalated":
            moved = "was handed to" if data.get("action") == "reroute" else "asks as well"
            why = "it is over the limits of authority of those it asked" if data.get("reason") == "over_limit" else ""
            return _Said(what=f"{gate} {moved} {_names(data.get('to'))}", aside=_alarmed(data, why))
        case "timed_out":
            return _Said(what=f"{gate}: nobody decided in time", aside=f"what follows: {data.get('action')}")
        case _:
            return _Said(what=f"{gate} {verb}")


def _say_decision(data: Mapping[str, Any], who: str, gate: str, shown: _Shown) -> _Said:
    if data.get("withdraws"):
        return _Said(what=f"{who} took the decision on {gate} back")
    decision = str(data.get("decision"))
    words = [str(data["reason"]).replace("_", " ")] if data.get("reason") else []
    if data.get("on_behalf_of"):
        lent = data.get("delegation_id") is not None
        words.append(f"{'in the stead' if lent else 'on behalf'} of {data['on_behalf_of']}")
    if data.get("bulk_id"):
        words.append("in bulk")
    allowed = data.get("authority")
    if isinstance(allowed, Mapping):
        words.append(f"within {allowed.get('limit')}, the limit of {allowed.get('subject')}")
    lent_by = data.get("authority_lent")
    if isinstance(lent_by, Mapping):
        words.append(f"and within {lent_by.get('limit')}, that of {lent_by.get('of')}, who lent the right")
    if data.get("release_ms"):
        words.append(f"can be taken back for {format_duration(data['release_ms'])}")
    return _Said(
        what=f"{who} {_VERBS.get(decision, f'said {decision} at')} {gate}",
        aside=" · ".join(words),
        quote=str(data.get("note") or ""),
        before=shown.payload(data),
        patch=data.get("patch"),
    )


def _say_human_task(verb: str, data: Mapping[str, Any], who: str, gate: str) -> _Said:
    match verb:
        case "claimed":
            return _Said(what=f"{who} claimed {gate}")
        case "released":
            if data.get("lapsed"):
                return _Said(what=f"{gate} is free again", aside=f"the claim of {data.get('assignee')} has run out")
            return _Said(what=f"{who} released {gate}")
        case "assigned":
            return _Said(what=f"{who} assigned {gate} to {data.get('assignee')}")
        case "commented":
            return _Said(what=f"{who} commented on {gate}", quote=str(data.get("text") or ""))
        case _:
            return _Said(what=f"{gate}: {verb}")


def _concluded(data: Mapping[str, Any], gate: str) -> str:
    by = {"human": "", "policy": " by policy", "timeout": " because nobody answered"}.get(
        str(data.get("decided_by")), ""
    )
    return f"{gate} is decided: {outcome_word(data.get('outcome'))}{by}"


def _consequence(data: Mapping[str, Any]) -> str:
    words = [f"edited: {', '.join(map(str, data['edited']))}"] if data.get("edited") else []
    if data.get("compensation_run_id"):
        words.append(f"a run of its own starts at {data.get('compensation_entry')}")
    return " · ".join(words)


def _fault(data: Mapping[str, Any]) -> str:
    return f"{data.get('code')}: {data.get('message')}"


def _alarmed(data: Mapping[str, Any], why: str) -> str:
    found = [text for text in (why, str(data.get("error") or "")) if text]
    return " · ".join([*found, f"alarm: {data['alarm']}"] if data.get("alarm") else found)


def _names(candidates: Any) -> str:
    if not isinstance(candidates, Mapping):
        return "nobody"
    return ", ".join([*candidates.get("groups", ()), *candidates.get("users", ())]) or "nobody"


def _changes(before: Json, patch: Mapping[str, Json], path: str = "") -> Iterator[Change]:
    """The leaves that a JSON merge patch sets, with what was there."""
    for key, value in patch.items():
        at = f"{path}.{key}" if path else str(key)
        known = isinstance(before, Mapping)
        old = before.get(key) if known else None
        if isinstance(value, Mapping) and (not known or isinstance(old, Mapping)):
            yield from _changes(old, value, at)
            continue
        there = known and key in before
        if there and orjson.dumps(old) == orjson.dumps(value):
            continue
        was, now = brief(old), brief(value)
        if was == now:
            # "40" for 40 is a change; in quotes it shows.
            was, now = _quoted(old), _quoted(value)
        yield Change(field=at, before=was if there else None, after=None if value is None else now)


def brief(value: Json) -> str:
    """A value in a few words: texts as they are, all else as JSON, long ones cut."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def _quoted(value: Json) -> str:
    return brief(orjson.dumps(value).decode())
