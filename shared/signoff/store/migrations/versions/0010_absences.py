"""Who stands in for whom while they are away, and human tasks put off."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE delegations (
    id UUID NOT NULL,
    kind TEXT NOT NULL,
    delegator_id UUID NOT NULL,
    delegate_id UUID,
    workflow TEXT,
    note TEXT,
    from_at TIMESTAMP WITH TIME ZONE NOT NULL,
    until_at TIMESTAMP WITH TIME ZONE,
    created_by JSON NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_by JSON,
    ended_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    CONSTRAINT delegations_delegator FOREIGN KEY(delegator_id) REFERENCES principals (id),
    CONSTRAINT delegations_delegate FOREIGN KEY(delegate_id) REFERENCES principals (id)
);

CREATE INDEX delegations_by_delegator ON delegations (delegator_id, id);

CREATE INDEX delegations_by_delegate ON delegations (delegate_id, id);

CREATE TABLE snoozes (
    principal_id UUID NOT NULL,
    human_task_id UUID NOT NULL,
    revision INTEGER NOT NULL,
    rung SMALLINT NOT NULL,
    until_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (principal_id, human_task_id),
    CONSTRAINT snoozes_principal FOREIGN KEY(principal_id) REFERENCES principals (id)
);

CREATE INDEX snoozes_by_end ON snoozes (until_at);

ALTER TABLE decisions ADD COLUMN delegation_id UUID;

ALTER TABLE decisions ADD COLUMN acts_for TEXT;

CREATE UNIQUE INDEX decisions_once_for ON decisions (human_task_id, revision, acts_for)
    WHERE NOT withdrawn AND acts_for IS NOT NULL;

ALTER TABLE human_tasks ADD COLUMN ladder_ms BIGINT[]
"""

# The log has it; who went down a step and up again has lost only the copy.
REFILL = """
UPDATE decisions d SET delegation_id = (e.data->>'delegation_id')::uuid, acts_for = e.data->>'acts_for'
FROM events e
WHERE e.run_id = d.run_id AND e.type = 'decision.recorded' AND e.data->>'decision_id' = d.id::text
    AND e.data->>'withdraws' IS NULL AND e.data->>'acts_for' IS NOT NULL
"""
REFILL_LADDERS = """
UPDATE human_tasks t SET ladder_ms = ARRAY(
    SELECT value::bigint FROM json_array_elements_text(last.ladder) WITH ORDINALITY AS rung (value, place)
    ORDER BY place
)
FROM (
    SELECT DISTINCT ON (run_id, data->>'human_task_id')
        run_id, data->>'human_task_id' AS id, data->'ladder_ms' AS ladder
    FROM events WHERE type IN ('gate.opened', 'gate.revised') AND data->>'ladder_ms' IS NOT NULL
    ORDER BY run_id, data->>'human_task_id', seq DESC
) AS last
WHERE t.run_id = last.run_id AND t.id::text = last.id
"""

DOWN = """
ALTER TABLE human_tasks DROP COLUMN ladder_ms;

ALTER TABLE decisions DROP COLUMN acts_for;

ALTER TABLE decisions DROP COLUMN delegation_id;

DROP TABLE snoozes;

DROP TABLE delegations
"""


def upgrade() -> None:
    for statement in UP.split(";"):
        op.execute(statement)
    op.execute(REFILL)
    op.execute(REFILL_LADDERS)


def downgrade() -> None:
    for statement in DOWN.split(";"):
        op.execute(statement)
