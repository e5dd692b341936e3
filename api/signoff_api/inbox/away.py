"""Being away, as the account page has it: until when, and who decides meanwhile. Days are whole ones, in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from signoff.authorization import Action, DelegationFacts, is_allowed
from signoff.errors import FieldError, InvalidInput, SignoffError
from signoff.store.delegations import Delegation, NewDelegation
from signoff_api.inbox.pages import Visit

FIELDS = {"/from": "from", "/until": "until", "/delegate": "substitute", "/note": "note"}
"""The fields of the form, by the paths of what the engine finds wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What was typed into the form, and what is wrong with it by field; what belongs to none is under ``."""

    values: Mapping[str, str] = field(default_factory=dict)
    wrong: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """What the page shows: what is given on, for whom this person stands, and the form."""

    given: tuple[Delegation, ...]
    received: tuple[Delegation, ...]
    may_change: bool
    today: str
    typed: Typed


def shown(visit: Visit, typed: Typed | None = None) -> Away | None:
    """What is shown to this person; None to a program, and to a key that is for less."""
    own = DelegationFacts(delegator_id=str(visit.principal.id), delegate_id=None)
    if visit.principal.kind != "user" or not is_allowed(visit.principal, Action.READ_DELEGATIONS, own):
        return None
    found = visit.engine.list_delegations(by=visit.principal)
    return Away(
        given=tuple(each for each in found if each.delegator_id == visit.principal.id),
        received=tuple(each for each in found if each.delegate_id == visit.principal.id and each.active),
        may_change=is_allowed(visit.principal, Action.DELEGATE, own),
        today=datetime.now(UTC).date().isoformat(),
        typed=typed or Typed(),
    )


def asked(form: Mapping[str, str]) -> NewDelegation:
    """The absence that the form asks for. Raises InvalidInput naming each field that can't be read."""
    faults: list[FieldError] = []
    first, last = _day(form, "from", faults), _day(form, "until", faults)
    if last is None and not faults:
        faults.append(FieldError(path="/until", message="say which day is the last one"))
    if faults:
        raise InvalidInput(errors=faults)
    assert last is not None
    return NewDelegation(
        kind="absence",
        delegate=form.get("substitute", "").strip() or None,
        note=form.get("note", "").strip() or None,
        # A day that has begun has no moment left at which it could begin.
        from_at=first if first is not None and first > datetime.now(UTC) else None,
        until_at=last + timedelta(days=1),
    )


def refused(form: Mapping[str, str], error: SignoffError) -> Typed:
    """What was typed, with what is wrong."""
    wrong: dict[str, str] = {}
    for each in error.errors if isinstance(error, InvalidInput) else ():
        wrong.setdefault(FIELDS.get(each.path, ""), each.message)
    values = {name: form.get(name, "")[:500] for name in FIELDS.values()}
    return Typed(values=values, wrong=wrong or {"": error.detail})


def _day(form: Mapping[str, str], name: str, faults: list[FieldError]) -> datetime | None:
    text = form.get(name, "").strip()
    if not text:
        return None
    try:
        # The last day there is has no day after it.
        found = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        found + timedelta(days=1)
    except (ValueError, OverflowError):
        faults.append(FieldError(path=f"/{name}", message="write a day as 2026-12-24"))
        return None
    return found
