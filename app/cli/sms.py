"""`flask --app server sms …`: try the vendors without them, check, ask them."""

import sys

import click
from flask import Flask
from flask.cli import AppGroup

from app.finding import Level
from app.services import Services
from app.sms.doctor import examine
from app.sms.number import mask
from app.sms.provider import OutcomeUnknown, ProviderUnreachable

from .door import Served

_PORT = 9020


def register(app: Flask, served: Served) -> None:
    """Give `app` the commands of text messages."""
    sms = AppGroup("sms", help="Text messages.")
    sms.command("doctor")(served(_doctor))
    sms.command("status")(click.argument("message_id", metavar="ID")(served(_status)))
    ports = click.IntRange(0, 65535)
    port = click.option("--port", type=ports, default=_PORT, show_default=True)
    sms.command("fake")(port(served(_fake)))
    app.cli.add_command(sms)


def _doctor(services: Services) -> None:
    """Look whether what is set can send, without sending."""
    findings = list(examine(services.templates, services.gateway, services.limits))
    for finding in findings:
        mark = finding.level if finding.is_fault else Level.OK
        click.echo(f"{mark:5} {finding.about}: {finding.words}")
    if any(finding.is_fault for finding in findings):
        sys.exit(1)


def _status(services: Services, message_id: str) -> None:
    """Ask the providers what became of the message ID, and show it."""
    message = services.outbox.get(message_id)
    try:
        asked = services.receipts.query(message)
    except (OutcomeUnknown, ProviderUnreachable) as error:
        raise click.ClickException(f"The provider gave no answer: {error}") from error
    if not asked:
        click.echo("Nobody was asked: it is settled, or its provider tells nothing.")
    for each in services.outbox.get(message_id).receivers:
        words = [mask(each.receiver), each.state, each.provider_code or ""]
        click.echo(" ".join(words).rstrip())


def _fake(services: Services, port: int) -> None:
    """Stand in for the vendors on this machine, until Ctrl-C.

    Messages are taken as the vendors take them, shown here, and receipts are sent.
    """
    # Servers and clients of HTTP, which nothing else has need of.
    from .vendors import stand_in  # noqa: PLC0415

    stand_in(services, port)
