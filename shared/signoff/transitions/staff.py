"""What a gate that opens has to know of people: who is there, who stands in, and how much each has to do.

Transitions read nothing. Whoever runs one hands it a `Staff` with the batch of events; what it answers is evaluated
before the event is written, and what came of it is stored in the event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """Who stands in for the person named `for_`, who is away. `delegation_ids` is the way there, a hop each.

    `asked` is whether they are named beside the person, and so decide in a right of their own too.
    """

    for_: str
    name: str
    principal_id: str
    delegation_ids: tuple[str, ...]
    asked: bool = False

    def to_json(self) -> dict[str, object]:
        found: dict[str, object] = {"for": self.for_, "name": self.name, "delegation_ids": list(self.delegation_ids)}
        return found | {"asked": True} if self.asked else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A person who is there, and how many open human tasks are assigned to them."""

    name: str
    principal_id: str
    assigned: int


class Staff(Protocol):
    """What is known of people at this moment."""

    def stand_ins(self, names: Iterable[str]) -> Mapping[str, StandIn]:
        """Who stands in for each of these people who is away; nobody for the others."""
        ...

    def members(self, users: Iterable[str], groups: Iterable[str]) -> Sequence[Member]:
        """The people of these names and groups who are there, by name."""
        ...


class Unknown:
    """Nothing is known of anybody: everybody is there, nobody has anything to do, and groups have no members."""

    def stand_ins(self, names: Iterable[str]) -> Mapping[str, StandIn]:  # noqa: ARG002  # the form is the protocol's
        return {}

    def members(self, users: Iterable[str], groups: Iterable[str]) -> Sequence[Member]:  # noqa: ARG002
        return [Member(name=name, principal_id="", assigned=0) for name in sorted(set(users))]


class StaffNotRead(Exception):
    """A batch that was begun without reading anybody has come to a gate that has to know."""


class NotRead:
    """Stands where nobody has been read, so that who needs them begins again with somebody who has."""

    def stand_ins(self, names: Iterable[str]) -> Mapping[str, StandIn]:  # noqa: ARG002
        raise StaffNotRead

    def members(self, users: Iterable[str], groups: Iterable[str]) -> Sequence[Member]:  # noqa: ARG002
        raise StaffNotRead
