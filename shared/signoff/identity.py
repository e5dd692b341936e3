"""Who is asking and how they were recognised, as authorization and the log see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from uuid import UUID

from signoff.model import Actor, PrincipalKind

ROLES = ("admin", "operator", "author", "requester", "reviewer", "auditor")
"""What a principal may be for; see `signoff.authorization` for what each may do."""

Method: TypeAlias = Literal["api_key", "session", "link", "callback", "cli"]
"""What a request was authenticated by: `link` is one that decides by itself, and starts no session."""

StartedWith: TypeAlias = Literal["api_key", "link", "provider", "password"]
"""What a session was begun with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """How a principal was recognised in this request, for the log to keep. It says who vouches and opens nothing.

    `id` names what was shown and is never the secret itself: a key's prefix, the id of a session, link or callback.
    `started_with` is for sessions; None where it is not known. `standing` is all that a key let its principal do, in
    the database's words: while the database still says the same, nothing of it has changed. None for whatever else.
    """

    method: Method
    id: str | None = None
    started_with: StartedWith | None = None
    standing: str | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, str | None]:
        """As the log keeps it, with every decision."""
        return {"method": self.method, "id": self.id, "started_with": self.started_with}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role that holds for one workflow alone, whether or not there is one of this name yet."""

    role: str
    workflow: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """By which delegation a person may decide for another: for whom, who they are now, and in which workflow alone."""

    delegation_id: UUID
    principal_id: UUID
    name: str
    groups: frozenset[str] = frozenset()
    workflow: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An actor with the groups and roles it has now. `name` is unique.

    `authentication` is how this request knows it; None where nobody asks over a wire. It is no part of who it is.
    `roles` hold everywhere, `grants` for one workflow each. `scopes` and `workflows` are what the API key that was
    shown, or that its session was begun with, is narrowed to: see `signoff.authorization.SCOPES`; None is not at all.
    `mandates` are the people for whom it may decide now.
    """

    id: UUID
    name: str
    kind: PrincipalKind
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    grants: frozenset[Grant] = frozenset()
    scopes: frozenset[str] | None = None
    workflows: frozenset[str] | None = None
    authentication: Authentication | None = field(default=None, compare=False)
    mandates: tuple[Mandate, ...] = field(default=(), compare=False)

    @property
    def actor(self) -> Actor:
        """As the log names it."""
        return Actor(type=self.kind, id=str(self.id), name=self.name)
