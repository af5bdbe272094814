"""What is sent of one output at once, and how it is said to the server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .connection import ResponseError
from .holes import Holes
from .layout import FIELD, SERVER, Keys, State, entries, entry_id

# What the server says of an entry that it has already.
_HAS_IT = "equal or smaller"


@dataclass(frozen=True)
class Parcel:
    """Bytes of an output, and what is so of it once the server has them."""

    keys: Keys
    start: int
    data: bytes
    state: State
    is_first: bool
    holes: Holes  # of what was known before

    def queue(self, pipe: Any, *, keep_seconds: int, server: str) -> int:
        """Add the commands to a transaction; return how many they are.

        The answer to the first one is the end that the server knew before.
        """
        before = len(pipe)
        pipe.execute_command("HGET", self.keys.facts, "end")
        if self.is_first:  # a task may be run again: what it wrote before is no more
            pipe.execute_command("UNLINK", *self.keys)
        for end, data in entries(self.start, self.data, self.state.head):
            key = self.keys.head if end <= self.state.head else self.keys.tail
            pipe.execute_command("XADD", key, entry_id(end), FIELD, data)
        least = entry_id(self.state.oldest + 1)
        pipe.execute_command("XTRIM", self.keys.tail, "MINID", least)
        fields = [word for field in self.state.fields().items() for word in field]
        pipe.execute_command("HSET", self.keys.facts, *fields, SERVER, server)
        for key in self.keys:
            pipe.execute_command("EXPIRE", key, keep_seconds)
        pipe.execute_command("PUBLISH", self.keys.channel, "")
        return len(pipe) - before

    def end_before(self, answers: Sequence[Any]) -> int:
        """Return where the output ended for the server before this came.

        Raises the first error among the answers that does not say: I have that.
        """
        for answer in answers:
            is_known = isinstance(answer, ResponseError) and _HAS_IT in str(answer)
            if isinstance(answer, Exception) and not is_known:
                raise answer
        return 0 if self.is_first else int(answers[0] or 0)


class Source(Protocol):
    """Where parcels come from; all is called under the sender's lock."""

    def next_parcel(self) -> Parcel | None:
        """Return what is to be sent, if there is something."""

    def arrived(self, parcel: Parcel, end_before: int) -> None:
        """Note what the server took, and where the output ended for it before."""

    def tell_again(self) -> None:
        """Have all that is so told again, though it has been told."""
