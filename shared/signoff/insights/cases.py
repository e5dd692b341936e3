"""The decided cases of one gate: those that people or a timeout decided, and those that policy passed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from signoff.canonical import Json
from signoff.definition.json_types import parse_decimal
from signoff.definition.templates import is_missing, look_up
from signoff.model import APPROVED, REJECTED, DecidedBy


class Label(StrEnum):
    """What people made of one human task; anything but `as_shown` is an objection to passing it as it was."""

    AS_SHOWN = "as_shown"
    EDITED = "edited"
    SENT_BACK = "sent_back"
    REJECTED = "rejected"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One decision that stands. `edited` are the fields it changed, dotted; `reading_ms` is None by the API."""

    decision: str
    revision: int
    at: datetime
    reading_ms: int | None = None
    edited: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """One human task that is decided. `since` is when its clock started: at opening, or at its newest draft.

    `shown` has those fields of its payload that were asked for, None where one of them was too long to be read.
    """

    id: UUID
    run_id: UUID
    version: int
    revision: int
    outcome: str | None
    decided_by: str
    since: datetime
    due_at: datetime | None
    completed_at: datetime
    shown: dict[str, Json] | None
    said: tuple[Said, ...] = ()

    @property
    def by_people(self) -> bool:
        return self.decided_by == DecidedBy.HUMAN

    @property
    def label(self) -> Label | None:
        """What people made of it, those earlier drafts included that they sent back; None by a timeout."""
        if not self.by_people:
            return None
        if self.outcome == REJECTED:
            return Label.REJECTED
        if any(said.decision == "request_changes" for said in self.said):
            return Label.SENT_BACK
        if self.outcome != APPROVED:
            return Label.OTHER
        return Label.EDITED if any(said.edited for said in self.said) else Label.AS_SHOWN

    @property
    def deciding(self) -> Said | None:
        """The last word on the newest draft, which decided it; None by a timeout."""
        current = [said for said in self.said if said.revision == self.revision]
        return max(current, key=lambda said: said.at) if current and self.by_people else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """One run that policy passed. `values` are the names of the condition as the log keeps them, if asked for."""

    run_id: UUID
    version: int
    at: datetime
    values: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What the log says of a human task's opening: whether only the sample asked for it, and the values then."""

    sampled: bool
    values: Mapping[str, Json]


def number_at(shown: Json, path: tuple[str, ...]) -> float | None:
    """The finite number in a payload's field, a decimal in text included; None where there is none."""
    found = look_up(shown, path)
    if is_missing(found) or isinstance(found, bool):
        return None
    number = found if isinstance(found, int | float) else parse_decimal(found)
    if number is None:
        return None
    try:
        value = float(number)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def edited_fields(patch: Json, shown: Json, form: str | None) -> tuple[str, ...]:
    """The fields, dotted, in which `patch` differs from what was `shown`.

    `form` is the name under which the gate's own form is filled in: an answer there edits nothing.
    """
    if not isinstance(patch, dict):
        return ()
    edits = {key: value for key, value in patch.items() if key != form}
    return tuple(sorted(".".join(path) for path, value in _leaves(edits, ()) if _differs(shown, path, value)))


def _differs(shown: Json, path: tuple[str, ...], value: Json) -> bool:
    found = look_up(shown, path)
    # In a merge patch null takes a field away, and what is not there stays so.
    return not is_missing(found) if value is None else is_missing(found) or found != value


def _leaves(patch: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Json]]:
    for key, value in patch.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value
