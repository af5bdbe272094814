"""What the pages with a list have in common: which page of it was asked for."""

from typing import Any

from flask import request

from app.api.pages import read_cursor
from app.errors import InvalidInput
from app.schema import Schema

#: Rows of a page of a list; the API gives more at a time.
ROWS = 50


def asked(schema: Schema, *, beside: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the members of the query, checked as the API checks its own.

    A form sends its empty fields too: those say nothing. `beside` are members that are
    no part of the list's. Raises InvalidInput.
    """
    given = {n: v for n, v in request.args.items() if v and n not in beside}
    if faults := schema.query_faults(given):
        raise InvalidInput(faults)
    return given


def place(query: dict[str, Any]) -> tuple[int, int | None]:
    """Take how many rows are wanted out of a query, and where the last page ended."""
    return query.pop("limit", ROWS), read_cursor(query.pop("cursor", None))
