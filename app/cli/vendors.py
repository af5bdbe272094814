"""`flask --app server sms fake`: the vendors, on this machine."""

import signal
import time
from contextlib import suppress

import click
import urllib3

from app.services import Services
from app.sms.fake.server import FakeServer
from app.sms.fake.vendor import Sent
from app.sms.fake.vendors import all_vendors

# Between looks for messages whose receipts are due.
_LOOK_SECONDS = 0.2
_RECEIPT_SECONDS = 10


def stand_in(services: Services, port: int) -> None:
    """Serve until TERM or Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does
    try:
        server = FakeServer(all_vendors(), port=port)
    except OSError as error:
        words = f"Nothing can listen on port {port}: {error.strerror}."
        raise click.ClickException(words) from error
    with suppress(KeyboardInterrupt), server:
        for vendor in server.vendors.values():
            for name, value in vendor.settings_at(server.url).items():
                click.echo(f"{name}={value}")
        click.echo(f"# what it was sent: {server.url}/_/sent; it ends with Ctrl-C")
        while True:
            time.sleep(_LOOK_SECONDS)
            for each in server.news():
                _show(services, server, each)


def _show(services: Services, server: FakeServer, sent: Sent) -> None:
    """Show a message, and tell that it was delivered, where that can be told."""
    words = sent.text or f"{sent.template} {sent.params}"
    click.echo(f"{sent.vendor} to {sent.receiver}: {words}")
    url = sent.receipts_url or services.gateway.receipts_url(sent.vendor)
    if not url:
        return
    try:
        push = server.vendors[sent.vendor].receipt(sent, delivered=True, url=url)
        urllib3.request(
            push.method,
            push.url,
            headers=dict(push.headers),
            body=push.body,
            timeout=_RECEIPT_SECONDS,
            retries=False,
        )
    except NotImplementedError:
        return
    except urllib3.exceptions.HTTPError as error:
        click.echo(f"# its receipt was not taken: {type(error).__name__}")
