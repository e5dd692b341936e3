"""The tables of notifications: whom to tell where, what has happened, and what was told."""

from __future__ import annotations

from sqlalchemy import ARRAY, JSON, Boolean, Column, Index, Integer, PrimaryKeyConstraint, Table, Text, Uuid, text

from signoff.store.schema_base import at as _at
from signoff.store.schema_base import metadata

notification_channels = Table(
    "notification_channels",
    metadata,
    Column("id", Uuid, primary_key=True),
    # `user:NAME` or `group:NAME`.
    Column("subject", Text, nullable=False),
    # The URL has secrets in it and is read by who sends; `shown` is what everybody else sees of it.
    Column("url", Text, nullable=False),
    Column("shown", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False),
    Column("include_payload", Boolean, nullable=False),
    Column("created_by", JSON, nullable=False),
    _at("created_at", nullable=False),
    _at("disabled_at"),
    Column("disabled_why", Text),
    Column("failures", Integer, nullable=False),
    _at("next_at", nullable=False),
    _at("digest_at"),
    Index("notification_channels_by_subject", "subject"),
)

# What has happened and has not been given to the channels of those concerned yet.
notification_events = Table(
    "notification_events",
    metadata,
    Column("run_id", Uuid, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("type", Text, nullable=False),
    _at("due_at", nullable=False),
    PrimaryKeyConstraint("run_id", "seq"),
    Index("notification_events_due", "due_at"),
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("channel_id", Uuid, nullable=False),
    Column("run_id", Uuid),
    Column("seq", Integer),
    Column("type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("digest_id", Uuid),
    _at("created_at", nullable=False),
    _at("since", nullable=False),
    _at("due_at"),
    _at("attempted_at"),
    Index("notifications_once", "channel_id", "run_id", "seq", unique=True),
    Index("notifications_due", "channel_id", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    Index("notifications_attempted", "channel_id", "attempted_at"),
    Index("notifications_dead", "created_at", postgresql_where=text("state = 'dead'")),
    Index("notifications_by_age", "created_at"),
)
