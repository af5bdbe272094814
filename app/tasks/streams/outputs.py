"""The outputs of tasks that are kept in Redis or Valkey, as a folder keeps others."""

import time
from contextlib import suppress
from itertools import chain, product

import structlog

from app.errors import StorageUnavailable
from app.tasks.output import STDOUT, STREAMS

from .connection import AWAY, CALL_SECONDS, Redis, RedisError, connect, translated
from .layout import Keys, State
from .log import StreamLog
from .notices import StreamNotices
from .reader import StreamReader, find_state
from .sender import Sender

#: How long one that did not answer is not asked about another output: who lists many
#: tasks is not to wait for each.
SILENT_SECONDS = 0.5

log = structlog.get_logger(__name__)


class StreamOutputs:
    """The outputs on one server.

    Nothing is connected or started before it is used, which has to be after a fork.
    """

    def __init__(
        self, url: str, *, head_bytes: int, tail_bytes: int, keep_seconds: int
    ) -> None:
        self._client: Redis = connect(url)
        self._silent_until = 0.0  # on the monotonic clock
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._sender = Sender(self._client, keep_seconds=keep_seconds)
        self.notices = StreamNotices(self._client)

    def create(
        self,
        task_id: str,
        stream: str = STDOUT,
        *,
        takes_space: bool = True,  # noqa: ARG002 - what is not written takes none
    ) -> StreamLog:
        """Return a new output; what was kept under its name is no more.

        It is there for readers once the server answers, which is not waited for.
        """
        output = self._new(task_id, stream)
        output.begin()
        return output

    def create_unnamed(self, task_id: str) -> StreamLog:
        """Return a new output of which the server is not told yet.

        Most are short: what is in the record at once need not be brought there too.
        """
        return self._new(task_id, STDOUT)

    def name(self, output: StreamLog, task_id: str) -> None:  # noqa: ARG002 - it has one
        """Have an output sent from now on."""
        output.begin()

    def give_back(self, output: StreamLog) -> None:
        """Have an output forgotten that a record has in it, and tell who follows it."""
        output.discard()

    def left_by(self, task_id: str) -> dict[str, int]:
        """Return what a record is to say of the outputs that a dead writer left.

        Where the server is away, nothing: that is no reason to leave the task's end
        open, which who reads the output later finds longer.
        """
        facts = dict[str, int]()
        try:
            for stream, prefix in zip(STREAMS, ("", "stderr_"), strict=True):
                if reader := self.open(task_id, stream):
                    found = reader.facts().items()
                    facts |= {prefix + name: value for name, value in found}
        except StorageUnavailable as error:
            cause = str(error.__cause__)
            log.warning("output.end_not_known", task_id=task_id, error=cause)
        return facts

    def open(
        self, task_id: str, stream: str = STDOUT, *, end_offset: int = 0
    ) -> StreamReader | None:
        """Return a reader of a task's output, None where none is kept.

        `end_offset` is what a task's record says once it has finished, which the
        server may have lost. Raises StorageUnavailable.
        """
        keys = Keys.of(task_id, stream)
        state = self._state(keys)
        if state is None:
            return None
        return StreamReader(self._client, keys, state, end_offset=end_offset)

    def make_watched(self, task_id: str) -> None:
        """Do nothing: who waits for a channel makes it."""

    def watched(self, task_id: str, stream: str = STDOUT) -> str:
        """Return the channel to wait for with `notices`."""
        return Keys.of(task_id, stream).channel

    def tell(self, task_id: str) -> None:
        """Have those look who wait for a task's output: its record has changed.

        Where the server is away, they look by themselves.
        """
        with suppress(RedisError):
            for stream in STREAMS:
                self._client.publish(self.watched(task_id, stream), "")

    def remove(self, *task_ids: str) -> None:
        """Remove tasks' outputs if there are any. Raises StorageUnavailable."""
        outputs = (Keys.of(*each) for each in product(task_ids, STREAMS))
        if keys := list(chain.from_iterable(outputs)):
            with translated():
                self._client.unlink(*keys)

    def task_ids(self, *, older_than_seconds: float) -> list[str]:  # noqa: ARG002
        """Return none: the server itself forgets what nobody remembers."""
        return []

    def check(self) -> None:
        """Raise StorageUnavailable where the server takes nothing now."""
        with translated():
            self._client.set("bellhop:check", "", ex=1)

    def _new(self, task_id: str, stream: str) -> StreamLog:
        sizes = {"head_bytes": self._head_bytes, "tail_bytes": self._tail_bytes}
        return StreamLog(Keys.of(task_id, stream), self._sender, **sizes)

    def _state(self, keys: Keys) -> State | None:
        """Return what the server says of an output, unless it has just been silent."""
        begun = time.monotonic()
        if begun < self._silent_until:
            raise StorageUnavailable(AWAY)
        try:
            return find_state(self._client, keys)
        except StorageUnavailable:
            now = time.monotonic()
            if now - begun >= CALL_SECONDS:
                self._silent_until = now + SILENT_SECONDS
            raise

    def close(self) -> None:
        """End the threads and the connections; outputs that are open lose the rest."""
        self.notices.close()
        self._sender.close()
        self._client.close()
