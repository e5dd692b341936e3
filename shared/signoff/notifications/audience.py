"""Whom an event concerns: who is asked is told, and so is who was asked once it is over, and who started the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from signoff.model import Candidates, EventType
from signoff.notifications.catalogue import ASKING

USER_PREFIX, GROUP_PREFIX = "user:", "group:"
_NAMES_PEOPLE = (
    EventType.GATE_OPENED,
    EventType.GATE_REVISED,
    EventType.GATE_ESCALATED,
    EventType.HUMAN_TASK_ASSIGNED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concerned:
    """A human task that an event is about: who may decide it now, and the events of its run that name it, in order."""

    candidates: Candidates
    assignee: str | None
    four_eyes: bool
    history: tuple[tuple[EventType, Mapping[str, Any]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Who is told. Where no channel of `people` is, `otherwise` are told instead.

    `requester` is the id of who started the run, where they are told; `barred` are ids that are not, whatever they are.
    """

    people: Candidates
    otherwise: Candidates | None = None
    requester: str | None = None
    barred: frozenset[str] = field(default_factory=frozenset)


def audience_of(
    kind: EventType, data: Mapping[str, Any], concerned: Iterable[Concerned], *, requester_id: str
) -> Audience:
    """Whom to tell of an event. `concerned` is the human task that it names; of a run that ends, all that it ended."""
    tasks = tuple(concerned)
    if kind not in ASKING:
        asked = Candidates()
        for task in tasks:
            asked = asked.with_(_ever_asked(task))
        return Audience(people=asked, requester=requester_id)
    (task,) = tasks
    # Who started the run may not decide it, so nobody asks them to. What is sent to their group, they may well read.
    barred = frozenset({requester_id}) if task.four_eyes else frozenset()
    people: Candidates
    otherwise: Candidates | None = None
    match kind:
        case EventType.GATE_ESCALATED:
            people, otherwise = Candidates.from_json(data["to"]), task.candidates
        case EventType.HUMAN_TASK_ASSIGNED:
            people = Candidates(users=(data["assignee"],))
        case EventType.GATE_REMINDED if task.assignee is not None:
            people, otherwise = Candidates(users=(task.assignee,)), task.candidates
        case _:
            people = _with_assignee(task)
    return Audience(people=people, otherwise=otherwise, barred=barred)


def _with_assignee(task: Concerned) -> Candidates:
    held = () if task.assignee is None else (task.assignee,)
    return task.candidates.with_(Candidates(users=held))


def _ever_asked(task: Concerned) -> Candidates:
    """Who may decide now, and everybody who could before it was given to others."""
    asked = _with_assignee(task)
    for kind, data in task.history:
        if kind not in _NAMES_PEOPLE:
            continue
        for name in ("candidates", "to"):
            if data.get(name) is not None:
                asked = asked.with_(Candidates.from_json(data[name]))
        if data.get("assignee") is not None:
            asked = asked.with_(Candidates(users=(data["assignee"],)))
    return asked
