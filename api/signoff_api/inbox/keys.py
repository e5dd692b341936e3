"""The keyboard: which key does what, where. A key that would mean two things stops the app from starting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from signoff.errors import ConfigurationError

Scope: TypeAlias = Literal["everywhere", "inbox", "review"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key, or two pressed one after the other (`g i`), and the action of the page's script it calls."""

    keys: str
    action: str
    scope: Scope
    says: str


class Registry:
    """All keys. Raises ConfigurationError when two can be meant by the same press."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)
        for at, key in enumerate(self.keys):
            for other in self.keys[:at]:
                if self._collide(key, other):
                    raise ConfigurationError(
                        f"the key {key.keys!r} means {key.action!r} and {other.keys!r} means {other.action!r}"
                        f" in {key.scope}",
                        code="key_collision",
                        fix="give one of them another key",
                    )

    def of(self, scope: Scope) -> tuple[Key, ...]:
        """The keys of this scope alone."""
        return tuple(key for key in self.keys if key.scope == scope)

    @staticmethod
    def _collide(one: Key, other: Key) -> bool:
        if "everywhere" not in (one.scope, other.scope) and one.scope != other.scope:
            return False
        first, second = one.keys.split(), other.keys.split()
        shorter = min(len(first), len(second))
        # `g` alone would never let `g i` be typed.
        return first[:shorter] == second[:shorter]


REGISTRY = Registry(
    (
        Key(keys="g i", action="go-inbox", scope="everywhere", says="Go to the inbox"),
        Key(keys="g r", action="go-runs", scope="everywhere", says="Go to runs"),
        Key(keys="g a", action="go-audit", scope="everywhere", says="Go to the audit log"),
        Key(keys="g m", action="go-insights", scope="everywhere", says="Go to insights"),
        Key(keys="?", action="help", scope="everywhere", says="Show these keys"),
        Key(keys="j", action="next-row", scope="inbox", says="Next row"),
        Key(keys="k", action="previous-row", scope="inbox", says="Previous row"),
        Key(keys="Enter", action="open-row", scope="inbox", says="Open the row"),
        Key(keys="x", action="select-row", scope="inbox", says="Select the row"),
        Key(keys="/", action="search", scope="inbox", says="Search"),
        Key(keys=".", action="load-new", scope="inbox", says="Show what is new"),
        Key(keys="c", action="claim", scope="review", says="Claim, or release"),
        Key(keys="n", action="note", scope="review", says="Write a note"),
        Key(keys="e", action="edit", scope="review", says="Edit the first field"),
        Key(keys="a", action="arm-approve", scope="review", says="Arm: approve"),
        Key(keys="r", action="arm-reject", scope="review", says="Arm: reject"),
        Key(keys="q", action="arm-request_changes", scope="review", says="Arm: ask for changes"),
        Key(keys="Control+Enter", action="commit", scope="review", says="Confirm what is armed"),
        Key(keys="Escape", action="disarm", scope="review", says="Disarm"),
        Key(keys="[", action="previous-task", scope="review", says="Previous human task"),
        Key(keys="]", action="next-task", scope="review", says="Next human task"),
    )
)
