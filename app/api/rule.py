"""A rule of the URL map as it is documented: its parts by name, not by form."""

import re
from functools import cache

from flask import request

# What stands before the name of a part.
_FORM = re.compile(r"<[^<>]*:")


@cache
def plain(rule: str) -> str:
    """Return a rule as people write it: /v1/user/<uid>."""
    return _FORM.sub("<", rule)


def asked_rule() -> str | None:
    """Return the rule of this request, None where there is none of its path."""
    return plain(request.url_rule.rule) if request.url_rule else None
