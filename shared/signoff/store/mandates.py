"""Mandates: for whom a person may decide now. Read with the principal, and again in the transaction that decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from signoff.identity import Mandate, Principal
from signoff.store.database import Cursor
from signoff.store.staff import ACTIVE

MAX_MANDATES = 100
"""People for whom one person may decide at a time; more are not read."""

_GIVEN = "json_build_array(d.id, f.id, f.name, f.groups, d.workflow)"

MANDATED = f"""(SELECT json_agg(m.given) FROM (
    SELECT {_GIVEN} AS given FROM delegations d JOIN principals f ON f.id = d.delegator_id
    WHERE d.delegate_id = p.id AND p.kind = 'user' AND {ACTIVE.format(now="now()")}
        AND f.disabled_at IS NULL AND f.kind = 'user'
    ORDER BY d.id LIMIT {MAX_MANDATES}
) AS m)"""  # noqa: S608
"""The mandates of the principal `p`, as `mandates_from_row` reads them."""

_HELD = f"""
SELECT {_GIVEN} FROM delegations d JOIN principals f ON f.id = d.delegator_id
WHERE d.delegate_id = %(delegate)s AND f.name = %(delegator)s AND (d.workflow IS NULL OR d.workflow = %(workflow)s)
    AND {ACTIVE.format(now="clock_timestamp()")} AND f.disabled_at IS NULL AND f.kind = 'user'
ORDER BY d.id LIMIT 1 FOR SHARE OF d
"""  # noqa: S608
_BY_ID = f"SELECT {_GIVEN} FROM delegations d JOIN principals f ON f.id = d.delegator_id WHERE d.id = %s"  # noqa: S608
_OF = f"SELECT {MANDATED} FROM principals p WHERE p.name = %s AND p.disabled_at IS NULL"  # noqa: S608


def mandates_from_row(given: Iterable[Sequence[Any]] | None) -> tuple[Mandate, ...]:
    """What `MANDATED` answered."""
    return tuple(_mandate(each) for each in given or ())


def mandates_of(cursor: Cursor, name: str) -> tuple[Mandate, ...]:
    """The mandates of the person of this name, as they are now."""
    row = cursor.execute(_OF, (name,)).fetchone()
    return mandates_from_row(None if row is None else row[0])


def held_mandate(cursor: Cursor, delegate: Principal, delegator: str, workflow: str) -> Mandate | None:
    """The mandate by which `delegate` may decide for the person named `delegator` at this moment, if there is one.

    It can't be ended by another until the caller's transaction has: who ends it waits, and what is decided was allowed.
    """
    if delegate.kind != "user":
        return None
    asked = {"delegate": delegate.id, "delegator": delegator, "workflow": workflow}
    row = cursor.execute(_HELD, asked).fetchone()
    return None if row is None else _mandate(row[0])


def used_mandate(cursor: Cursor, delegation_id: str) -> Mandate | None:
    """The mandate that was used once, whether or not it still holds."""
    row = cursor.execute(_BY_ID, (delegation_id,)).fetchone()
    return None if row is None else _mandate(row[0])


def _mandate(given: Sequence[Any]) -> Mandate:
    delegation_id, principal_id, name, groups, workflow = given
    return Mandate(
        delegation_id=UUID(delegation_id),
        principal_id=UUID(principal_id),
        name=name,
        groups=frozenset(groups),
        workflow=workflow,
    )
