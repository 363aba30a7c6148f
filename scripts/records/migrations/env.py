"""Connects Alembic to the connection that the caller has opened."""

from alembic import context

from scripts.records import tables

# Alembic loads this file once per command. The transaction is the caller's: all migrations are
# committed together or not at all, on SQLite, too.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
