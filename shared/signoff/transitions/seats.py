"""Whose voice a decision is: a person who is away and who stands in for them are not two of a quorum.

Who stands in is asked because somebody else was, and fills that person's seat. Were it a seat more, who is asked could
choose the second voice of a quorum by being away, and then add their own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from signoff.errors import Conflict
from signoff.identity import Principal
from signoff.model import HumanTask
from signoff.transitions.above import standing_in
from signoff.transitions.fold import Fold

Find = Callable[[Collection[str]], Iterable[Principal]]
"""The people of these names who are there, with their groups of now."""


def expect_own_seat(fold: Fold, task: HumanTask, *, by: Principal, acts_for: str | None, find: Find) -> None:
    """Return where this person has a seat that nobody has taken. Raises Conflict (code `already_voted`).

    `acts_for` is the name of the person by whose mandate they decide. Costs nothing where one voice is enough.
    """
    gate = fold.graph.gate(task.gate)
    said = task.current_decisions
    if not said or max(gate.approvals, gate.reject_after) < 2:
        return
    lent = standing_in(fold.history(), task.id)
    names = {by.name, *(each.actor.name for each in said)} & lent.keys()
    if not names:
        return
    asked = set(task.candidates.groups)
    in_groups = {person.name for person in find(names) if not asked.isdisjoint(person.groups)}
    seats = {name: of for name, of in lent.items() if name not in in_groups}
    voices = [_seats_of(each.actor.name, each.on_behalf_of if each.acts_for else None, seats) for each in said]
    if not _all_seated([*voices, _seats_of(by.name, acts_for, seats)]):
        raise Conflict(
            "you fill the seat of somebody who stands in for you, or whom you stand in for, and it is taken",
            code="already_voted",
            fix="another candidate has to decide now",
        )


def _seats_of(name: str, acts_for: str | None, lent: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The seats that a voice may fill: one of them is enough."""
    speaks_for = acts_for or name
    return lent.get(speaks_for, frozenset({speaks_for}))


def _all_seated(voices: Sequence[frozenset[str]]) -> bool:
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
