"""Whose voice a decision is: a person who is away and who stands in for them are not two of a quorum.

Who stands in is asked because somebody else was, and fills that person's seat. Were it a seat more, who is asked could
choose the second voice of a quorum by being away, and then add their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from signoff.definition.policy import rules_for
from signoff.errors import Conflict
from signoff.identity import Principal
from signoff.model import Candidates, Decision, EventType, HumanTask
from signoff.store.database import Cursor
from signoff.store.identity import people_among
from signoff.transitions.above import above_of
from signoff.transitions.fold import Fold

_NAMES_STAND_INS = (EventType.GATE_OPENED, EventType.GATE_REVISED, EventType.GATE_ESCALATED)


def expect_own_seat(cursor: Cursor, fold: Fold, task: HumanTask, *, by: Principal, acts_for: str | None) -> None:
    """Return where this person has a seat that nobody has taken. Raises Conflict (code `already_voted`).

    `acts_for` is the name of the person by whose mandate they decide. Costs nothing where one voice is enough.
    """
    gate = fold.graph.gate(task.gate)
    said = task.current_decisions
    if not said or max(gate.approvals, gate.reject_after) < 2:
        return
    standing_in = _standing_in(fold, task)
    if not standing_in:
        return
    asked = _asked(fold, task)
    names = {by.name, *(each.actor.name for each in said)} & standing_in.keys()
    own = {person.name for person in people_among(cursor, names, (), limit=len(names)) if _is_asked(asked, person)}
    seats = {name: others for name, others in standing_in.items() if name not in own}
    voices = [_seats_of(each.actor.name, _mandator(each), seats) for each in said]
    if not _all_seated([*voices, _seats_of(by.name, acts_for, seats)]):
        raise Conflict(
            "you fill the seat of somebody who stands in for you, or whom you stand in for, and it is taken",
            code="already_voted",
            fix="another candidate has to decide now",
        )


def _standing_in(fold: Fold, task: HumanTask) -> dict[str, set[str]]:
    """For whom each of those stands in who were added for somebody, by the events that said so."""
    found: dict[str, set[str]] = {}
    for event in fold.history():
        if event.type in _NAMES_STAND_INS and event.data.get("human_task_id") == str(task.id):
            for each in event.data.get("stand_ins") or ():
                found.setdefault(each["name"], set()).add(each["for"])
    return found


def _asked(fold: Fold, task: HumanTask) -> Candidates:
    """Whom the gate itself asks by now: by its reviewers, by the rungs that were taken, and above."""
    gate, rules = fold.graph.gate(task.gate), rules_for(fold.graph, task.gate)
    users, groups = rules.reviewers(task.payload)
    asked = Candidates(users=users, groups=groups).with_(above_of(fold.graph, gate, task.payload))
    for rung in gate.ladder[: task.rung]:
        users, groups = rules.rung_reviewers(rung, task.payload)
        asked = asked.with_(Candidates(users=users, groups=groups))
    return asked


def _is_asked(asked: Candidates, person: Principal) -> bool:
    return asked.admit(person.name, person.groups)


def _mandator(decision: Decision) -> str | None:
    return None if decision.acts_for is None else decision.on_behalf_of


def _seats_of(name: str, acts_for: str | None, standing_in: Mapping[str, set[str]]) -> set[str]:
    """The seats that a voice may fill: one of them is enough."""
    return standing_in.get(acts_for or name, {acts_for or name})


def _all_seated(voices: Sequence[set[str]]) -> bool:
    """Whether every voice finds a seat of its own."""
    taken: dict[str, int] = {}

    def seat(voice: int, tried: set[str]) -> bool:
        for each in sorted(voices[voice] - tried):
            tried.add(each)
            if each not in taken or seat(taken[each], tried):
                taken[each] = voice
                return True
        return False

    return all(seat(voice, set()) for voice in range(len(voices)))
