"""Reads an output that is kept in streams."""

from typing import Any, Final

from app.tasks.output_log import Chunk, LogReader

from .connection import Redis, run_of, translated
from .layout import ENTRY_BYTES, FIELD, FIELDS, SERVER, Keys, State

#: The most entries that are asked for at once.
MOST_ENTRIES: Final = 256

_Entries = list[tuple[int, bytes]]


def find_state(client: Redis, keys: Keys) -> State | None:
    """Return what the server says of an output, None where it knows of none.

    Raises StorageUnavailable.
    """
    with translated():
        return _state(client.execute_command("HMGET", keys.facts, *FIELDS))


class StreamReader(LogReader):
    """A reading end of an output; its calls raise StorageUnavailable.

    Where the server forgets the output, all is missing that it was known to have.
    """

    def __init__(
        self, client: Redis, keys: Keys, state: State, *, end_offset: int = 0
    ) -> None:
        self._client = client
        self._keys = keys
        self._state = state
        self._least_end = end_offset  # of a record: the server may have lost the end
        self._entry_bytes = ENTRY_BYTES  # of the last ones that were read

    def __exit__(self, *exc_info: object) -> None:
        pass

    def end_offset(self) -> int:
        """Return how many bytes have been written so far."""
        self._state = find_state(self._client, self._keys) or self._state
        return max(self._least_end, self._state.end)

    def knows_end(self) -> bool:
        """Return whether its writer has told it to the server as that runs now."""
        with translated():
            told = self._client.hget(self._keys.facts, SERVER)
            return told == run_of(self._client).encode()

    def facts(self) -> dict[str, int]:
        """Return what a task's record would say of its output now."""
        end = self.end_offset()
        dropped_bytes = self._state.dropped + end - self._state.end
        return {"end_offset": end, "dropped_bytes": dropped_bytes}

    def read(self, offset: int, limit: int) -> Chunk:
        """Return up to `limit` bytes from `offset`, or from where they are kept.

        Empty at the end, and where nothing up to it is kept. Fewer bytes than asked
        for do not mean the end.
        """
        head_bytes = self._state.head
        if offset < head_bytes:
            found = self._fetch(self._keys.head, offset, limit)
            if found or self._state.end <= head_bytes:
                return self._chunk(found, offset, offset, limit)
        found = self._fetch(self._keys.tail, max(offset, head_bytes), limit)
        oldest = max(offset, self._state.oldest)
        return self._chunk(found, offset, oldest, limit)

    def _fetch(self, key: str, offset: int, limit: int) -> _Entries:
        """Return entries with what follows an offset.

        They and the state are of one moment.
        """
        count = min(MOST_ENTRIES, limit // self._entry_bytes + 2)
        after = f"({offset}-0"
        with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.execute_command("HMGET", self._keys.facts, *FIELDS)
            pipe.execute_command("XRANGE", key, after, "+", "COUNT", count)
            fields, found = pipe.execute()
        self._state = _state(fields) or self._state
        entries = [(_end(name), entry[FIELD.encode()]) for name, entry in found]
        if entries:
            total_bytes = sum(len(data) for _, data in entries)
            self._entry_bytes = total_bytes // len(entries)
        return entries

    def _chunk(self, entries: _Entries, asked: int, position: int, limit: int) -> Chunk:
        """Return what entries have from a position on, up to the next hole.

        Where they have nothing, nothing up to the end is kept.
        """
        start, data = max(asked, self._state.end), bytearray()
        for end, piece in entries:
            first = max(end - len(piece), position)
            if first >= end:  # before what a file would have
                continue
            if not data:
                start = first
            elif first > position or len(data) >= limit:
                break
            data += piece[first - end :]
            position = end
        count = max(0, min(limit, self._state.end - start))
        return Chunk(start, bytes(data[:count]))


def _state(fields: list[Any]) -> State | None:
    return None if None in fields else State(*map(int, fields))


def _end(name: bytes) -> int:
    return int(name.partition(b"-")[0])
