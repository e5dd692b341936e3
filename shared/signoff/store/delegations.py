"""Delegations and absences: who may decide for whom, from when until when. Rows stay when they have ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

from signoff.errors import Conflict, FieldError, InvalidInput, NotFound
from signoff.identity import Principal
from signoff.ids import new_id
from signoff.model import format_time
from signoff.store.database import Cursor
from signoff.store.identity import find_principal
from signoff.store.mandates import MAX_MANDATES
from signoff.store.rows import dump

Kind: TypeAlias = Literal["delegation", "absence"]
KINDS: tuple[Kind, ...] = ("delegation", "absence")

MAX_OPEN = 50
"""Delegations of one person that have not ended."""

MAX_NOTE = 500
MAX_SHOWN = 500

_COLUMNS = (
    "d.id, d.kind, f.id, f.name, t.id, t.name, d.workflow, d.note, d.from_at, d.until_at, d.created_by, d.created_at,"
    " d.ended_by, d.ended_at, d.ended_at IS NULL AND d.from_at <= clock_timestamp()"
    " AND (d.until_at IS NULL OR d.until_at > clock_timestamp())"
)
_FROM = "delegations d JOIN principals f ON f.id = d.delegator_id LEFT JOIN principals t ON t.id = d.delegate_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """One row: `delegator` lets `delegate` decide in their stead. `active` is whether it holds at this moment.

    An absence says besides that the delegator is away; it may name nobody.
    """

    id: UUID
    kind: Kind
    delegator_id: UUID
    delegator: str
    delegate_id: UUID | None
    delegate: str | None
    workflow: str | None
    note: str | None
    from_at: datetime
    until_at: datetime | None
    created_by: dict[str, str]
    created_at: datetime
    ended_by: dict[str, str] | None
    ended_at: datetime | None
    active: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "kind": self.kind,
            "delegator": self.delegator,
            "delegate": self.delegate,
            "workflow": self.workflow,
            "note": self.note,
            "from_at": format_time(self.from_at),
            "until_at": None if self.until_at is None else format_time(self.until_at),
            "created_by": self.created_by,
            "created_at": format_time(self.created_at),
            "ended_by": self.ended_by,
            "ended_at": None if self.ended_at is None else format_time(self.ended_at),
            "active": self.active,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelegation:
    """What somebody asks for; without `from_at` it holds at once."""

    kind: Kind
    delegate: str | None
    workflow: str | None = None
    note: str | None = None
    from_at: datetime | None = None
    until_at: datetime | None = None


def add_delegation(cursor: Cursor, delegator: Principal, asked: NewDelegation, *, by: Principal) -> Delegation:
    """A new delegation of this person's. Raises InvalidInput naming each bad field, and Conflict for too many."""
    # One at a time, so that the limit holds.
    cursor.execute("SELECT id FROM principals WHERE id = %s FOR NO KEY UPDATE", (delegator.id,))
    delegate = None if asked.delegate is None else find_principal(cursor, asked.delegate)
    row = cursor.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    _check(asked, delegator, delegate, row[0])
    _expect_room(cursor, delegator, delegate)
    made = new_id()
    cursor.execute(
        "INSERT INTO delegations (id, kind, delegator_id, delegate_id, workflow, note, from_at, until_at, created_by,"
        " created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s::json, clock_timestamp())",
        (
            made,
            asked.kind,
            delegator.id,
            None if delegate is None else delegate.id,
            asked.workflow,
            asked.note,
            asked.from_at or row[0],
            asked.until_at,
            dump(by.actor.to_json()),
        ),
    )
    return get_delegation(cursor, made)


def end_delegation(cursor: Cursor, delegation_id: UUID, *, by: Principal) -> Delegation:
    """End it now; once more is no error. A decision that is being made by it comes first, or finds it ended."""
    cursor.execute(
        "UPDATE delegations SET ended_at = clock_timestamp(), ended_by = %s::json WHERE id = %s AND ended_at IS NULL",
        (dump(by.actor.to_json()), delegation_id),
    )
    return get_delegation(cursor, delegation_id)


def get_delegation(cursor: Cursor, delegation_id: UUID) -> Delegation:
    """One of them. Raises NotFound."""
    row = cursor.execute(f"SELECT {_COLUMNS} FROM {_FROM} WHERE d.id = %s", (delegation_id,)).fetchone()  # noqa: S608
    if row is None:
        raise NotFound("there is no such delegation, or none that you may see")
    return _view(row)


def list_delegations(
    cursor: Cursor, *, of: UUID | None, ended: bool = False, limit: int = MAX_SHOWN
) -> list[Delegation]:
    """Those that `of` has given or been given, or all; the newest first. With `ended` those that are over too."""
    rows = cursor.execute(
        f"SELECT {_COLUMNS} FROM {_FROM}"  # noqa: S608
        " WHERE (%(of)s::uuid IS NULL OR d.delegator_id = %(of)s OR d.delegate_id = %(of)s)"
        " AND (%(ended)s OR (d.ended_at IS NULL AND (d.until_at IS NULL OR d.until_at > clock_timestamp())))"
        " ORDER BY d.id DESC LIMIT %(limit)s",
        {"of": of, "ended": ended, "limit": limit},
    ).fetchall()
    return [_view(row) for row in rows]


def _check(asked: NewDelegation, delegator: Principal, delegate: Principal | None, now: datetime) -> None:
    faults = []
    if delegator.kind != "user":
        faults.append(FieldError(path="/delegator", message="only a person has a right to give on"))
    if asked.delegate is None and asked.kind == "delegation":
        faults.append(FieldError(path="/delegate", message="say to whom"))
    elif asked.delegate is not None and (delegate is None or delegate.kind != "user"):
        faults.append(FieldError(path="/delegate", message=f"{asked.delegate}: there is no such person"))
    elif delegate is not None and delegate.id == delegator.id:
        faults.append(FieldError(path="/delegate", message="nobody stands in for themselves"))
    if asked.kind == "absence" and asked.until_at is None:
        faults.append(FieldError(path="/until", message="say when the absence ends", fix="give until"))
    if asked.kind == "absence" and asked.workflow is not None:
        faults.append(FieldError(path="/workflow", message="who is away is away everywhere", fix="leave it out"))
    if asked.until_at is not None and asked.until_at <= max(asked.from_at or now, now):
        faults.append(FieldError(path="/until", message="it would be over before it begins"))
    if asked.note is not None and len(asked.note) > MAX_NOTE:
        faults.append(FieldError(path="/note", message=f"at most {MAX_NOTE} characters"))
    if faults:
        raise InvalidInput(errors=faults)


def _expect_room(cursor: Cursor, delegator: Principal, delegate: Principal | None) -> None:
    open_ones = (
        "SELECT count(*) FROM delegations WHERE {} = %s AND ended_at IS NULL AND (until_at IS NULL OR until_at > now())"
    )
    for column, person, most in (
        ("delegator_id", delegator, MAX_OPEN),
        ("delegate_id", delegate, MAX_MANDATES),
    ):
        if person is None:
            continue
        row = cursor.execute(open_ones.format(column), (person.id,)).fetchone()
        if row is not None and row[0] >= most:
            raise Conflict(f"{person.name} has {most} of them that have not ended, and that is the most")


def _view(row: Sequence[Any]) -> Delegation:
    names = Delegation.__dataclass_fields__
    return Delegation(**dict(zip(names, row, strict=True)))
