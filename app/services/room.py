"""How many tasks this host has room for."""

from collections.abc import Mapping
from typing import Any

from app.storage.task_store import Room


def room_of(settings: Mapping[str, Any]) -> dict[str, Room]:
    """Return how many tasks of each kind may run and wait."""
    return {
        "exec": Room(settings["EXEC_MAX_RUNNING"], settings["EXEC_MAX_QUEUED"]),
        "iostat": Room(settings["IOSTAT_MAX_RUNNING"], 0),
        "sms": Room(settings["SMS_MAX_RUNNING"], settings["SMS_MAX_QUEUED"]),
    }
