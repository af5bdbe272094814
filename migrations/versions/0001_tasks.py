"""Tasks: what runs and what has run."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

UNFINISHED = sa.text("finished IS NULL")


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("task_id", sa.Text, nullable=False, unique=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("slot", sa.Text),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("cmd", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("started", sa.Double),
        sa.Column("finished", sa.Double),
        sa.Column("reason", sa.Text),
        sa.Column("detail", sa.Text),
        sa.Column("returncode", sa.Integer),
        sa.Column("signal", sa.Text),
        sa.Column("leftovers", sa.Boolean),
        sa.Column("cpu_seconds", sa.Double),
        sa.Column("max_rss_bytes", sa.BigInteger),
        sa.Column("end_offset", sa.BigInteger, nullable=False),
        sa.Column("dropped_bytes", sa.BigInteger, nullable=False),
        sa.Column("polled_offset", sa.BigInteger, nullable=False),
        sa.Column("polled_end", sa.Boolean, nullable=False),
        sa.Column("progress_done", sa.Integer),
        sa.Column("progress_total", sa.Integer),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("result", sa.Text),
    )
    for name, columns, unique, where in (
        ("tasks_slot_taken", ["slot"], True, UNFINISHED),
        ("tasks_unfinished", ["host"], False, UNFINISHED),
        ("tasks_newest_of_slot", ["slot", "number"], False, None),
        ("tasks_finished", ["finished"], False, None),
    ):
        op.create_index(
            name,
            "tasks",
            columns,
            unique=unique,
            sqlite_where=where,
            postgresql_where=where,
        )


def downgrade() -> None:
    op.drop_table("tasks")
