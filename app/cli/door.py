"""How a command gets the services, and how it ends."""

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
