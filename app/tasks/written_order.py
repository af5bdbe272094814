"""An order as it is kept until its parts are begun: JSON, for any process.

It may have secrets, in the environment and in what the command reads: it is for who
runs it, and is shown to nobody.
"""

import json
from collections.abc import Mapping

from .order import Order
from .written_command import read_command, written_command


def write(order: Order, *, base: Mapping[str, str]) -> bytes:
    """Return an order as JSON; what its environment has of `base` is left out."""
    command = written_command(order.command, less=base)
    return json.dumps({**vars(order), "command": command}).encode()


def read(written: bytes, *, base: Mapping[str, str]) -> Order:
    """Return the order that was written, with the reader's own `base` around it."""
    document = json.loads(written)
    command = read_command(document["command"], base=base)
    notify = tuple(document["notify"])
    return Order(**{**document, "command": command, "notify": notify})
