"""Alembic's entry: runs the migrations on the connection it is handed, inside that connection's transaction."""

from __future__ import annotations

from alembic import context

from signoff.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
