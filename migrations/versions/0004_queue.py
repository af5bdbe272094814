"""The queue, stderr kept apart, and answers kept under an Idempotency-Key."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("stderr_end_offset", sa.BigInteger))
    op.add_column("tasks", sa.Column("stderr_dropped_bytes", sa.BigInteger))
    op.add_column("tasks", sa.Column("max_running", sa.Integer))
    op.add_column(
        "tasks",
        sa.Column("is_queued", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.add_column(
        "tasks", sa.Column("turn", sa.BigInteger, nullable=False, server_default="0")
    )
    op.create_table(
        "idempotency",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("task_id", sa.Text),
        sa.Column("status", sa.Integer),
        sa.Column("headers", sa.Text),
        sa.Column("body", sa.LargeBinary),
    )
    op.create_index("ix_idempotency_created", "idempotency", ["created"])


def downgrade() -> None:
    op.drop_table("idempotency")
    for name in (
        "stderr_end_offset",
        "stderr_dropped_bytes",
        "max_running",
        "is_queued",
        "turn",
    ):
        op.drop_column("tasks", name)
