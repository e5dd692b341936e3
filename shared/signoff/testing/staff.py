"""The people of a test as gates see them: who is away, and how many open human tasks each of them holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from signoff.model import Candidates, HumanTask, TaskState
from signoff.testing.people import People
from signoff.transitions.staff import Member, StandIn


class KnownStaff:
    """What `signoff.store.staff` answers in production, from a test's lists."""

    def __init__(self, people: People, human_tasks: Callable[[], Iterable[HumanTask]]) -> None:
        self._people = people
        self._human_tasks = human_tasks

    def stand_ins(self, names: Iterable[str]) -> Mapping[str, StandIn]:
        away, found = self._people.away, {}
        for name in names:
            to, seen = away.get(name), {name}
            while to in away and to not in seen:
                seen.add(to)
                to = away[to]
            if to is not None and to not in seen:
                key = str(self._people.person(to, Candidates()).id)
                found[name] = StandIn(for_=name, name=to, principal_id=key, delegation_ids=())
        return found

    def members(self, users: Iterable[str], groups: Iterable[str]) -> Sequence[Member]:
        held = Counter(task.assignee for task in self._human_tasks() if task.state is TaskState.OPEN)
        there = [each for each in self._people.members(users, groups) if each.name not in self._people.away]
        return [Member(name=each.name, principal_id=str(each.id), assigned=held[each.name]) for each in there]
