"""Whose turn it is: a lock on a file, which the kernel gives back when its holder dies.

So one worker of all that share a folder does what only one should.
"""

import fcntl
import os
from contextlib import ExitStack
from pathlib import Path


def take_turn(lock_path: Path, held: ExitStack) -> bool:
    """Take the lock, to be kept for as long as `held` is; False: another's turn.

    Raises OSError where the file cannot be opened or locked.
    """
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    with ExitStack() as opened:
        opened.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        held.push(opened.pop_all())
    return True
