"""One output on its way to the server: what is held until that has it.

What the server has, or is known to have lost, ends at `_known`. What is pending begins
there, or later where some of it had to be dropped.
"""

from typing import Final

from app.tasks.output_log import SHORT_BYTES, LogWriter

from .holes import Holes, missing_bytes, outside, with_hole
from .layout import Keys, State, oldest
from .parcel import Parcel
from .sender import Sender

#: The most that is held of an output while the server does not take it.
PENDING_BYTES: Final = 1024 * 1024
#: The most of an output that is sent at once: a line waits while a flood is sent.
SEND_BYTES: Final = 64 * 1024
#: How long the command may be held back where the server takes less than it writes.
PATIENCE_SECONDS: Final = 1.0
#: How long its end waits for what is pending.
CLOSE_SECONDS: Final = 5.0


class StreamLog(LogWriter):
    """The writing end of an output that is kept in streams.

    Nobody can read it before it has begun to be sent, which more than a short one does
    by itself: one that ends before that is in its record alone.
    """

    def __init__(
        self, keys: Keys, sender: Sender, *, head_bytes: int, tail_bytes: int
    ) -> None:
        self._keys = keys
        self._sender = sender
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._short = bytearray()  # its beginning, for a record
        #: Whether all may read it from its beginning on.
        self.is_named = False
        # What follows is guarded by the sender's lock.
        self.end_offset = 0
        self._pending = bytearray()
        self._known = 0
        self._holes: Holes = ()
        self._told: State | None = None  # what the hash has
        self._is_asked_for = False  # what there is of it, by the sender
        self._has_begun = False

    @property
    def dropped_bytes(self) -> int:
        """Bytes that the command wrote and that are not kept."""
        with self._sender.lock:
            return self._state(self.end_offset).dropped

    @property
    def has_overflowed(self) -> bool:
        """Whether more was written than is kept; what a server lost is not meant."""
        return self.end_offset > self._head_bytes + self._tail_bytes

    def begin(self) -> None:
        """Send it from now on, with what was written before."""
        self.is_named = True
        self._sender.add(self)

    def append(self, data: memoryview) -> None:
        """Take what the command wrote; never fails, and holds it back shortly at most.

        Where the server is away or too slow, the oldest of what is pending is dropped.
        """
        if len(self._short) <= SHORT_BYTES:
            self._short += data[: SHORT_BYTES + 1 - len(self._short)]
            if len(self._short) > SHORT_BYTES and not self.is_named:
                self.begin()
        for start in range(0, len(data), SEND_BYTES):
            self._hold(data[start : start + SEND_BYTES])

    def short(self) -> bytes | None:
        """Return all that was written, if it is short."""
        return bytes(self._short) if len(self._short) <= SHORT_BYTES else None

    def settle(self, seconds: float = CLOSE_SECONDS) -> None:
        """Wait for so long until all is sent; what is not by then is dropped.

        The facts stay as they are then; the server forgets the output in time.
        """
        with self._sender.lock:
            self._sender.wait_for_answer(self._is_told, seconds)
            self._sender.forget(self)
            self._drop(len(self._pending))

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Settle it, if that is still to be done, and have who follows it look."""
        self.settle(seconds)
        self._tell()

    def discard(self) -> None:
        """Have the server forget it, after whatever is on its way there, and tell."""
        with self._sender.lock:
            self._sender.forget(self)
            was_sent = self._is_asked_for
        if was_sent:
            self._sender.say("UNLINK", *self._keys)
        self._tell()

    def next_parcel(self) -> Parcel | None:
        """Return what is to be sent, if there is something; under the lock."""
        data = bytes(self._pending[:SEND_BYTES])
        start = self._pending_start
        state = self._state(start + len(data))
        if not data and state == self._told:
            return None
        self._is_asked_for = True
        is_first = not self._has_begun
        return Parcel(self._keys, start, data, state, is_first, self._holes)

    def arrived(self, parcel: Parcel, end_before: int) -> None:
        """Note what the server took, and where the output ended for it before.

        Before what is known: it has forgotten what came since. Behind that: it took an
        earlier parcel, of which the answer was lost. Under the lock.
        """
        self._has_begun = True
        self._told = state = parcel.state
        holes = with_hole(parcel.holes, end_before, parcel.start)
        self._holes = outside(holes, state.head, state.oldest)
        self._known = state.end
        self._drop(self._known - self._pending_start)

    def tell_again(self) -> None:
        """Have all that is so told again, though it has been told; under the lock."""
        self._told = None

    def _tell(self) -> None:
        self._sender.say("PUBLISH", self._keys.channel, "")

    @property
    def _pending_start(self) -> int:
        return self.end_offset - len(self._pending)

    def _hold(self, piece: memoryview) -> None:
        """Add to what is pending, once there is room or patience is over."""
        most = PENDING_BYTES - len(piece)
        with self._sender.lock:
            self._sender.wait_for(lambda: len(self._pending) <= most, PATIENCE_SECONDS)
            self._pending += piece
            self.end_offset += len(piece)
            self._drop(len(self._pending) - PENDING_BYTES)
            self._sender.wake()

    def _drop(self, count: int) -> None:
        """Drop the oldest of what is pending, or has been sent."""
        if count > 0:
            del self._pending[:count]

    def _is_told(self) -> bool:
        return not self._pending and self._told == self._state(self.end_offset)

    def _state(self, end: int) -> State:
        """Return what is so once the server has all that is pending up to an offset."""
        head, tail = self._head_bytes, self._tail_bytes
        holes = with_hole(self._holes, self._known, self._pending_start)
        dropped = missing_bytes(holes, head, oldest(end, head, tail))
        return State(head, tail, end, dropped)
