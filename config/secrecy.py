"""Keeps what this process knows from the commands that it runs."""

import ctypes

_PR_SET_DUMPABLE = 4


def hide_process() -> None:
    """Give what /proc shows of this process's memory to root alone.

    A command runs as the same user, who could else read in /proc/<pid>/environ what
    was set when the service started: passwords and keys. What is forked from here on
    inherits it, up to an exec. A service that is root's cannot hide from its commands.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
