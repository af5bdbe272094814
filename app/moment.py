"""Moments, as they are written."""

from datetime import UTC, datetime


def rfc3339(when: datetime) -> str:
    """Return a moment in UTC, as RFC 3339 has it, with a `Z`."""
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def moment(seconds: float | None) -> str | None:
    """Return a moment, in seconds since the epoch, as :func:`rfc3339` does."""
    return None if seconds is None else rfc3339(datetime.fromtimestamp(seconds, UTC))
