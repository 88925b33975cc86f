"""Alembic's entry: runs the revisions on the connection that `database.migrate` hands over."""

from __future__ import annotations

from alembic import context

from pathagent.reading_room.tables import Table

context.configure(connection=context.config.attributes["connection"], target_metadata=Table.metadata)
with context.begin_transaction():
    context.run_migrations()
