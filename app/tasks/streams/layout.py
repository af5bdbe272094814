"""How an output stands in Redis.

    bellhop:{task}:stdout         hash: head and tail (sizes), end, dropped; server
    bellhop:{task}:stdout:head    stream: the first bytes, never cut
    bellhop:{task}:stdout:tail    stream: what follows, cut from the front

The id of an entry is the offset of its end: what a reader at offset o wants next is the
first entry after `o`. Where an entry begins, its length tells; so a hole between two is
seen as exactly what it is. All that is changed of an output is changed in one
transaction, and told on the channel of the hash's name.

`server` is the run of the server that was told: after a restart it may have forgotten
what came last, until the writer has told it again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

#: The longest entry: a reader that wants few bytes does not get many.
ENTRY_BYTES = 32 * 1024

#: The only field of an entry.
FIELD = "b"

#: The field of the hash that says which run of the server was told.
SERVER = "server"


@dataclass(frozen=True)
class Keys:
    """Where one output of a task stands."""

    facts: str

    @classmethod
    def of(cls, task_id: str, stream: str) -> Self:
        """Return the keys of an output; what is in braces keeps them together."""
        return cls(f"bellhop:{{{task_id}}}:{stream}")

    @property
    def head(self) -> str:
        """The stream of the first bytes."""
        return f"{self.facts}:head"

    @property
    def tail(self) -> str:
        """The stream of all that follows."""
        return f"{self.facts}:tail"

    @property
    def channel(self) -> str:
        """Where changes are told."""
        return self.facts

    def __iter__(self) -> Iterator[str]:
        return iter((self.facts, self.head, self.tail))


@dataclass(frozen=True)
class State:
    """What the hash says of an output; in bytes."""

    head: int
    tail: int
    end: int
    dropped: int

    @property
    def oldest(self) -> int:
        """The first offset of the tail that is kept."""
        return oldest(self.end, self.head, self.tail)

    def fields(self) -> Mapping[str, int]:
        """Return it as the hash has it."""
        return vars(self)


#: The fields of the hash, in the order of a State's.
FIELDS = tuple(State.__annotations__)


def oldest(end: int, head_bytes: int, tail_bytes: int) -> int:
    """Return the first offset that the tail keeps when `end` is the end."""
    return max(head_bytes, end - tail_bytes)


def entries(start: int, data: bytes, head_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Return the entries for bytes, by the offsets of their ends.

    None has both bytes of the head and bytes of the tail.
    """
    position, stop = start, start + len(data)
    while position < stop:
        end = min(position + ENTRY_BYTES, stop)
        if position < head_bytes:
            end = min(end, head_bytes)
        yield end, data[position - start : end - start]
        position = end


def entry_id(end: int) -> str:
    """Return the id of the entry that ends there."""
    return f"{end}-0"
