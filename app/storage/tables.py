"""The tables, as the newest migration leaves them.

Times are seconds since the epoch, UTC, as double precision: microseconds are
exact until the year 2255, and both databases order and compare them alike.
"""

import sqlalchemy as sa

#: The revision in migrations/versions that makes these tables.
REVISION = "0008"

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
    # Who is told of its end, as JSON; when that was done with.
    sa.Column("notify", sa.Text),
    sa.Column("notified", sa.Double),
    # What the command was given, as JSON; what is secret left out.
    sa.Column("params", sa.Text),
    # All that it has written, where that is short and in no file.
    sa.Column("output", sa.LargeBinary),
    # Whether it has a process of its own, which outlives the service.
    sa.Column("detached", sa.Boolean, nullable=False, server_default=sa.false()),
    # Not before then somebody is told of its end; null: at once.
    sa.Column("tell_at", sa.Double),
    # Whether it waits where its host is away, instead of being lost.
    sa.Column("waits_for_host", sa.Boolean, nullable=False, server_default=sa.false()),
    # Of a run on several hosts: which it is to go to, and how many at a time, as JSON.
    sa.Column("fan_out", sa.Text),
    # The task of a run on several hosts that this one is a part of.
    sa.Column("parent", sa.Text),
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
UNTOLD = sa.and_(tasks.c.notify.is_not(None), tasks.c.notified.is_(None))
sa.Index("tasks_untold", tasks.c.host, sqlite_where=UNTOLD, postgresql_where=UNTOLD)
PART = tasks.c.parent.is_not(None)
sa.Index("tasks_of_parent", tasks.c.parent, sqlite_where=PART, postgresql_where=PART)
sa.Index("tasks_newest_of_slot", tasks.c.slot, tasks.c.number)
sa.Index("tasks_finished", tasks.c.finished)
sa.Index("tasks_newest_of_owner", tasks.c.owner, tasks.c.number)

# What is to be run by tasks that have not begun on their hosts, by their ids.
orders = sa.Table(
    "orders",
    metadata,
    sa.Column("task_id", sa.Text, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)

# The hosts whose workers have announced themselves. Times are the database's.
hosts = sa.Table(
    "hosts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("started", sa.Double, nullable=False),
    # Its last sign of life, and how many there were: a clock may be set back.
    sa.Column("seen", sa.Double, nullable=False),
    sa.Column("beat", sa.BigInteger, nullable=False),
    # As JSON: its labels, how many tasks of each kind may run and wait, how it is.
    sa.Column("labels", sa.Text, nullable=False),
    sa.Column("room", sa.Text, nullable=False),
    sa.Column("readings", sa.Text, nullable=False),
    # Whether it takes nothing new on.
    sa.Column("draining", sa.Boolean, nullable=False),
)

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

# Browsers that have signed in, by a digest of what they send.
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column(
        "account",
        sa.Integer,
        sa.ForeignKey("accounts.number", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double, nullable=False, index=True),
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

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("message_id", sa.Text, nullable=False, unique=True),
    sa.Column("owner", sa.Text),
    sa.Column("request_id", sa.Text),
    # Where it is sent as a task.
    sa.Column("task_id", sa.Text),
    # Who sends it, and where: what it has not finished when it dies is not known.
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("template", sa.Text, nullable=False),
    # The one that is being tried, or was the last.
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("params", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("validity_seconds", sa.Integer),
    sa.Column("created", sa.Double, nullable=False),
    # When anything was last written of its sending.
    sa.Column("touched", sa.Double, nullable=False),
    sa.Column("finished", sa.Double),
    sa.Column("verdict", sa.Text),
    # What each provider that was tried said, as JSON.
    sa.Column("attempts", sa.Text, nullable=False),
    # When numbers and texts were replaced by digests of them.
    sa.Column("forgotten", sa.Double),
)

UNSENT = messages.c.finished.is_(None)

sa.Index(
    "messages_unsent",
    messages.c.host,
    sqlite_where=UNSENT,
    postgresql_where=UNSENT,
)
sa.Index("messages_newest_of_owner", messages.c.owner, messages.c.number)
sa.Index("messages_finished", messages.c.finished)
REMEMBERED = messages.c.forgotten.is_(None)
sa.Index(
    "messages_remembered",
    messages.c.finished,
    sqlite_where=REMEMBERED,
    postgresql_where=REMEMBERED,
)

message_receivers = sa.Table(
    "message_receivers",
    metadata,
    sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column(
        "message",
        sa.Integer,
        sa.ForeignKey("messages.number", ondelete="CASCADE"),
        nullable=False,
    ),
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
    # Whether it was refused because of a limit of the receiver's own.
    sa.Column("per_number", sa.Boolean, nullable=False, server_default=sa.false()),
    # How far each part of a long message got, as JSON.
    sa.Column("parts", sa.Text),
)
sa.Index(
    "message_receivers_of_message",
    message_receivers.c.message,
    message_receivers.c.position,
    unique=True,
)
sa.Index("message_receivers_by_provider_id", message_receivers.c.provider_id)
sa.Index("message_receivers_by_receiver", message_receivers.c.receiver)

# What happened to a message, and when.
message_events = sa.Table(
    "message_events",
    metadata,
    sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column(
        "message",
        sa.Integer,
        sa.ForeignKey("messages.number", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("provider", sa.Text),
    sa.Column("position", sa.Integer),  # of the receiver, where it is about one
    sa.Column("state", sa.Text),
    sa.Column("detail", sa.Text),
)

# What counts against the limits of SMS.
message_usage = sa.Table(
    "message_usage",
    metadata,
    sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("message_id", sa.Text, nullable=False, index=True),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False, index=True),
    sa.Column("count", sa.Integer, nullable=False),
)
sa.Index("message_usage_of_subject", message_usage.c.subject, message_usage.c.at)
