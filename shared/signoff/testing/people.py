"""Who acts in a test: principals by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import NAMESPACE_URL, uuid5

from signoff.identity import Principal
from signoff.model import Candidates


class People:
    """The people of one test. `groups` has each one's groups by name; None puts everybody in every group asked for."""

    def __init__(self, groups: Mapping[str, Iterable[str]] | None, *, requester: str) -> None:
        self._groups = None if groups is None else {name: _names(name, of) for name, of in groups.items()}
        self.requester = self.person(requester, Candidates())

    def person(self, name: str, asked: Candidates) -> Principal:
        """The person of this name, before a human task whose candidates are `asked`."""
        groups = frozenset(asked.groups) if self._groups is None else self._groups.get(name, frozenset())
        # The same name is the same person everywhere in the test: four eyes and quorums compare ids.
        return Principal(id=uuid5(NAMESPACE_URL, f"signoff:{name}"), name=name, kind="user", groups=groups)

    def known(self, name: str, asked: Candidates) -> Principal | None:
        """The person of this name; None when the test lists its people and this is none of them."""
        if self._groups is not None and name not in self._groups and name != self.requester.name:
            return None
        return self.person(name, asked)


def _names(person: str, groups: Iterable[str]) -> frozenset[str]:
    if isinstance(groups, str):
        raise TypeError(f"people[{person!r}] is a text; write a list of groups: [{groups!r}]")
    return frozenset(groups)
