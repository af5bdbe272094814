"""`flask --app server webhook-secret`."""

import click
from flask import Flask

from app.services import Services

from .door import Served


def register(app: Flask, served: Served) -> None:
    """Give `app` the command."""
    app.cli.command("webhook-secret")(served(_webhook_secret))


def _webhook_secret(services: Services) -> None:
    """Print what webhooks are signed by that were given no secret of their own."""
    click.echo(services.endings.secret)
