"""Runs the migrations on the connection of the caller."""

from alembic import context

from scripts.records import tables

# Alembic loads this file once per command. The caller commits all migrations together or none,
# also on SQLite.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
