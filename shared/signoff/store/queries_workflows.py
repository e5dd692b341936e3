"""Looking up workflows and their versions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from signoff.authorization import Reach
from signoff.canonical import Json
from signoff.errors import NotFound
from signoff.model import format_time
from signoff.store.database import Database
from signoff.store.queries import Page, SortKey, check_limit, decode_cursor, encode_cursor, read_text
from signoff.store.queries_visibility import within
from signoff.store.schema import workflow_versions as versions


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView:
    """One version of a workflow; `graph` only where one is asked for."""

    name: str
    version: int
    sha256: str
    description: str
    created_by: dict[str, str]
    created_at: datetime
    graph: Json = None

    def to_json(self) -> dict[str, Any]:
        found = {
            "name": self.name,
            "version": self.version,
            "sha256": self.sha256,
            "description": self.description,
            "created_by": self.created_by,
            "created_at": format_time(self.created_at),
        }
        return found if self.graph is None else found | {"graph": self.graph}


_COLUMNS = (
    versions.c.workflow,
    versions.c.number,
    versions.c.sha256,
    versions.c.graph["description"].as_string(),
    versions.c.created_by,
    versions.c.created_at,
)


def list_workflows(database: Database, shown: Reach, *, limit: int, cursor: str | None = None) -> Page[VersionView]:
    """The newest version of each workflow that is shown, by name. Raises InvalidInput for a bad limit or cursor."""
    order = [SortKey(column=versions.c.workflow, read=read_text)]
    query = {"list": "workflows"}
    statement = (
        sa.select(*_COLUMNS)
        .ext(pg.distinct_on(versions.c.workflow))
        .where(*within(shown, versions.c.workflow))
        .order_by(versions.c.workflow, versions.c.number.desc())
        .limit(check_limit(limit) + 1)
    )
    if cursor is not None:
        statement = statement.where(versions.c.workflow > decode_cursor(cursor, query, order)[0])
    with database.query() as connection:
        rows = connection.execute(statement).all()
    first = rows[:limit]
    key = [first[-1][0]] if len(rows) > limit else None
    return Page(items=tuple(_view(row) for row in first), next_cursor=encode_cursor(query, key))


def get_version(database: Database, name: str, number: int | None = None) -> VersionView:
    """One version with its graph, the newest when no number is given. Raises NotFound."""
    statement = (
        sa.select(*_COLUMNS, versions.c.graph)
        .where(versions.c.workflow == name)
        .order_by(versions.c.number.desc())
        .limit(1)
    )
    if number is not None:
        statement = statement.where(versions.c.number == number)
    with database.query() as connection:
        row = connection.execute(statement).first()
    if row is None:
        of = "" if number is None else f"version {number} of "
        raise NotFound(f"there is no {of}workflow {name!r}", fix="register it with PUT or signoff deploy")
    return _view(row)


def _view(row: Any) -> VersionView:
    name, number, sha256, description, created_by, created_at, *graph = row
    return VersionView(
        name=name,
        version=number,
        sha256=sha256,
        description=description,
        created_by=created_by,
        created_at=created_at,
        graph=graph[0] if graph else None,
    )
