"""Text messages, their receivers and limits; who is told of the end of a task."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("notify", sa.Text))
    op.add_column("tasks", sa.Column("notified", sa.Double))
    untold = sa.text("notify IS NOT NULL AND notified IS NULL")
    op.create_index(
        "tasks_untold",
        "tasks",
        ["host"],
        sqlite_where=untold,
        postgresql_where=untold,
    )
    op.create_table(
        "messages",
        sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("message_id", sa.Text, nullable=False, unique=True),
        sa.Column("owner", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("task_id", sa.Text),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("template", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("validity_seconds", sa.Integer),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("touched", sa.Double, nullable=False),
        sa.Column("finished", sa.Double),
        sa.Column("verdict", sa.Text),
        sa.Column("attempts", sa.Text, nullable=False),
        sa.Column("forgotten", sa.Double),
    )
    unsent = sa.text("finished IS NULL")
    op.create_index(
        "messages_unsent",
        "messages",
        ["host"],
        sqlite_where=unsent,
        postgresql_where=unsent,
    )
    op.create_index("messages_newest_of_owner", "messages", ["owner", "number"])
    op.create_index("messages_finished", "messages", ["finished"])
    remembered = sa.text("forgotten IS NULL")
    op.create_index(
        "messages_remembered",
        "messages",
        ["finished"],
        sqlite_where=remembered,
        postgresql_where=remembered,
    )
    op.create_table(
        "message_receivers",
        sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
        _message(),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("receiver", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("changed", sa.Double, nullable=False),
        sa.Column("provider", sa.Text),
        sa.Column("provider_id", sa.Text),
        sa.Column("segments", sa.Integer),
        sa.Column("category", sa.Text),
        sa.Column("provider_code", sa.Text),
        sa.Column("provider_message", sa.Text),
        sa.Column("per_number", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("parts", sa.Text),
    )
    op.create_index(
        "message_receivers_of_message",
        "message_receivers",
        ["message", "position"],
        unique=True,
    )
    by = "message_receivers_by"
    op.create_index(f"{by}_provider_id", "message_receivers", ["provider_id"])
    op.create_index(f"{by}_receiver", "message_receivers", ["receiver"])
    op.create_table(
        "message_events",
        sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
        _message(),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("provider", sa.Text),
        sa.Column("position", sa.Integer),
        sa.Column("state", sa.Text),
        sa.Column("detail", sa.Text),
    )
    op.create_index("ix_message_events_message", "message_events", ["message"])
    op.create_table(
        "message_usage",
        sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
    )
    op.create_index("ix_message_usage_message_id", "message_usage", ["message_id"])
    op.create_index("ix_message_usage_at", "message_usage", ["at"])
    op.create_index("message_usage_of_subject", "message_usage", ["subject", "at"])


def downgrade() -> None:
    for table in ("usage", "events", "receivers"):
        op.drop_table(f"message_{table}")
    op.drop_table("messages")
    op.drop_index("tasks_untold")
    with op.batch_alter_table("tasks") as tasks:
        tasks.drop_column("notified")
        tasks.drop_column("notify")


def _message() -> sa.Column[int]:
    of_message = sa.ForeignKey("messages.number", ondelete="CASCADE")
    return sa.Column("message", sa.Integer, of_message, nullable=False)
