"""Runs that outlive the service; when to tell of an end again."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    flag = sa.Column("detached", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("tasks", flag)
    op.add_column("tasks", sa.Column("tell_at", sa.Double))


def downgrade() -> None:
    with op.batch_alter_table("tasks") as tasks:
        tasks.drop_column("tell_at")
        tasks.drop_column("detached")
