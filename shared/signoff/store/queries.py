"""What every look-up shares: pages with their cursors, and statements that are compiled once.

A cursor holds the sort key of the last row that was given out, so that a page goes on behind that row
whatever was inserted meanwhile. It is bound to the filters and the order it was made for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from signoff.errors import FieldError, InvalidInput
from signoff.store.database import Cursor, Row

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_PAGE_BYTES = 4 * 1024 * 1024
"""A page ends early, with a cursor, when the values on it come to this many bytes."""
MAX_CURSOR = 512


class View(Protocol):
    """A row as it is shown."""

    def to_json(self) -> dict[str, Any]: ...


V = TypeVar("V", bound=View)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[V]):
    """Some rows of a list, and where to go on; `next_cursor` is None at the end."""

    items: tuple[V, ...]
    next_cursor: str | None

    def to_json(self) -> dict[str, Any]:
        return {"items": [item.to_json() for item in self.items], "next_cursor": self.next_cursor}


class Prepared:
    """A statement written with SQLAlchemy and compiled once, for a psycopg cursor.

    Building and compiling a statement costs more than running it; what is looked up at every request is worth
    this.
    """

    def __init__(self, statement: sa.Select[Any]) -> None:
        compiled = statement.compile(dialect=PGDialect_psycopg())  # type: ignore[no-untyped-call]
        self._sql = str(compiled)
        self._constants = dict(compiled.params)

    def run(self, cursor: Cursor, **parameters: Any) -> list[Row]:
        """The rows for these parameters."""
        return cursor.execute(self._sql, self._constants | parameters).fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class SortKey:
    """One column of a sort order. NULL comes last in either direction, and never in an order's last key."""

    column: sa.ColumnElement[Any]
    read: Callable[[Any], Any]
    descending: bool = False
    nullable: bool = False

    def order(self) -> sa.ColumnElement[Any]:
        return self.column.desc().nulls_last() if self.descending and self.nullable else self._plain()

    def _plain(self) -> sa.ColumnElement[Any]:
        return self.column.desc() if self.descending else self.column.asc()

    def behind(self, value: Any) -> sa.ColumnElement[bool]:
        """What sorts after `value`."""
        if value is None:
            return sa.false()
        further = self.column < value if self.descending else self.column > value
        return sa.or_(further, self.column.is_(None)) if self.nullable else further

    def same(self, value: Any) -> sa.ColumnElement[bool]:
        return self.column.is_(None) if value is None else self.column == value


def behind(order: Sequence[SortKey], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """What sorts after the row with these values."""
    alternatives = [
        sa.and_(
            *(key.same(value) for key, value in zip(order[:at], values, strict=False)),
            order[at].behind(values[at]),
        )
        for at in range(len(order))
    ]
    return sa.or_(*alternatives)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The rows of one page out of a table: which, in what order, how many."""

    table: sa.Table
    order: Sequence[SortKey]
    where: Sequence[sa.ColumnElement[bool]]
    limit: int
    size: sa.ColumnElement[int] | None = None

    def statement(self, columns: Sequence[sa.ColumnElement[Any]], source: sa.FromClause) -> sa.Select[Any]:
        """`columns` of `source` (which has the table) for the page and one row more.

        After them come the sort key, and how many rows there would be without the bound on bytes.
        """
        keys = [key.column.label(f"k{at}") for at, key in enumerate(self.order)]
        size = self.size if self.size is not None else sa.literal(0)
        chosen = (
            sa.select(self.table.c.id, size.label("size"), *keys)
            .where(*self.where)
            .order_by(*(key.order() for key in self.order))
            .limit(self.limit + 1)
            .cte("chosen")
        )
        place = [
            SortKey(column=chosen.c[f"k{at}"], read=key.read, descending=key.descending, nullable=key.nullable)
            for at, key in enumerate(self.order)
        ]
        ordering = [key.order() for key in place]
        total = sa.func.sum(chosen.c.size).over(order_by=ordering, rows=(None, 0))
        found = sa.func.count().over()
        counted = sa.select(chosen, (total - chosen.c.size).label("before"), found.label("found")).cte("counted")
        ordering = [
            SortKey(column=counted.c[f"k{at}"], read=key.read, descending=key.descending, nullable=key.nullable).order()
            for at, key in enumerate(self.order)
        ]
        return (
            sa.select(*columns, *(counted.c[f"k{at}"] for at in range(len(keys))), counted.c.found)
            .select_from(source.join(counted, counted.c.id == self.table.c.id))
            .where(counted.c.before < MAX_PAGE_BYTES)
            .order_by(*ordering)
        )


def cut(rows: Sequence[Sequence[Any]], limit: int, keys: int) -> tuple[list[Sequence[Any]], list[Any] | None]:
    """The rows of the page without their last columns, and the sort key to go on behind; None at the end."""
    if not rows:
        return [], None
    more = rows[0][-1] > min(len(rows), limit)
    shown = [row[: -1 - keys] for row in rows[:limit]]
    return shown, list(rows[min(len(rows), limit) - 1][-1 - keys : -1]) if more else None


def check_limit(limit: int) -> int:
    """`limit`, when it is between 1 and MAX_LIMIT. Raises InvalidInput."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput(
            errors=[FieldError(path="?limit", message=f"{limit} is out of range", fix=f"1 to {MAX_LIMIT}")]
        )
    return limit


def encode_cursor(query: Mapping[str, Any], key: Sequence[Any] | None) -> str | None:
    """The cursor that goes on behind the row with this sort key in the list that `query` describes."""
    if key is None:
        return None
    return base64.urlsafe_b64encode(orjson.dumps([_fingerprint(query), *key])).rstrip(b"=").decode()


def decode_cursor(cursor: str, query: Mapping[str, Any], order: Sequence[SortKey]) -> list[Any]:
    """The sort key in a cursor. Raises InvalidInput when it is none, or one of another list."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        fingerprint, *key = orjson.loads(raw) if len(cursor) <= MAX_CURSOR else [None]
        found = [
            None if value is None and part.nullable else part.read(value)
            for part, value in zip(order, key, strict=True)
        ]
    except (
        binascii.Error,
        orjson.JSONDecodeError,
        ValueError,
        TypeError,
        OverflowError,
        AttributeError,
    ) as error:
        raise _bad_cursor("it is not one that this list gave out") from error
    if fingerprint != _fingerprint(query):
        raise _bad_cursor("it belongs to a list with other filters or another order")
    return found


def read_uuid(value: Any) -> UUID:
    return UUID(value)


def read_time(value: Any) -> datetime:
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError("no time zone")
    return found.astimezone(UTC)


def read_int(value: Any) -> int:
    if type(value) is not int or not -(2**31) <= value < 2**31:
        raise ValueError("not a 32-bit integer")
    return value


def read_text(value: Any) -> str:
    if type(value) is not str or "\x00" in value:
        raise ValueError("not text")
    return value


def _fingerprint(query: Mapping[str, Any]) -> str:
    named = orjson.dumps({key: str(value) for key, value in query.items()}, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(named).hexdigest()[:16]


def _bad_cursor(why: str) -> InvalidInput:
    return InvalidInput(
        errors=[FieldError(path="?cursor", message=why, fix="start without a cursor, and change no filter on the way")]
    )
