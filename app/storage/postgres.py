"""How PostgreSQL is connected to: what is waited for, and for how long.

A host that is gone says nothing: whoever waits for it has to end that by himself.
"""

import select
import time
from typing import Any

import sqlalchemy as sa

# How long a lock is waited for that another worker's transaction holds.
LOCK_SECONDS = 5
# After how long without a word a transaction is ended, whose locks others wait for:
# ours say the next thing in milliseconds, unless their process or host has stopped.
SILENT_SECONDS = 10
# Between looks whether a connection that nobody uses is still good.
IDLE_SECONDS = 30

# What libpq is told unless DATABASE_URL says otherwise. A host that does not answer is
# given up after CONNECT_SECONDS, or 15 s where it has been connected to.
_NETWORK = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,  # ms
}

_SESSION = (
    # Of statements that are transactions of their own; a server may isolate more, and
    # then refuses what comes at the same moment.
    "SET default_transaction_isolation = 'read committed'",
    f"SET lock_timeout = '{LOCK_SECONDS}s'",
    f"SET idle_in_transaction_session_timeout = '{SILENT_SECONDS}s'",
)


def network_of(url: sa.URL) -> dict[str, int]:
    """Return what libpq is told of the network beside what the URL says."""
    return {name: each for name, each in _NETWORK.items() if name not in url.query}


def set_up(engine: sa.Engine) -> None:
    """Have `engine` prepare its connections, look at them, and keep rows to itself."""
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "checkin", _note_use)
    sa.event.listen(engine, "handle_error", _cut_detail)

    def check(connection: Any, record: Any, _proxy: Any) -> None:
        if _may_be_lost(connection, record) and not _answers(engine, connection):
            # The others were made before, and are lost with it.
            raise sa.exc.InvalidatePoolError

    sa.event.listen(engine, "checkout", check)


def _prepare(connection: Any, record: Any) -> None:
    connection.autocommit = True
    connection.execute("; ".join(_SESSION))
    connection.autocommit = False
    _note_use(connection, record)


def _note_use(_connection: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _may_be_lost(connection: Any, record: Any) -> bool:
    """Return whether the server has said something, or nobody has for long.

    A connection that nobody uses gets its end, and hardly anything else. To look at
    it costs a microsecond; to ask the server each time, a third of all that is asked.
    """
    if time.monotonic() - record.info["used"] > IDLE_SECONDS:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _answers(engine: sa.Engine, connection: Any) -> bool:
    try:
        return engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error:
        return False


def _cut_detail(context: sa.engine.ExceptionContext) -> None:
    """Keep the first line of an error's text: later ones show the row."""
    for error in (context.original_exception, context.sqlalchemy_exception):
        if error is not None and error.args:
            error.args = (str(error.args[0]).partition("\n")[0],)
