"""Who changed whose rights. What was changed before has no row."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE identity_changes (
    id UUID NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    actor JSON NOT NULL,
    principal_id UUID,
    subject TEXT NOT NULL,
    change TEXT NOT NULL,
    before JSON,
    after JSON,
    PRIMARY KEY (id),
    CONSTRAINT identity_changes_principal FOREIGN KEY(principal_id) REFERENCES principals (id)
);

CREATE INDEX identity_changes_by_subject ON identity_changes (subject, at);

CREATE INDEX identity_changes_by_age ON identity_changes (at)
"""


def upgrade() -> None:
    for statement in UP.split(";"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE identity_changes")
