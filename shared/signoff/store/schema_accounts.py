"""The tables of principals and of all they come in by, as queries see them; part of `schema`."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    JSON,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)

from signoff.store.schema_base import at, metadata

principals = Table(
    "principals",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("groups", ARRAY(Text), nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    at("created_at", nullable=False),
    at("disabled_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("principal_id", Uuid, ForeignKey("principals.id", name="api_keys_principal"), nullable=False),
    Column("prefix", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    at("created_at", nullable=False),
    at("expires_at"),
    at("revoked_at"),
    # What it is narrowed to; NULL is not at all.
    Column("scopes", ARRAY(Text)),
    Column("workflows", ARRAY(Text)),
    CheckConstraint("cardinality(scopes) > 0 AND cardinality(workflows) > 0", name="api_keys_narrowed"),
)

passwords = Table(
    "passwords",
    metadata,
    Column("principal_id", Uuid, ForeignKey("principals.id", name="passwords_principal"), primary_key=True),
    Column("hash", Text, nullable=False),
    at("changed_at", nullable=False),
)

sign_in_attempts = Table(
    "sign_in_attempts",
    metadata,
    # The SHA-256 of a name or an address: what was typed for a name may have been a password.
    Column("subject", LargeBinary, primary_key=True),
    Column("failures", Integer, nullable=False),
    at("last_at", nullable=False),
    at("next_at", nullable=False),
    Index("sign_in_attempts_by_age", "last_at"),
)

role_grants = Table(
    "role_grants",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("principal_id", Uuid, ForeignKey("principals.id", name="role_grants_principal")),
    Column("group_name", Text),
    Column("role", Text, nullable=False),
    Column("workflow", Text, nullable=False),
    at("created_at", nullable=False),
    CheckConstraint("num_nonnulls(principal_id, group_name) = 1", name="role_grants_one_holder"),
    Index(
        "role_grants_of_principal",
        "principal_id",
        "role",
        "workflow",
        unique=True,
        postgresql_where=text("principal_id IS NOT NULL"),
    ),
    Index(
        "role_grants_of_group",
        "group_name",
        "role",
        "workflow",
        unique=True,
        postgresql_where=text("group_name IS NOT NULL"),
    ),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("principal_id", Uuid, ForeignKey("principals.id", name="sessions_principal"), nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("api_key_id", Uuid, ForeignKey("api_keys.id", name="sessions_api_key")),
    Column("user_agent", Text, nullable=False),
    Column("started_with", Text),
    at("created_at", nullable=False),
    at("seen_at", nullable=False),
    at("expires_at", nullable=False),
    at("revoked_at"),
    Index("sessions_by_principal", "principal_id"),
    Index("sessions_by_expiry", "expires_at"),
)

sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("principal_id", Uuid, ForeignKey("principals.id", name="sign_in_links_principal"), nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    at("created_at", nullable=False),
    at("expires_at", nullable=False),
    at("used_at"),
    Index("sign_in_links_by_expiry", "expires_at"),
)

provider_identities = Table(
    "provider_identities",
    metadata,
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("principal_id", Uuid, ForeignKey("principals.id", name="provider_identities_principal"), nullable=False),
    at("created_at", nullable=False),
    PrimaryKeyConstraint("issuer", "subject"),
    Index("provider_identities_by_principal", "principal_id"),
)

provider_sign_ins = Table(
    "provider_sign_ins",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    at("expires_at", nullable=False),
    Index("provider_sign_ins_by_expiry", "expires_at"),
)

identity_changes = Table(
    "identity_changes",
    metadata,
    Column("id", Uuid, primary_key=True),
    at("at", nullable=False),
    Column("actor", JSON, nullable=False),
    # A group has none.
    Column("principal_id", Uuid, ForeignKey("principals.id", name="identity_changes_principal")),
    Column("subject", Text, nullable=False),
    Column("change", Text, nullable=False),
    Column("before", JSON),
    Column("after", JSON),
    Index("identity_changes_by_subject", "subject", "at"),
    Index("identity_changes_by_age", "at"),
)
