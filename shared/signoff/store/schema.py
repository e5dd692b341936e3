"""The tables, as queries see them. The migrations make them; a test holds the two equal.

Values that people or steps wrote are `json`, not `jsonb`: the bytes stay as they were hashed. Only labels are
`jsonb`, because they are searched.
"""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    JSON,
    TIMESTAMP,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from signoff.store import (
    schema_absences,  # noqa: F401  # its tables are among those of `metadata`
    schema_notifications,  # noqa: F401  # its tables are among those of `metadata`
)
from signoff.store.schema_accounts import (
    api_keys,
    identity_changes,
    passwords,
    principals,
    provider_identities,
    provider_sign_ins,
    role_grants,
    sessions,
    sign_in_attempts,
    sign_in_links,
)
from signoff.store.schema_base import at as _at
from signoff.store.schema_base import metadata

__all__ = [
    "api_keys",
    "identity_changes",
    "metadata",
    "passwords",
    "principals",
    "provider_identities",
    "provider_sign_ins",
    "role_grants",
    "sessions",
    "sign_in_attempts",
    "sign_in_links",
]

workflow_versions = Table(
    "workflow_versions",
    metadata,
    Column("workflow", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("graph", JSON, nullable=False),
    Column("created_by", JSON, nullable=False),
    _at("created_at", nullable=False),
    PrimaryKeyConstraint("workflow", "number"),
    UniqueConstraint("workflow", "sha256"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("workflow", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("node", Text),
    Column("queue", Text),
    Column("epoch", Integer, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("lost", SmallInteger, nullable=False),
    Column("resends", SmallInteger, nullable=False),
    Column("value", JSON),
    Column("outputs", JSON, nullable=False),
    Column("feedback", JSON),
    Column("outcome", Text),
    Column("error", JSON),
    Column("labels", JSONB, nullable=False),
    Column("requester", JSON, nullable=False),
    Column("requester_id", Text, nullable=False),
    Column("has_human_tasks", Boolean, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("worker", Text),
    _at("due_at"),
    _at("created_at", nullable=False),
    _at("updated_at", nullable=False),
    _at("finished_at"),
    ForeignKeyConstraint(
        ["workflow", "version"],
        ["workflow_versions.workflow", "workflow_versions.number"],
        name="runs_version",
    ),
    Index("runs_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    Index("runs_by_workflow", "workflow", "id"),
    Index("runs_by_status", "status", "id"),
    Index("runs_by_requester", "requester_id", "id"),
    Index("runs_by_label", "labels", postgresql_using="gin", postgresql_ops={"labels": "jsonb_path_ops"}),
)

events = Table(
    "events",
    metadata,
    Column("run_id", Uuid, ForeignKey("runs.id", name="events_run"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("type", Text, nullable=False),
    _at("at", nullable=False),
    Column("actor", JSON, nullable=False),
    Column("data", JSON, nullable=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("run_id", "seq"),
    # What policy decided by itself is counted beside what people did.
    Index("events_gate_passed", "at", postgresql_where=text("type = 'gate.passed'")),
    # Which logs have grown since a moment: an anchor asks for it.
    Index("events_by_time", "at", postgresql_using="brin", postgresql_with={"autosummarize": "on"}),
)

human_tasks = Table(
    "human_tasks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("run_id", Uuid, ForeignKey("runs.id", name="human_tasks_run"), nullable=False),
    Column("workflow", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("gate", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("payload", JSON),
    Column("payload_sha256", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("candidate_users", ARRAY(Text), nullable=False),
    Column("candidate_groups", ARRAY(Text), nullable=False),
    Column("assignee", Text),
    Column("priority", SmallInteger, nullable=False),
    Column("requester_id", Text, nullable=False),
    Column("rung", SmallInteger, nullable=False),
    Column("pending", Text),
    Column("outcome", Text),
    Column("decided_by", Text),
    _at("created_at", nullable=False),
    _at("revised_at", nullable=False),
    _at("due_at"),
    _at("not_before"),
    _at("wake_at"),
    _at("release_at"),
    _at("completed_at"),
    # Where a business calendar counts: when each rung comes after `revised_at`.
    Column("ladder_ms", ARRAY(BigInteger)),
    # What the log does not know: how long a claim still holds, and when the row was last written.
    _at("claim_expires_at"),
    Column("changed_at", TIMESTAMP(timezone=True), nullable=False, server_default=text("now()")),
    Index("human_tasks_claims", "claim_expires_at", postgresql_where=text("claim_expires_at IS NOT NULL")),
    Index("human_tasks_changed", "changed_at"),
    Index("human_tasks_finished", text("completed_at DESC"), "id", postgresql_where=text("completed_at IS NOT NULL")),
    Index("human_tasks_wake", "wake_at", postgresql_where=text("wake_at IS NOT NULL")),
    Index("human_tasks_by_run", "run_id"),
    Index("human_tasks_open_by_due", "due_at", "id", postgresql_where=text("state = 'open'")),
    Index("human_tasks_by_state", "state", "id"),
    Index(
        "human_tasks_open_by_priority",
        text("priority DESC"),
        "id",
        postgresql_where=text("state = 'open'"),
    ),
    Index("human_tasks_open_by_requester", "requester_id", postgresql_where=text("state = 'open'")),
    Index(
        "human_tasks_open_by_assignee",
        "assignee",
        postgresql_where=text("state = 'open' AND assignee IS NOT NULL"),
    ),
    Index(
        "human_tasks_open_by_group",
        "candidate_groups",
        postgresql_using="gin",
        postgresql_where=text("state = 'open'"),
    ),
    Index(
        "human_tasks_open_by_user",
        "candidate_users",
        postgresql_using="gin",
        postgresql_where=text("state = 'open'"),
    ),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("human_task_id", Uuid, ForeignKey("human_tasks.id", name="decisions_human_task"), nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("decision", Text, nullable=False),
    Column("actor", JSON, nullable=False),
    Column("principal_id", Text, nullable=False),
    Column("note", Text),
    Column("reason", Text),
    Column("patch", JSON),
    Column("payload_sha256", Text, nullable=False),
    Column("on_behalf_of", Text),
    Column("bulk_id", Uuid),
    Column("surface", Text),
    Column("reading_ms", Integer),
    Column("authenticated", JSON),
    Column("withdrawn", Boolean, nullable=False),
    # By whose mandate it was said: whose voice it is too.
    Column("delegation_id", Uuid),
    Column("acts_for", Text),
    _at("at", nullable=False),
    Index("decisions_by_human_task", "human_task_id", "seq"),
    # One person, one voice per revision, whatever the code above says.
    Index(
        "decisions_once",
        "human_task_id",
        "revision",
        "principal_id",
        unique=True,
        postgresql_where=text("NOT withdrawn"),
    ),
    Index(
        "decisions_once_for",
        "human_task_id",
        "revision",
        "acts_for",
        unique=True,
        postgresql_where=text("NOT withdrawn AND acts_for IS NOT NULL"),
    ),
)

authority_limits = Table(
    "authority_limits",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("workflow", Text, nullable=False),
    Column("gate", Text, nullable=False),
    Column("expression", Text, nullable=False),
    Column("set_by", JSON, nullable=False),
    _at("set_at", nullable=False),
    # What is superseded or removed ends, and stays.
    Column("ended_by", JSON),
    _at("ended_at"),
    Index(
        "authority_limits_one",
        "subject",
        "workflow",
        "gate",
        unique=True,
        postgresql_where=text("ended_at IS NULL"),
    ),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("principal_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("result", JSON),
    _at("created_at", nullable=False),
    PrimaryKeyConstraint("principal_id", "key"),
    Index("idempotency_keys_by_age", "created_at"),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("url", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False),
    Column("include_payload", Boolean, nullable=False),
    Column("secret", Text, nullable=False),
    Column("old_secret", Text),
    _at("old_secret_until"),
    Column("created_by", JSON, nullable=False),
    _at("created_at", nullable=False),
    _at("disabled_at"),
    Column("disabled_why", Text),
    Column("failures", Integer, nullable=False),
    # When a worker may next look at it: later while one is at it, and after failures.
    _at("next_at", nullable=False),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("endpoint_id", Uuid, nullable=False),
    Column("run_id", Uuid),
    Column("seq", Integer),
    Column("type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("status", Integer),
    Column("error", Text),
    _at("created_at", nullable=False),
    _at("since", nullable=False),
    _at("due_at"),
    _at("attempted_at"),
    Index("webhook_deliveries_once", "endpoint_id", "run_id", "seq", unique=True),
    Index("webhook_deliveries_due", "endpoint_id", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    Index("webhook_deliveries_by_age", "created_at"),
)

task_links = Table(
    "task_links",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("human_task_id", Uuid, nullable=False),
    Column("principal_id", Uuid, ForeignKey("principals.id", name="task_links_principal"), nullable=False),
    Column("prefix", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    _at("created_at", nullable=False),
    _at("expires_at", nullable=False),
    # Which browser may use it: the first that went on with it, where nobody signs in.
    Column("browser_hash", LargeBinary),
    _at("used_at"),
    Column("decision_id", Uuid),
    _at("revoked_at"),
    Index("task_links_by_human_task", "human_task_id", "principal_id"),
    Index("task_links_by_expiry", "expires_at"),
)

callbacks = Table(
    "callbacks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("secret", Text, nullable=False),
    Column("old_secret", Text),
    _at("old_secret_until"),
    _at("created_at", nullable=False),
    # The log names callbacks by their id, so the row stays.
    _at("removed_at"),
    Index("callbacks_by_name", "name", unique=True, postgresql_where=text("removed_at IS NULL")),
)

callback_people = Table(
    "callback_people",
    metadata,
    Column("callback_id", Uuid, ForeignKey("callbacks.id", name="callback_people_callback"), nullable=False),
    Column("external_id", Text, nullable=False),
    Column("principal_id", Uuid, ForeignKey("principals.id", name="callback_people_principal"), nullable=False),
    _at("created_at", nullable=False),
    PrimaryKeyConstraint("callback_id", "external_id"),
)
