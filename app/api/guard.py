"""Who may: decided before anything of a request is read."""

import re

from flask import current_app
from werkzeug.exceptions import Unauthorized

from app.errors import Fault, InvalidInput

_CALLER = re.compile(r"[A-Za-z0-9._-]{1,128}")


def caller_of(uuid: str) -> str:
    """Return the caller that a uuid of /api/exec and /api/poll stands for.

    Raises 401 where signed ones are wanted: nobody has a signing key yet. Else the
    uuid itself is the caller, or InvalidInput is raised.
    """
    if current_app.config["EXEC_TOKEN_REQUIRED"]:
        raise Unauthorized("The uuid is not one that a known caller has signed.")
    if not _CALLER.fullmatch(uuid):
        fault = "is not 1 to 128 letters, digits, dots, underscores or hyphens"
        raise InvalidInput([Fault("uuid", fault)])
    return uuid
