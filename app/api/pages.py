"""Pages of a list: an opaque cursor, and the link to the next page."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlencode

from flask import request

from app.errors import Fault, InvalidInput

T = TypeVar("T")

#: What the answer with a page may have, beside what all have.
PAGE_HEADERS = ("Link",)


def read_cursor(text: str | None) -> int | None:
    """Return the number that the last page ended with, None before the first page.

    Raises InvalidInput for a text that no page has given.
    """
    if text is None:
        return None
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


def cut(
    found: Sequence[T], limit: int, number_of: Callable[[T], int]
) -> tuple[Sequence[T], list[dict[str, str]], dict[str, str]]:
    """Return a page of what was found, its links, and the same as headers.

    One more was looked for than the page holds: that tells whether there is a next.
    """
    page = found[:limit]
    if len(found) <= limit:
        return page, [], {}
    href = _next_page(number_of(page[-1]))
    return page, [{"rel": "next", "href": href}], {"Link": f'<{href}>; rel="next"'}


def _next_page(number: int) -> str:
    """Return the path of the page after `number`, with this request's query else."""
    query = request.args.to_dict() | {"cursor": make_cursor(number)}
    return f"{request.path}?{urlencode(query)}"
