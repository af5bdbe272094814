"""A letter as JSON has it, for a process that did not check it."""

from collections.abc import Mapping
from typing import Any

from .gateway import Letter
from .templates import SmsTemplate


def written_letter(letter: Letter) -> dict[str, Any]:
    """Return a letter as JSON, with its template: another host may have none of it."""
    template = {"name": letter.template.name, "document": letter.template.document}
    plain = {"template": template, "params": dict(letter.params)}
    return {**vars(letter), **plain}


def read_letter(document: Mapping[str, Any]) -> Letter:
    """Return the letter that was written."""
    return Letter(**{**document, "template": SmsTemplate(**document["template"])})
