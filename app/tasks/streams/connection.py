"""The connection to Redis or Valkey: the one file that knows the library."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from app.errors import StorageUnavailable

__all__ = [
    "AWAY",
    "CALL_SECONDS",
    "ConnectionFailed",
    "PubSub",
    "Redis",
    "RedisError",
    "ResponseError",
    "connect",
    "run_of",
    "translated",
]

#: How long any call may take, and any connecting.
CALL_SECONDS: Final = 1.0

#: What callers are told where the server is away.
AWAY: Final = "Outputs cannot be read now; what has been started goes on, try again."


def connect(url: str) -> Redis:
    """Return a client of a server; nothing is connected before it is used.

    It never tries again by itself: whoever writes has to know what was lost between.
    """
    return Redis.from_url(
        url,
        socket_timeout=CALL_SECONDS,
        socket_connect_timeout=CALL_SECONDS,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def run_of(client: Redis) -> str:
    """Return which run of the server this is: another one after each start."""
    return str(client.info("server")["run_id"])


@contextmanager
def translated() -> Iterator[None]:
    """Raise StorageUnavailable for what goes wrong with the server."""
    try:
        yield
    except RedisError as error:
        raise StorageUnavailable(AWAY) from error
