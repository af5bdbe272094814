"""The outputs of tasks that are kept in Redis or Valkey, as a folder keeps others."""

from app.tasks.output import STDOUT, STREAMS

from .connection import Redis, connect, translated
from .layout import Keys
from .log import StreamLog
from .notices import StreamNotices
from .reader import StreamReader, find_state
from .sender import Sender


class StreamOutputs:
    """The outputs on one server.

    Nothing is connected or started before it is used, which has to be after a fork.
    """

    def __init__(
        self, url: str, *, head_bytes: int, tail_bytes: int, keep_seconds: int
    ) -> None:
        self._client: Redis = connect(url)
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._sender = Sender(self._client, keep_seconds=keep_seconds)
        self.notices = StreamNotices(self._client)

    def create(self, task_id: str, stream: str = STDOUT) -> StreamLog:
        """Return a new output; what was kept under its name is no more.

        It is there for readers once the server answers, which is not waited for.
        """
        sizes = {"head_bytes": self._head_bytes, "tail_bytes": self._tail_bytes}
        output = StreamLog(Keys.of(task_id, stream), self._sender, **sizes)
        self._sender.add(output)
        return output

    def open(
        self, task_id: str, stream: str = STDOUT, *, end_offset: int = 0
    ) -> StreamReader | None:
        """Return a reader of a task's output, None where none is kept.

        `end_offset` is what a task's record says once it has finished, which the
        server may have lost. Raises StorageUnavailable.
        """
        keys = Keys.of(task_id, stream)
        state = find_state(self._client, keys)
        if state is None:
            return None
        return StreamReader(self._client, keys, state, end_offset=end_offset)

    def channel(self, task_id: str, stream: str = STDOUT) -> str:
        """Return what to wait for with `notices`."""
        return Keys.of(task_id, stream).channel

    def tell(self, task_id: str) -> None:
        """Have those look who wait for a task's output: its record has changed.

        Raises StorageUnavailable.
        """
        with translated():
            for stream in STREAMS:
                self._client.publish(self.channel(task_id, stream), "")

    def remove(self, task_id: str) -> None:
        """Remove a task's outputs if there are any. Raises StorageUnavailable."""
        keys = [key for stream in STREAMS for key in Keys.of(task_id, stream)]
        with translated():
            self._client.unlink(*keys)

    def check(self) -> None:
        """Raise StorageUnavailable where the server does not answer."""
        with translated():
            self._client.ping()

    def close(self) -> None:
        """End the threads and the connections; outputs that are open lose the rest."""
        self.notices.close()
        self._sender.close()
        self._client.close()
