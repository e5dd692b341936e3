"""Local accounts with a password, scopes of keys, and roles that hold for one workflow."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE passwords (
    principal_id UUID NOT NULL,
    hash TEXT NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (principal_id),
    CONSTRAINT passwords_principal FOREIGN KEY(principal_id) REFERENCES principals (id)
);

CREATE TABLE sign_in_attempts (
    subject BYTEA NOT NULL,
    failures INTEGER NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE NOT NULL,
    next_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (subject)
);

CREATE INDEX sign_in_attempts_by_age ON sign_in_attempts (last_at);

CREATE TABLE role_grants (
    id UUID NOT NULL,
    principal_id UUID,
    group_name TEXT,
    role TEXT NOT NULL,
    workflow TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT role_grants_principal FOREIGN KEY(principal_id) REFERENCES principals (id),
    CONSTRAINT role_grants_one_holder CHECK (num_nonnulls(principal_id, group_name) = 1)
);

CREATE UNIQUE INDEX role_grants_of_principal ON role_grants (principal_id, role, workflow)
WHERE principal_id IS NOT NULL;

CREATE UNIQUE INDEX role_grants_of_group ON role_grants (group_name, role, workflow) WHERE group_name IS NOT NULL;

ALTER TABLE api_keys ADD COLUMN scopes TEXT[];

ALTER TABLE api_keys ADD COLUMN workflows TEXT[];

ALTER TABLE api_keys ADD CONSTRAINT api_keys_narrowed CHECK (cardinality(scopes) > 0 AND cardinality(workflows) > 0)
"""


def upgrade() -> None:
    for statement in UP.split(";"):
        op.execute(statement)


def downgrade() -> None:
    # A narrowed key would open everything from now on.
    op.execute(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE scopes IS NOT NULL OR workflows IS NOT NULL"
    )
    op.execute("ALTER TABLE api_keys DROP CONSTRAINT api_keys_narrowed")
    op.execute("ALTER TABLE api_keys DROP COLUMN workflows")
    op.execute("ALTER TABLE api_keys DROP COLUMN scopes")
    for table in ("role_grants", "sign_in_attempts", "passwords"):
        op.execute(f"DROP TABLE {table}")
