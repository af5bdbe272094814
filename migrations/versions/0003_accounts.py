"""Accounts, tokens, what keeps guesses and replays out, and the audit."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("command", sa.Text))
    op.create_index("tasks_newest_of_owner", "tasks", ["owner", "number"])
    op.create_table(
        "accounts",
        sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("username", sa.Text, nullable=False, unique=True),
        sa.Column("fullname", sa.Text, nullable=False),
        sa.Column("admin", sa.Boolean, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("signing_nonce", sa.Text),
        sa.Column("created", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tokens",
        sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("token_id", sa.Text, nullable=False, unique=True),
        sa.Column(
            "account",
            sa.Integer,
            sa.ForeignKey("accounts.number", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double),
    )
    op.create_index("ix_tokens_account", "tokens", ["account"])
    op.create_table(
        "used_uuids",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("used", sa.Double, nullable=False),
    )
    op.create_index("ix_used_uuids_used", "used_uuids", ["used"])
    op.create_table(
        "known_credentials",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("expires", sa.Double, nullable=False),
    )
    op.create_index("ix_known_credentials_expires", "known_credentials", ["expires"])
    op.create_table(
        "password_attempts",
        sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_index("ix_password_attempts_at", "password_attempts", ["at"])
    op.create_index(
        "password_attempts_of_subject", "password_attempts", ["subject", "at"]
    )
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.Text),
        sa.Column("via", sa.Text, nullable=False),
        sa.Column("address", sa.Text),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("detail", sa.Text),
        sa.Column("task_id", sa.Text),
        sa.Column("request_id", sa.Text),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("audit_of_actor", "audit", ["actor", "at"])


def downgrade() -> None:
    for table in (
        "audit",
        "password_attempts",
        "known_credentials",
        "used_uuids",
        "tokens",
        "accounts",
    ):
        op.drop_table(table)
    op.drop_index("tasks_newest_of_owner", "tasks")
    with op.batch_alter_table("tasks") as tasks:
        tasks.drop_column("command")
