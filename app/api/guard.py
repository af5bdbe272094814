"""Who may: decided before anything of a request is read."""

import re

from flask import current_app
from werkzeug.exceptions import Unauthorized

from app.errors import Fault

_CALLER = re.compile(r"[A-Za-z0-9._-]{1,128}")


def caller_of(uuid: str) -> str:
    """Return the caller that a uuid of /api/exec and /api/poll stands for.

    Raises 401 where signed ones are wanted: nobody has a signing key yet. Else the
    uuid itself is the caller, in which there may be faults.
    """
    if current_app.config["EXEC_TOKEN_REQUIRED"]:
        raise Unauthorized("The uuid is not one that a known caller has signed.")
    return uuid


def caller_faults(caller: str) -> list[Fault]:
    """Return what is wrong with a caller's name."""
    if _CALLER.fullmatch(caller):
        return []
    fault = "is not 1 to 128 letters, digits, dots, underscores or hyphens"
    return [Fault("uuid", fault)]


def require_account() -> None:
    """Raise 401 where only accounts may: nobody has one yet."""
    if not current_app.config["OPEN_TO_ALL"]:
        raise Unauthorized("This takes an account.")
