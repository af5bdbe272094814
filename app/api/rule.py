"""The request, and its rule as it is documented: its parts by name, not by form."""

import re
from functools import cache

from flask import Request, request
from flask.globals import request_ctx

# What stands before the name of a part.
_FORM = re.compile(r"<[^<>]*:")


@cache
def plain(rule: str) -> str:
    """Return a rule as people write it: /v1/user/<uid>."""
    return _FORM.sub("<", rule)


def asked_rule() -> str | None:
    """Return the rule of this request, None where there is none of its path."""
    rule = request.url_rule
    return plain(rule.rule) if rule else None


def this_request() -> Request:
    """Return this request itself, for whoever asks it several things.

    Flask's `request` looks for it every time, which takes longer than its answer.
    """
    return request_ctx.request
