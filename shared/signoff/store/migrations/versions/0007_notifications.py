"""Notifications: whom to tell where, and what was told."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# No foreign key leads from what is told to its run or its channel: one locks rows that somebody else may hold while
# the run's transaction waits.
UP = """
CREATE TABLE notification_channels (
    id UUID NOT NULL,
    subject TEXT NOT NULL,
    url TEXT NOT NULL,
    shown TEXT NOT NULL,
    events TEXT[] NOT NULL,
    include_payload BOOLEAN NOT NULL,
    created_by JSON NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    disabled_at TIMESTAMP WITH TIME ZONE,
    disabled_why TEXT,
    failures INTEGER NOT NULL,
    next_at TIMESTAMP WITH TIME ZONE NOT NULL,
    digest_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id)
);

CREATE INDEX notification_channels_by_subject ON notification_channels (subject);

CREATE TABLE notification_events (
    run_id UUID NOT NULL,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (run_id, seq)
);

CREATE INDEX notification_events_due ON notification_events (due_at);

CREATE TABLE notifications (
    id UUID NOT NULL,
    channel_id UUID NOT NULL,
    run_id UUID,
    seq INTEGER,
    type TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    error TEXT,
    digest_id UUID,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE,
    attempted_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id)
);

CREATE UNIQUE INDEX notifications_once ON notifications (channel_id, run_id, seq);

CREATE INDEX notifications_due ON notifications (channel_id, due_at) WHERE due_at IS NOT NULL;

CREATE INDEX notifications_attempted ON notifications (channel_id, attempted_at);

CREATE INDEX notifications_dead ON notifications (created_at) WHERE state = 'dead';

CREATE INDEX notifications_by_age ON notifications (created_at)
"""


def upgrade() -> None:
    for statement in UP.split(";"):
        op.execute(statement)


def downgrade() -> None:
    for table in ("notifications", "notification_events", "notification_channels"):
        op.execute(f"DROP TABLE {table}")
