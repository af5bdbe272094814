"""No vendor at all: what was sent is shown to whoever develops, and not logged."""

import sys
from collections.abc import Sequence
from typing import ClassVar

from app.sms.message import Filled, Outcome
from app.sms.number import mask
from app.sms.provider import SmsProvider

from .memory import accepted


class ConsoleProvider(SmsProvider):
    """Accepts all that it is given, and writes a line for each to standard error."""

    batch_limit: ClassVar[int] = 1000

    def send(
        self,
        template: Filled,
        receivers: Sequence[str],
        *,
        message_id: str,  # noqa: ARG002 - it gives none back
        validity_seconds: int | None = None,  # noqa: ARG002 - it has none
        receipts_url: str | None = None,  # noqa: ARG002 - it sends none
    ) -> Sequence[Outcome]:
        """Show a message for each receiver."""
        text = template.text or f"{template.name} {dict(template.params)}"
        line = text.replace("\n", "\\n")
        shown = "".join(f"SMS to {mask(each)}: {line}\n" for each in receivers)
        sys.stderr.write(shown)
        sys.stderr.flush()
        return accepted(template, receivers)
