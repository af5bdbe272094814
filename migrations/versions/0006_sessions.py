"""Sessions of browsers; what a command was given; short outputs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("params", sa.Text))
    op.add_column("tasks", sa.Column("output", sa.LargeBinary))
    op.create_table(
        "sessions",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column(
            "account",
            sa.Integer,
            sa.ForeignKey("accounts.number", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
    )
    op.create_index("ix_sessions_account", "sessions", ["account"])
    op.create_index("ix_sessions_expires", "sessions", ["expires"])


def downgrade() -> None:
    op.drop_table("sessions")
    with op.batch_alter_table("tasks") as tasks:
        tasks.drop_column("output")
        tasks.drop_column("params")
