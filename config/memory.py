"""Keeps no more memory than is used."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# Of what is used again and again the largest blocks are parts of an output, 256 KiB.
LARGE_BYTES = 4 * 1024 * 1024


@contextmanager
def kept_to_the_end() -> Iterator[None]:
    """Have nobody look for garbage in what is made here, not even at the end.

    What is imported stays as long as the process. To go through all of it meanwhile and
    once more at its end takes a third of the time of a start and a stop. Not so with
    gevent: in the end its locks go before who has one, and each would tell.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze() if "gevent" in sys.modules else gc.freeze()
        gc.enable()


def give_back_large_blocks() -> None:
    """Have the system be given back a large block of memory when it is freed.

    glibc would keep the next ones: with its first password, whose hash takes 19 MiB, a
    worker would get that much larger for good. Other C libraries have no such switch.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * LARGE_BYTES)
