"""What every vendor that is stood in for has in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit


class Scenario(StrEnum):
    """What is to become of a request."""

    SUCCESS = "success"
    NUMBER = "number"  # its first number is refused
    AUTH = "auth"
    BALANCE = "balance"
    THROTTLE = "throttle"  # too many requests of ours
    PHONE_LIMIT = "phone_limit"  # too many to the first number
    # These have taken the message, as far as the vendor is concerned.
    ERROR = "error"  # a 5xx
    TIMEOUT = "timeout"  # no answer in time
    RESET = "reset"  # the connection is reset before the answer
    MALFORMED = "malformed"  # a 200 that cannot be read


@dataclass(frozen=True)
class Asked:
    """A request as it came; names of headers are in lower case."""

    method: str
    target: str  # path and query
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The path without the query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters."""
        given = urlsplit(self.target).query
        return dict(parse_qsl(given, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        """The parameters of a form in the body."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True)
class Answer:
    """What is answered."""

    status: int
    body: str
    content_type: str = "application/json;charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sent:
    """A message that a vendor has taken for one receiver.

    `message_id` is the one that we gave, `provider_id` the vendor's own.
    """

    vendor: str
    receiver: str  # E.164
    message_id: str
    provider_id: str
    template: str = ""
    params: str = ""
    text: str = ""
    receipts_url: str = ""


@dataclass(frozen=True)
class Push:
    """A delivery receipt, as the vendor sends it to us."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class FakeVendor(ABC):
    """A vendor to the letter of its protocol, as far as SMS go."""

    name: ClassVar[str]
    #: The setting that says where it is, and its path there.
    address: ClassVar[tuple[str, str]]
    #: What it knows its only customer by, by the settings' names.
    settings: ClassVar[Mapping[str, str]]

    def settings_at(self, url: str) -> dict[str, str]:
        """Return the settings by which it is used, where the server is at `url`."""
        name, path = self.address
        return {name: f"{url}{path}", **self.settings}

    @abstractmethod
    def is_for(self, asked: Asked) -> bool:
        """Return whether a request is for this vendor."""

    @abstractmethod
    def answer(self, asked: Asked, scenario: Scenario) -> tuple[Answer, Sequence[Sent]]:
        """Check a request as the vendor does; return the answer and what was taken.

        A request that the vendor would refuse is refused, whatever the scenario.
        ERROR, TIMEOUT, RESET and MALFORMED are the server's to play: to the vendor
        they are a SUCCESS.
        """

    def receipt(self, sent: Sent, *, delivered: bool, url: str) -> Push:
        """Return the delivery receipt of a message."""
        raise NotImplementedError


class Refused(Exception):
    """The vendor refuses the request; `answer` says so in its words."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body)
        self.answer = answer
