"""Bellhop: the doors above the line, the rooms below it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def register(app: "Flask") -> None:
    """Give `app` its services and all its routes."""
    # ruff: noqa: PLC0415 - the process of a detached run has a room, and no doors.
    from app import cli
    from app.api import audit_log, request_log, routes
    from app.api import errors as error_door
    from app.services import Services
    from app.web import routes as pages

    app.extensions["bellhop"] = Services.build(app.config)
    request_log.register(app)
    audit_log.register(app)
    error_door.register(app)
    routes.register(app)
    pages.register(app)
    cli.register(app)
