"""How a command gets the services, how it ends, and what it prints and keeps."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from flask import Flask

from app.errors import BellhopError
from app.services import Services
from config.logger import config_logger, log_settings

Command = Callable[..., None]
#: Lets a command use the services, which it is given first.
Served = Callable[[Command], Command]


def serve(app: Flask) -> Served:
    """Return what lets a command use the services of `app`."""
    services: Services = app.extensions["bellhop"]

    def served(command: Command) -> Command:
        """Give a command the services, and say in one line what went wrong."""

        @wraps(command)
        def run(*arguments: Any, **options: Any) -> None:
            config_logger(**log_settings(app.config), stream=sys.stderr)
            try:
                command(services, *arguments, **options)
            except BellhopError as error:
                raise click.ClickException(str(error)) from error
            finally:
                services.close()

        return run

    return served


def keep(services: Services, action: str, name: str) -> None:
    """Keep in the audit what was done, and to whom or what."""
    services.audit.record(
        actor=f"uid {os.getuid()}",
        via="terminal",
        action=action,
        target=name,
        outcome="success",
    )


def printable(text: str) -> str:
    """Return a text on one line: what others have named may have anything in it."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
