"""Amazon's SNS: Publish to a number, by boto3, which has to be installed.

https://docs.aws.amazon.com/sns/latest/api/API_Publish.html. Whether a message was
delivered it tells to its own logs only.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from app.sms.http_provider import (
    CONNECT_SECONDS,
    POOL_CONNECTIONS,
    is_handshake_failure,
)
from app.sms.message import Accepted, Category, Filled, Outcome, Rejected
from app.sms.provider import OutcomeUnknown, ProviderUnreachable, SmsProvider

# https://docs.aws.amazon.com/sns/latest/api/CommonErrors.html and Publish's own.
_CATEGORY_OF = {
    "AccessDenied": Category.AUTH,
    "AccessDeniedException": Category.AUTH,
    "AuthorizationError": Category.AUTH,
    "ExpiredToken": Category.AUTH,
    "IncompleteSignature": Category.AUTH,
    "InvalidClientTokenId": Category.AUTH,
    "InvalidSecurity": Category.AUTH,
    "MissingAuthenticationToken": Category.AUTH,
    "RequestExpired": Category.AUTH,
    "SignatureDoesNotMatch": Category.AUTH,
    "OptInRequired": Category.ACCOUNT,
    "Throttled": Category.RATE_LIMITED,
    "Throttling": Category.RATE_LIMITED,
    "ThrottlingException": Category.RATE_LIMITED,
    "OptedOut": Category.COMPLIANCE,
    "InvalidParameter": Category.REQUEST,
    "InvalidParameterValue": Category.REQUEST,
    "ParameterValueInvalid": Category.REQUEST,
    "ValidationError": Category.REQUEST,
}
# What an InvalidParameter has in its words when it is about the number.
_OPTED_OUT = "opted out"
_NUMBER = "PhoneNumber"


class SnsProvider(SmsProvider):
    """Amazon's SNS, with the credentials that boto3 finds by itself."""

    def __init__(
        self,
        *,
        region: str,
        url: str | None = None,
        sender_id: str | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._region = region
        self._url = url or None
        self._sender_id = sender_id
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()  # guards _client
        self._client: Any = None

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
        from botocore import (  # type: ignore[import-untyped]  # noqa: PLC0415
            exceptions as known,
        )
        from botocore.parsers import (  # type: ignore[import-untyped]  # noqa: PLC0415
            ResponseParserError,
        )

        (number,) = receivers
        try:
            answer = self._opened().publish(
                PhoneNumber=number,
                Message=template.text,
                MessageAttributes=self._attributes(),
            )
        except known.ClientError as error:
            return [_refusal(error.response)]
        except (known.NoCredentialsError, known.PartialCredentialsError) as error:
            return [Rejected(Category.AUTH, type(error).__name__)]
        except (
            known.EndpointConnectionError,
            known.ConnectTimeoutError,
            known.ProxyConnectionError,
        ) as error:
            raise ProviderUnreachable(type(error).__name__) from None
        except known.SSLError as error:
            if is_handshake_failure(error):
                raise ProviderUnreachable(type(error).__name__) from None
            raise OutcomeUnknown(type(error).__name__) from None
        except (known.BotoCoreError, ResponseParserError) as error:
            raise OutcomeUnknown(type(error).__name__) from None
        if not answer.get("MessageId"):
            raise OutcomeUnknown("the answer has no MessageId")
        return [Accepted(answer["MessageId"])]

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _attributes(self) -> Mapping[str, Mapping[str, str]]:
        values = {"AWS.SNS.SMS.SMSType": "Transactional"}
        if self._sender_id:
            values["AWS.SNS.SMS.SenderID"] = self._sender_id
        return {
            name: {"DataType": "String", "StringValue": value}
            for name, value in values.items()
        }

    def _opened(self) -> Any:
        """Return the client, made on first use: that takes a while."""
        with self._lock:
            if self._client is None:
                self._client = self._new_client()
            return self._client

    def _new_client(self) -> Any:
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - an optional part
        from botocore.config import (  # type: ignore[import-untyped]  # noqa: PLC0415
            Config,
        )

        for name in ("boto3", "botocore"):  # their debug lines have whole requests
            logging.getLogger(name).setLevel(logging.INFO)
        config = Config(
            connect_timeout=min(CONNECT_SECONDS, self._timeout_seconds),
            read_timeout=self._timeout_seconds,
            max_pool_connections=POOL_CONNECTIONS,
            retries={"total_max_attempts": 1, "mode": "standard"},
        )
        return boto3.session.Session().client(
            "sns", region_name=self._region, endpoint_url=self._url, config=config
        )


def _refusal(response: Mapping[str, Any]) -> Rejected:
    """Return what an error says; raises OutcomeUnknown where it refuses nothing."""
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    code, words = response["Error"].get("Code", ""), response["Error"].get("Message")
    if not 400 <= status < 500:
        raise OutcomeUnknown(f"the answer is a {status}")
    category = _CATEGORY_OF.get(code, Category.UNKNOWN)
    if category is Category.REQUEST and _OPTED_OUT in (words or ""):
        category = Category.COMPLIANCE
    elif category is Category.REQUEST and _NUMBER in (words or ""):
        category = Category.RECIPIENT
    return Rejected(category, code, words or "")
