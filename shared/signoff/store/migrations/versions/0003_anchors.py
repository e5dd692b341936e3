"""What an anchor asks for: which logs have grown since a moment."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Events are only ever appended, so their pages are in the order of time: a few bytes a range of pages find the
    # newest ones, and writing costs nothing.
    op.execute("CREATE INDEX events_by_time ON events USING brin (at) WITH (autosummarize = on)")


def downgrade() -> None:
    op.execute("DROP INDEX events_by_time")
