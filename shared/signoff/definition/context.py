"""What a step may ask for besides its input: the run it is part of, and what a reviewer said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What a reviewer said when a `request_changes` or `reject` led to this step.

    `decision` is the option, `by` the reviewer's name, `gate` where, `revision` the revision it was said of.
    """

    note: str | None = None
    reason: str | None = None
    decision: str = ""
    by: str = ""
    gate: str = ""
    revision: int = 1

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Feedback:
        """The feedback that a run's log holds; keys of later releases are left out."""
        return cls(**{key: stored[key] for key in cls.__dataclass_fields__ if stored.get(key) is not None})

    def to_json(self) -> dict[str, Any]:
        """The feedback as a run's log holds it."""
        return {key: getattr(self, key) for key in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The run a step is part of, for its `run` parameter. `attempt` counts from 1, `logger` is bound to the run."""

    run_id: UUID
    workflow: str
    version: int
    attempt: int
    step: str
    labels: Mapping[str, str] = field(default_factory=dict)
    logger: Any = None
