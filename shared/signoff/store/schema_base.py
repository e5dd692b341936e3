"""What the modules of the schema share: the one collection of tables, and how a moment is kept."""

from __future__ import annotations

from sqlalchemy import TIMESTAMP, Column, MetaData

metadata = MetaData()


def at(name: str, *, nullable: bool = True) -> Column[object]:
    """A column for a moment, in UTC."""
    return Column(name, TIMESTAMP(timezone=True), nullable=nullable)
