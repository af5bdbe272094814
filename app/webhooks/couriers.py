"""Threads that bring what is told to its receivers, a bounded number at a time."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection

MOST = 8
# One that hangs leaves others for the rest.
MOST_OF_HOST = MOST // 2


class Couriers:
    """Threads, each for one errand; whoever finds none is to come again."""

    def __init__(self) -> None:
        # Guards what follows, and tells of each errand that is over.
        self._changed = threading.Condition()
        self._running = 0
        self._of_host = Counter[str]()
        self._closing = False
        self._given_up = False

    @property
    def given_up(self) -> bool:
        """Whether those that still run are waited for no more."""
        return self._given_up

    def are_free(self, hosts: Collection[str]) -> bool:
        """Return whether one may go to these hosts now."""
        busiest = max((self._of_host[host] for host in hosts), default=0)
        is_room = self._running < MOST and busiest < MOST_OF_HOST
        return is_room and not self._closing

    def wait_until_free(self, hosts: Collection[str], *, seconds: float) -> bool:
        """Wait for one who may go to these hosts; return whether there is."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closing or self.are_free(hosts), seconds
            )
            return self.are_free(hosts)

    def send(self, hosts: Collection[str], errand: Callable[[], None]) -> bool:
        """Have an errand done at these hosts; return False where nobody is free."""
        hosts = set(hosts)
        with self._changed:
            if not self.are_free(hosts):
                return False
            self._running += 1
            self._of_host.update(hosts)
        thread = threading.Thread(
            target=self._run, args=(hosts, errand), name="courier", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads
            self._come_back(hosts)
            return False
        return True

    def close(self, *, seconds: float, cut: Callable[[], None]) -> bool:
        """Wait for all errands, cutting short what takes long; return whether all end.

        Those that do not are given up.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._running, seconds / 2)
        cut()
        with self._changed:
            left = max(0.0, deadline - time.monotonic())
            self._given_up = not self._changed.wait_for(lambda: not self._running, left)
        return not self._given_up

    def _run(self, hosts: Collection[str], errand: Callable[[], None]) -> None:
        try:
            errand()
        finally:
            self._come_back(hosts)

    def _come_back(self, hosts: Collection[str]) -> None:
        with self._changed:
            self._running -= 1
            self._of_host.subtract(hosts)
            self._of_host += Counter()  # forgets whom nobody goes to
            self._changed.notify_all()
