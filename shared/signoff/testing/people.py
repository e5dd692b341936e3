"""Who acts in a test: principals by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from signoff.authority import ANY, GROUP, USER, Limit, check_limit, held_by, subjects_of
from signoff.identity import Principal
from signoff.ids import new_id
from signoff.model import SYSTEM, Candidates, HumanTask
from signoff.transitions.above import stood_for
from signoff.transitions.fold import Fold


class People:
    """The people of one test. `groups` has each one's groups by name; None puts everybody in every group asked for."""

    def __init__(
        self,
        groups: Mapping[str, Iterable[str]] | None,
        *,
        requester: str,
        limits: Mapping[str, str] | None = None,
        away: Mapping[str, str] | None = None,
    ) -> None:
        self.away = dict(away or {})
        self.limits = tuple(_limit(subject, text) for subject, text in (limits or {}).items())
        self._groups = None if groups is None else {name: _names(name, of) for name, of in groups.items()}
        self.requester = self.person(requester, Candidates())

    def person(self, name: str, asked: Candidates) -> Principal:
        """The person of this name, before a human task whose candidates are `asked`."""
        groups = frozenset(asked.groups) if self._groups is None else self._groups.get(name, frozenset())
        # The same name is the same person everywhere in the test: four eyes and quorums compare ids.
        return Principal(id=uuid5(NAMESPACE_URL, f"signoff:{name}"), name=name, kind="user", groups=groups)

    def held(self, person: Principal) -> tuple[Limit, ...]:
        """The limits of authority of this person."""
        return held_by(self.limits, person.name, person.groups)

    def lent(self, fold: Fold, task: HumanTask, person: Principal) -> dict[str, tuple[Limit, ...]] | None:
        """The limits of those in whose stead this person decides; None where it is in a right of their own."""
        names = stood_for(fold.history, task.id, task.candidates, person)
        return None if names is None else {name: self.held(self.person(name, Candidates())) for name in sorted(names)}

    def able(self, asked: Candidates, admitting: Sequence[Limit], *, barred: str | None, enough: int) -> bool:
        """Whether enough of those who are asked hold one of these limits; `barred` is the id of one left out.

        Where the test lists no people, every group has as many as it takes.
        """
        subjects = {limit.subject for limit in admitting}
        if self._groups is None:
            named = {f"{USER}{name}" for name in asked.users}
            return not subjects.isdisjoint({*named, *(f"{GROUP}{group}" for group in asked.groups)})
        found = [
            name
            for name, groups in self._groups.items()
            if asked.admit(name, groups) and not subjects.isdisjoint(subjects_of(name, groups))
        ]
        return sum(str(self.person(name, asked).id) != barred for name in found) >= enough

    def members(self, users: Iterable[str], groups: Iterable[str]) -> list[Principal]:
        """The people of these names and groups, by name. Without a list of people a group has nobody."""
        wanted = set(groups)
        found = set(users) | {name for name, of in (self._groups or {}).items() if not wanted.isdisjoint(of)}
        return [self.person(name, Candidates()) for name in sorted(found)]

    def known(self, name: str, asked: Candidates) -> Principal | None:
        """The person of this name; None when the test lists its people and this is none of them."""
        if self._groups is not None and name not in self._groups and name != self.requester.name:
            return None
        return self.person(name, asked)


def _limit(subject: str, text: str) -> Limit:
    if not subject.startswith((USER, GROUP)):
        raise ValueError(f"limits has {subject!r}; write user:NAME or group:NAME")
    check_limit(text, [None])
    return Limit(
        id=new_id(),
        subject=subject,
        workflow=ANY,
        gate=ANY,
        expression=text,
        set_by=SYSTEM.to_json(),
        set_at=datetime.fromtimestamp(0, UTC),
    )


def _names(person: str, groups: Iterable[str]) -> frozenset[str]:
    if isinstance(groups, str):
        raise TypeError(f"people[{person!r}] is a text; write a list of groups: [{groups!r}]")
    return frozenset(groups)
