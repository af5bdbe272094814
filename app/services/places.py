"""So many places for requests that take a while: who comes beyond is sent away."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import WaitersExceeded


@contextmanager
def place(places: threading.BoundedSemaphore) -> Iterator[None]:
    """Hold one of so many places; raise WaitersExceeded where none is free."""
    if not places.acquire(blocking=False):
        raise WaitersExceeded
    try:
        yield
    finally:
        places.release()
