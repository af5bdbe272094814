"""How long something has taken, for people; `duration.js` says the same."""

from .words import t

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def lasting(seconds: float) -> str:
    """Return a duration, a long one by its two largest units."""
    if seconds < 0.9995:
        return t("{milliseconds} ms", milliseconds=max(0, round(seconds * 1000)))
    if seconds < 9.95:
        return t("{seconds} s", seconds=f"{seconds:.1f}")
    whole = round(seconds)
    if whole < _MINUTE:
        return t("{seconds} s", seconds=whole)
    if whole < _HOUR:
        minutes, rest = divmod(whole, _MINUTE)
        return t("{minutes} min {seconds} s", minutes=minutes, seconds=rest)
    if whole < _DAY:
        hours, rest = divmod(whole, _HOUR)
        return t("{hours} h {minutes} min", hours=hours, minutes=rest // _MINUTE)
    days, rest = divmod(whole, _DAY)
    return t("{days} d {hours} h", days=days, hours=rest // _HOUR)
