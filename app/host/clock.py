"""The time, and whether somebody keeps it right."""

import ctypes
import time

_STA_UNSYNC = 0x0040  # linux/timex.h


class _Timex(ctypes.Structure):
    """The beginning of struct timex, and room for its rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset_to_esterror", ctypes.c_long * 4),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


class Clock:
    """The host's clock; a test may have another."""

    def now(self) -> float:
        """Return the time, in seconds since 1970."""
        return time.time()

    def is_synchronised(self) -> bool | None:
        """Return whether the kernel is told the time by somebody; None: it won't say.

        That is adjtimex(2) with nothing to be changed.
        """
        timex = _Timex()
        if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) < 0:
            return None
        return not timex.status & _STA_UNSYNC
