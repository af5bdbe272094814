"""Apprise, which has to be installed: some forty services that it has a URL for.

https://appriseit.com/services/. It tells success from everything else, and no more.
"""

import logging
from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import quote

from app.sms.http_provider import CONNECT_SECONDS
from app.sms.message import Accepted, Filled, Outcome
from app.sms.provider import OutcomeUnknown, ProviderUnreachable, SmsProvider

_PLACE = "{receiver}"


class AppriseProvider(SmsProvider):
    """A service of Apprise's, by its URL, with `{receiver}` where the number goes.

    It gives no id, and whatever fails may have been sent all the same.
    """

    tells_rejections: ClassVar[bool] = False

    def __init__(self, *, url: str, timeout_seconds: float = 10.0) -> None:
        if _PLACE not in url:
            raise ValueError(f"the URL of Apprise has no {_PLACE} for the number")
        self._url = url
        self._timeout_seconds = timeout_seconds
        # Its lines have payloads and URLs, of failures too.
        logging.getLogger("apprise").addFilter(_nothing)

    def send(
        self,
        template: Filled,
        receivers: Sequence[str],
        *,
        message_id: str,  # noqa: ARG002 - it has no field for it
        validity_seconds: int | None = None,  # noqa: ARG002 - nor for this
        receipts_url: str | None = None,  # noqa: ARG002 - it sends none
    ) -> Sequence[Outcome]:
        """Send to one number; see SmsProvider."""
        from apprise import Apprise  # noqa: PLC0415 - an optional part

        (number,) = receivers
        # Made for each message: a service keeps its state without a lock.
        service = Apprise.instantiate(self._url.replace(_PLACE, quote(number, safe="")))
        if service is None:
            raise ProviderUnreachable("Apprise does not know such a URL")
        service.socket_connect_timeout = min(CONNECT_SECONDS, self._timeout_seconds)
        service.socket_read_timeout = self._timeout_seconds
        # Asked itself, it asks once; Apprise above it would try again where the URL
        # says so, call a failure a success, and leave a thread behind.
        try:
            is_sent = service.notify(body=template.text, body_format="text")
        except Exception as error:  # noqa: BLE001 - forty services, and after sending
            raise OutcomeUnknown(type(error).__name__) from None
        if not is_sent:
            raise OutcomeUnknown("Apprise could not send it, or does not know")
        return [Accepted()]


def _nothing(_record: logging.LogRecord) -> bool:
    return False
