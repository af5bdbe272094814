"""Alembic's entry; `app.storage.engine` hands it a connection that is locked."""

from alembic import context

from app.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata
)
with context.begin_transaction():
    context.run_migrations()
