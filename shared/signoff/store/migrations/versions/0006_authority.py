"""Limits of authority: up to what a person or group may approve. And how who decided was recognised."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE authority_limits (
    id UUID NOT NULL,
    subject TEXT NOT NULL,
    workflow TEXT NOT NULL,
    gate TEXT NOT NULL,
    expression TEXT NOT NULL,
    set_by JSON NOT NULL,
    set_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_by JSON,
    ended_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id)
);

CREATE UNIQUE INDEX authority_limits_one ON authority_limits (subject, workflow, gate) WHERE ended_at IS NULL;

ALTER TABLE decisions ADD COLUMN authenticated JSON;

ALTER TABLE sessions ADD COLUMN started_with TEXT
"""

# The log has it since decisions have it; who went down a step and up again has lost only the copy.
REFILL = """
UPDATE decisions d SET authenticated = e.data->'authenticated'
FROM events e
WHERE e.run_id = d.run_id AND e.type = 'decision.recorded' AND e.data->>'decision_id' = d.id::text
    AND e.data->>'withdraws' IS NULL AND e.data->>'authenticated' IS NOT NULL
"""

DOWN = """
ALTER TABLE sessions DROP COLUMN started_with;

ALTER TABLE decisions DROP COLUMN authenticated;

DROP TABLE authority_limits
"""


def upgrade() -> None:
    for statement in UP.split(";"):
        op.execute(statement)
    op.execute(REFILL)


def downgrade() -> None:
    for statement in DOWN.split(";"):
        op.execute(statement)
