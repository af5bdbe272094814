"""Bellhop: the doors above the line, the rooms below it."""

from flask import Flask

from app.api import errors, request_log, routes
from app.services import Services


def register(app: Flask) -> None:
    """Give `app` its services and all its routes."""
    app.extensions["bellhop"] = Services.build(app.config)
    request_log.register(app)
    errors.register(app)
    routes.register(app)
