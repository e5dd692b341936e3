"""What the reviewer's pages need: sessions, sign-in links, claims as leases, and what changed since when."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UP = """
ALTER TABLE human_tasks ADD COLUMN claim_expires_at TIMESTAMP WITH TIME ZONE;

ALTER TABLE human_tasks ADD COLUMN changed_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now();

CREATE INDEX human_tasks_claims ON human_tasks (claim_expires_at) WHERE claim_expires_at IS NOT NULL;

CREATE INDEX human_tasks_changed ON human_tasks (changed_at);

CREATE INDEX human_tasks_finished ON human_tasks (completed_at DESC, id) WHERE completed_at IS NOT NULL;

CREATE INDEX events_gate_passed ON events (at) WHERE type = 'gate.passed';

ALTER TABLE decisions ADD COLUMN surface TEXT;

ALTER TABLE decisions ADD COLUMN reading_ms INTEGER;

CREATE TABLE sessions (
    id UUID NOT NULL,
    principal_id UUID NOT NULL,
    hash BYTEA NOT NULL,
    api_key_id UUID,
    user_agent TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    CONSTRAINT sessions_principal FOREIGN KEY(principal_id) REFERENCES principals (id),
    CONSTRAINT sessions_api_key FOREIGN KEY(api_key_id) REFERENCES api_keys (id),
    UNIQUE (hash)
);

CREATE INDEX sessions_by_principal ON sessions (principal_id);

CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE sign_in_links (
    id UUID NOT NULL,
    principal_id UUID NOT NULL,
    hash BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    CONSTRAINT sign_in_links_principal FOREIGN KEY(principal_id) REFERENCES principals (id),
    UNIQUE (hash)
);

CREATE INDEX sign_in_links_by_expiry ON sign_in_links (expires_at)
"""

# The log has had these two since decisions have them; who went down a step and up again has lost only the copy.
REFILL = """
UPDATE decisions d SET surface = e.data->>'surface', reading_ms = (e.data->>'reading_ms')::integer
FROM events e
WHERE e.run_id = d.run_id AND e.type = 'decision.recorded' AND e.data->>'decision_id' = d.id::text
    AND e.data->>'withdraws' IS NULL AND (e.data->>'surface' IS NOT NULL OR e.data->>'reading_ms' IS NOT NULL)
"""

DOWN = """
DROP TABLE sign_in_links;

DROP TABLE sessions;

ALTER TABLE decisions DROP COLUMN reading_ms;

ALTER TABLE decisions DROP COLUMN surface;

DROP INDEX events_gate_passed;

DROP INDEX human_tasks_finished;

ALTER TABLE human_tasks DROP COLUMN changed_at;

ALTER TABLE human_tasks DROP COLUMN claim_expires_at
"""


def upgrade() -> None:
    for statement in UP.split(";"):
        op.execute(statement)
    op.execute(REFILL)


def downgrade() -> None:
    for statement in DOWN.split(";"):
        op.execute(statement)
