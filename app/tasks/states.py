"""The states of a task, which go one way."""

from enum import StrEnum


class State(StrEnum):
    """QUEUED → STARTED → one of the others, which are final."""

    QUEUED = "QUEUED"
    STARTED = "STARTED"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"
    LOST = "LOST"
