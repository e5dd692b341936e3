"""The tables of who stands in for whom, and of human tasks that somebody has put off."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, PrimaryKeyConstraint, SmallInteger, Table, Text, Uuid

from signoff.store.schema_base import at, metadata

delegations = Table(
    "delegations",
    metadata,
    Column("id", Uuid, primary_key=True),
    # `delegation`, or `absence`: then what is assigned to them goes to who stands in.
    Column("kind", Text, nullable=False),
    Column("delegator_id", Uuid, ForeignKey("principals.id", name="delegations_delegator"), nullable=False),
    Column("delegate_id", Uuid, ForeignKey("principals.id", name="delegations_delegate")),
    Column("workflow", Text),
    Column("note", Text),
    at("from_at", nullable=False),
    at("until_at"),
    Column("created_by", JSON, nullable=False),
    at("created_at", nullable=False),
    Column("ended_by", JSON),
    at("ended_at"),
    Index("delegations_by_delegator", "delegator_id", "id"),
    Index("delegations_by_delegate", "delegate_id", "id"),
)

snoozes = Table(
    "snoozes",
    metadata,
    Column("principal_id", Uuid, ForeignKey("principals.id", name="snoozes_principal"), nullable=False),
    Column("human_task_id", Uuid, nullable=False),
    # It holds while the human task is as it was: a new revision or rung ends it.
    Column("revision", Integer, nullable=False),
    Column("rung", SmallInteger, nullable=False),
    at("until_at", nullable=False),
    at("created_at", nullable=False),
    PrimaryKeyConstraint("principal_id", "human_task_id"),
    Index("snoozes_by_end", "until_at"),
)
