"""People whom an OpenID provider signs in: who they are there, and which sign-ins have been used."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE provider_identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    principal_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (issuer, subject),
    CONSTRAINT provider_identities_principal FOREIGN KEY(principal_id) REFERENCES principals (id)
);

CREATE INDEX provider_identities_by_principal ON provider_identities (principal_id);

CREATE TABLE provider_sign_ins (
    hash BYTEA NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (hash)
);

CREATE INDEX provider_sign_ins_by_expiry ON provider_sign_ins (expires_at)
"""


def upgrade() -> None:
    for statement in UP.split(";"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE provider_sign_ins")
    op.execute("DROP TABLE provider_identities")
