"""Who is away, who stands in, and how much each has to do: read while a gate opens, by the database's clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from signoff.store.database import Cursor
from signoff.transitions.staff import Member, StandIn

MAX_HOPS = 3
"""How far it is followed when who stands in is away as well."""

MAX_MEMBERS = 500
"""People among whom turns are taken."""

ACTIVE = "d.ended_at IS NULL AND d.from_at <= {now} AND (d.until_at IS NULL OR d.until_at > {now})"
"""Whether the delegation `d` holds at `{now}`."""

_AWAY = f"""
SELECT DISTINCT ON (p.name) p.name, d.id, q.name, q.id
FROM delegations d JOIN principals p ON p.id = d.delegator_id
    LEFT JOIN principals q ON q.id = d.delegate_id AND q.disabled_at IS NULL AND q.kind = 'user'
WHERE d.kind = 'absence' AND {ACTIVE.format(now="coalesce(%(now)s, clock_timestamp())")} AND p.name = ANY(%(names)s)
ORDER BY p.name, d.created_at DESC, d.id DESC
"""  # noqa: S608
_MEMBERS = f"""
SELECT p.name, p.id::text,
    (SELECT count(*) FROM human_tasks t WHERE t.assignee = p.name AND t.state = 'open')
FROM principals p
WHERE p.kind = 'user' AND p.disabled_at IS NULL AND (p.name = ANY(%(users)s) OR p.groups && %(groups)s)
    AND NOT EXISTS (
        SELECT 1 FROM delegations d
        WHERE d.delegator_id = p.id AND d.kind = 'absence' AND {ACTIVE.format(now="clock_timestamp()")}
    )
ORDER BY p.name LIMIT %(limit)s
"""  # noqa: S608


class StoredStaff:
    """People as the database knows them now."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def stand_ins(self, names: Iterable[str]) -> Mapping[str, StandIn]:
        return stand_ins(self._cursor, names)

    def members(self, users: Iterable[str], groups: Iterable[str]) -> Sequence[Member]:
        found = {"users": list(users), "groups": list(groups), "limit": MAX_MEMBERS}
        rows = self._cursor.execute(_MEMBERS, found).fetchall()
        return [Member(name=name, principal_id=key, assigned=count) for name, key, count in rows]


def stand_ins(cursor: Cursor, names: Iterable[str], now: datetime | None = None) -> dict[str, StandIn]:
    """Who stands in for each of these people who is away, at most three hops on; `now` is the database's clock.

    Nobody, where the way leads back, too far, or to somebody who is away and has named nobody: then it stays with who
    was named.
    """
    wanted = list(dict.fromkeys(names))
    away: dict[str, tuple[str, str | None, str]] = {}
    asked: set[str] = set()
    frontier = wanted
    for _ in range(MAX_HOPS + 1):
        frontier = [name for name in frontier if name not in asked]
        if not frontier:
            break
        asked.update(frontier)
        rows = cursor.execute(_AWAY, {"names": frontier, "now": now}).fetchall()
        away |= {name: (str(delegation_id), to, str(to_id)) for name, delegation_id, to, to_id in rows}
        frontier = [to for _, _, to, _ in rows if to is not None]
    found = (_followed(name, away) for name in wanted)
    return {each.for_: each for each in found if each is not None}


def _followed(name: str, away: Mapping[str, tuple[str, str | None, str]]) -> StandIn | None:
    way: list[str] = []
    at, key, seen = name, "", {name}
    while at in away:
        delegation_id, to, to_id = away[at]
        if to is None or to in seen or len(way) == MAX_HOPS:
            return None
        way.append(delegation_id)
        at, key = to, to_id
        seen.add(to)
    return StandIn(for_=name, name=at, principal_id=key, delegation_ids=tuple(way)) if way else None
