"""The first schema: versions, runs with their logs, human tasks with their decisions, principals and keys."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE idempotency_keys (
    principal_id TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    result JSON,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (principal_id, key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE TABLE principals (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    groups TEXT[] NOT NULL,
    roles TEXT[] NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    disabled_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    UNIQUE (name)
);

CREATE TABLE workflow_versions (
    workflow TEXT NOT NULL,
    number INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    graph JSON NOT NULL,
    created_by JSON NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (workflow, number),
    UNIQUE (workflow, sha256)
);

CREATE TABLE api_keys (
    id UUID NOT NULL,
    principal_id UUID NOT NULL,
    prefix TEXT NOT NULL,
    hash BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    CONSTRAINT api_keys_principal FOREIGN KEY(principal_id) REFERENCES principals (id),
    UNIQUE (hash)
);

CREATE TABLE runs (
    id UUID NOT NULL,
    workflow TEXT NOT NULL,
    version INTEGER NOT NULL,
    status TEXT NOT NULL,
    node TEXT,
    queue TEXT,
    epoch INTEGER NOT NULL,
    attempt SMALLINT NOT NULL,
    lost SMALLINT NOT NULL,
    resends SMALLINT NOT NULL,
    value JSON,
    outputs JSON NOT NULL,
    feedback JSON,
    outcome TEXT,
    error JSON,
    labels JSONB NOT NULL,
    requester JSON NOT NULL,
    requester_id TEXT NOT NULL,
    has_human_tasks BOOLEAN NOT NULL,
    seq INTEGER NOT NULL,
    hash BYTEA NOT NULL,
    worker TEXT,
    due_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    CONSTRAINT runs_version FOREIGN KEY(workflow, version) REFERENCES workflow_versions (workflow, number)
);

CREATE INDEX runs_by_label ON runs USING gin (labels jsonb_path_ops);

CREATE INDEX runs_by_requester ON runs (requester_id, id);

CREATE INDEX runs_by_status ON runs (status, id);

CREATE INDEX runs_by_workflow ON runs (workflow, id);

CREATE INDEX runs_due ON runs (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE events (
    run_id UUID NOT NULL,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    actor JSON NOT NULL,
    data JSON NOT NULL,
    prev_hash BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (run_id, seq),
    CONSTRAINT events_run FOREIGN KEY(run_id) REFERENCES runs (id)
);

CREATE TABLE human_tasks (
    id UUID NOT NULL,
    run_id UUID NOT NULL,
    workflow TEXT NOT NULL,
    version INTEGER NOT NULL,
    gate TEXT NOT NULL,
    mode TEXT NOT NULL,
    state TEXT NOT NULL,
    revision INTEGER NOT NULL,
    payload JSON,
    payload_sha256 TEXT NOT NULL,
    title TEXT NOT NULL,
    why TEXT NOT NULL,
    candidate_users TEXT[] NOT NULL,
    candidate_groups TEXT[] NOT NULL,
    assignee TEXT,
    priority SMALLINT NOT NULL,
    requester_id TEXT NOT NULL,
    rung SMALLINT NOT NULL,
    pending TEXT,
    outcome TEXT,
    decided_by TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    revised_at TIMESTAMP WITH TIME ZONE NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE,
    not_before TIMESTAMP WITH TIME ZONE,
    wake_at TIMESTAMP WITH TIME ZONE,
    release_at TIMESTAMP WITH TIME ZONE,
    completed_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    CONSTRAINT human_tasks_run FOREIGN KEY(run_id) REFERENCES runs (id)
);

CREATE INDEX human_tasks_by_run ON human_tasks (run_id);

CREATE INDEX human_tasks_by_state ON human_tasks (state, id);

CREATE INDEX human_tasks_open_by_due ON human_tasks (due_at, id) WHERE state = 'open';

CREATE INDEX human_tasks_open_by_group ON human_tasks USING gin (candidate_groups) WHERE state = 'open';

CREATE INDEX human_tasks_open_by_assignee ON human_tasks (assignee) WHERE state = 'open' AND assignee IS NOT NULL;

CREATE INDEX human_tasks_open_by_priority ON human_tasks (priority DESC, id) WHERE state = 'open';

CREATE INDEX human_tasks_open_by_requester ON human_tasks (requester_id) WHERE state = 'open';

CREATE INDEX human_tasks_open_by_user ON human_tasks USING gin (candidate_users) WHERE state = 'open';

CREATE INDEX human_tasks_wake ON human_tasks (wake_at) WHERE wake_at IS NOT NULL;

CREATE TABLE decisions (
    id UUID NOT NULL,
    human_task_id UUID NOT NULL,
    run_id UUID NOT NULL,
    seq INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    decision TEXT NOT NULL,
    actor JSON NOT NULL,
    principal_id TEXT NOT NULL,
    note TEXT,
    reason TEXT,
    patch JSON,
    payload_sha256 TEXT NOT NULL,
    on_behalf_of TEXT,
    bulk_id UUID,
    withdrawn BOOLEAN NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT decisions_human_task FOREIGN KEY(human_task_id) REFERENCES human_tasks (id)
);

CREATE INDEX decisions_by_human_task ON decisions (human_task_id, seq);

CREATE UNIQUE INDEX decisions_once ON decisions (human_task_id, revision, principal_id) WHERE NOT withdrawn
"""


def upgrade() -> None:
    for statement in TABLES.split(";"):
        op.execute(statement)


def downgrade() -> None:
    for table in (
        "idempotency_keys",
        "api_keys",
        "principals",
        "decisions",
        "human_tasks",
        "events",
        "runs",
        "workflow_versions",
    ):
        op.execute(f"DROP TABLE {table}")
