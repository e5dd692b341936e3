"""Links into one human task for one person, and callbacks that decide for a named one."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# A link names its human task without a foreign key: the row of a human task is locked by whoever has its run, and
# making a link must not wait for them.
UP = """
CREATE TABLE task_links (
    id UUID NOT NULL,
    human_task_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    prefix TEXT NOT NULL,
    hash BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    browser_hash BYTEA,
    used_at TIMESTAMP WITH TIME ZONE,
    decision_id UUID,
    revoked_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    UNIQUE (hash),
    CONSTRAINT task_links_principal FOREIGN KEY(principal_id) REFERENCES principals (id)
);

CREATE INDEX task_links_by_human_task ON task_links (human_task_id, principal_id);

CREATE INDEX task_links_by_expiry ON task_links (expires_at);

CREATE TABLE callbacks (
    id UUID NOT NULL,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    hash BYTEA NOT NULL,
    secret TEXT NOT NULL,
    old_secret TEXT,
    old_secret_until TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    removed_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    UNIQUE (hash)
);

CREATE UNIQUE INDEX callbacks_by_name ON callbacks (name) WHERE removed_at IS NULL;

CREATE TABLE callback_people (
    callback_id UUID NOT NULL,
    external_id TEXT NOT NULL,
    principal_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (callback_id, external_id),
    CONSTRAINT callback_people_callback FOREIGN KEY(callback_id) REFERENCES callbacks (id),
    CONSTRAINT callback_people_principal FOREIGN KEY(principal_id) REFERENCES principals (id)
)
"""


def upgrade() -> None:
    for statement in UP.split(";"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE callback_people")
    op.execute("DROP TABLE callbacks")
    op.execute("DROP TABLE task_links")
