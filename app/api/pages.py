"""Pages of a list: an opaque cursor, and the link to the next page."""

import base64
import binascii
from urllib.parse import urlencode

from flask import request

from app.errors import Fault, InvalidInput


def read_cursor(text: str | None) -> int:
    """Return the number that the last page ended with, -1 before the first page.

    Raises InvalidInput for a text that no page has given.
    """
    if text is None:
        return -1
    try:
        number = int(base64.b64decode(text, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        number = -1
    if not 0 <= number < 2**62 or make_cursor(number) != text:
        raise InvalidInput([Fault("cursor", "is not one that a page has given")])
    return number


def make_cursor(number: int) -> str:
    """Return the text by which the page after `number` is asked for."""
    return base64.urlsafe_b64encode(str(number).encode()).decode()


def next_page(number: int) -> str:
    """Return the path of the page after `number`, with this request's query else."""
    query = request.args.to_dict() | {"cursor": make_cursor(number)}
    return f"{request.path}?{urlencode(query)}"
