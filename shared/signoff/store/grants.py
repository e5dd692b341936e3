"""What the role of Signoff's processes may do: everything they need, and nothing to what is written for good."""

from __future__ import annotations

from psycopg import sql

from signoff.store.schema import events, identity_changes, metadata, workflow_versions

_APPENDED = "SELECT, INSERT"
_KEPT = "SELECT, INSERT, UPDATE"
_OWN = {
    events.name: _APPENDED,
    identity_changes.name: _APPENDED,
    workflow_versions.name: _APPENDED,
    **dict.fromkeys(
        ("runs", "human_tasks", "decisions", "principals", "api_keys", "authority_limits", "delegations", "callbacks"),
        _KEPT,
    ),
}
"""Tables from which nothing is ever deleted. From the others it is: sessions, links and keys run out."""
_AUDITED = ("workflow_versions", "runs", "events", "human_tasks", "decisions")
_REVISION = "alembic_version"


def application_grants(role: str) -> list[str]:
    """The statements, for the tables' owner, that let a role run the API, workers and the sweep, and not migrate."""
    return _statements(role, {name: _OWN.get(name, f"{_KEPT}, DELETE") for name in sorted(metadata.tables)})


def auditor_grants(role: str) -> list[str]:
    """The same for a role that anchors and verifies: it reads what is audited, and no secret."""
    return _statements(role, dict.fromkeys(_AUDITED, "SELECT"))


def _statements(role: str, granted: dict[str, str]) -> list[str]:
    to = sql.Identifier(role).as_string(None)
    # What it was granted before, and should not have, goes first.
    everything = ", ".join([*sorted(metadata.tables), _REVISION])
    grants = [f"GRANT {rights} ON {table} TO {to}" for table, rights in (granted | {_REVISION: "SELECT"}).items()]
    return [f"REVOKE ALL ON {everything} FROM {to}", *grants]
