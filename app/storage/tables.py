"""The tables, as the newest migration leaves them.

Times are seconds since the epoch, UTC, as double precision: microseconds are
exact until the year 2255, and both databases order and compare them alike.
"""

import sqlalchemy as sa

#: The revision in migrations/versions that makes these tables.
REVISION = "0004"

metadata = sa.MetaData()

tasks = sa.Table(
    "tasks",
    metadata,
    # In the order of their making; ids are random and have no order.
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
    sa.Column("command", sa.Text),
    sa.Column("stderr_end_offset", sa.BigInteger),
    sa.Column("stderr_dropped_bytes", sa.BigInteger),
    sa.Column("max_running", sa.Integer),
    sa.Column("is_queued", sa.Boolean, nullable=False, server_default=sa.false()),
    # When it came into the line, or its owner last had a turn: counted, not timed.
    sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"),
)

UNFINISHED = tasks.c.finished.is_(None)

# The slot of a caller holds one unfinished task, in whichever worker it runs.
sa.Index(
    "tasks_slot_taken",
    tasks.c.slot,
    unique=True,
    sqlite_where=UNFINISHED,
    postgresql_where=UNFINISHED,
)
sa.Index(
    "tasks_unfinished",
    tasks.c.host,
    sqlite_where=UNFINISHED,
    postgresql_where=UNFINISHED,
)
sa.Index("tasks_newest_of_slot", tasks.c.slot, tasks.c.number)
sa.Index("tasks_finished", tasks.c.finished)
sa.Index("tasks_newest_of_owner", tasks.c.owner, tasks.c.number)

people = sa.Table(
    "people",
    metadata,
    # AUTOINCREMENT, or SQLite would give the number of the last one again after
    # its removal.
    sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("age", sa.Integer, nullable=False),
    sa.Column("phone", sa.Text),
    sqlite_autoincrement=True,
)

accounts = sa.Table(
    "accounts",
    metadata,
    # Never used again: what was an account's is not the next one's.
    sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("username", sa.Text, nullable=False, unique=True),
    sa.Column("fullname", sa.Text, nullable=False),
    sa.Column("admin", sa.Boolean, nullable=False),
    sa.Column("password_hash", sa.Text, nullable=False),
    # Of which, with the secret key, the signing key is made; null: none yet.
    sa.Column("signing_nonce", sa.Text),
    sa.Column("created", sa.Double, nullable=False),
    sqlite_autoincrement=True,
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("token_id", sa.Text, nullable=False, unique=True),
    sa.Column(
        "account",
        sa.Integer,
        sa.ForeignKey("accounts.number", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double),
)

# Signed uuids that have started a command, by a digest of their signature.
used_uuids = sa.Table(
    "used_uuids",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("used", sa.Double, nullable=False, index=True),
)

# Credentials that were right lately: guesses of others do not lock them out.
known_credentials = sa.Table(
    "known_credentials",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("expires", sa.Double, nullable=False, index=True),
)

# Passwords that were wrong, or are being looked at, of the last minute.
password_attempts = sa.Table(
    "password_attempts",
    metadata,
    sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False, index=True),
)
sa.Index(
    "password_attempts_of_subject", password_attempts.c.subject, password_attempts.c.at
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("at", sa.Double, nullable=False, index=True),
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
sa.Index("audit_of_actor", audit.c.actor, audit.c.at)

# Requests that came with an Idempotency-Key, and what was answered.
idempotency = sa.Table(
    "idempotency",
    metadata,
    # A digest of the caller, the route and the key.
    sa.Column("digest", sa.Text, primary_key=True),
    # What was asked: another body under the same key is refused.
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False, index=True),
    # Written with the task: from then on nothing is started under the key again.
    sa.Column("task_id", sa.Text),
    sa.Column("status", sa.Integer),
    sa.Column("headers", sa.Text),
    sa.Column("body", sa.LargeBinary),
)
