"""Who is asking: principals, as authorization and the log see them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from signoff.model import Actor, PrincipalKind

ROLES = ("admin", "operator", "author", "requester", "reviewer", "auditor")
"""What a principal may be for; see `signoff.authorization` for what each may do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated actor with the groups and roles it has now. `name` is unique."""

    id: UUID
    name: str
    kind: PrincipalKind
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()

    @property
    def actor(self) -> Actor:
        """As the log names it."""
        return Actor(type=self.kind, id=str(self.id), name=self.name)
