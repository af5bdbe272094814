"""Tasks of several hosts: what they are to run, the hosts, runs on many of them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    flag = sa.Column(
        "waits_for_host", sa.Boolean, nullable=False, server_default=sa.false()
    )
    op.add_column("tasks", flag)
    op.add_column("tasks", sa.Column("fan_out", sa.Text))
    op.add_column("tasks", sa.Column("parent", sa.Text))
    is_part = sa.text("parent IS NOT NULL")
    op.create_index(
        "tasks_of_parent",
        "tasks",
        ["parent"],
        sqlite_where=is_part,
        postgresql_where=is_part,
    )
    op.create_table(
        "orders",
        sa.Column("task_id", sa.Text, primary_key=True),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "hosts",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("seen", sa.Double, nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("room", sa.Text, nullable=False),
        sa.Column("readings", sa.Text, nullable=False),
        sa.Column("draining", sa.Boolean, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("hosts")
    op.drop_table("orders")
    op.drop_index("tasks_of_parent", "tasks")
    with op.batch_alter_table("tasks") as tasks:
        tasks.drop_column("parent")
        tasks.drop_column("fan_out")
        tasks.drop_column("waits_for_host")
