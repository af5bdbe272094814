"""Which provider sends a message: the next one only where the last certainly has not.

A provider whose answer is unknown may have sent, so that its receivers are settled.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

import structlog

from .message import Accepted, Category, Outcome, Rejected, Unknown, unreachable
from .provider import OutcomeUnknown, ProviderUnreachable, SmsProvider
from .templates import SmsTemplate

#: ``observe(provider, outcomes, seconds)`` is called with what a provider answered.
Observe = Callable[[str, Sequence[Outcome], float], None]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Letter:
    """What is sent to whom: `receivers` are numbers in E.164, each once.

    `providers` are asked in that order. `created` is when it was asked for, in seconds
    since the epoch, from which on it is good for `validity_seconds`.
    """

    message_id: str
    template: SmsTemplate
    params: Mapping[str, str | float]
    receivers: Sequence[str]
    providers: Sequence[str]
    created: float
    validity_seconds: int | None = None

    def is_late(self, now: float) -> bool:
        """Return whether nobody is to get it any more."""
        seconds = self.validity_seconds
        return seconds is not None and now > self.created + seconds


class Journal(Protocol):
    """Is told of every step before the next is made."""

    def asking(self, provider: str) -> None:
        """Note that a provider is about to be asked for some receivers."""

    def answered(self, provider: str, outcomes: Mapping[str, Outcome]) -> None:
        """Note what a provider has answered for some receivers."""


class SmsGateway:
    """The providers by name, in the order in which they are asked.

    `observe` is told of every request the provider, the outcome for each receiver, and
    the seconds that it took: for figures.
    """

    def __init__(
        self,
        providers: Mapping[str, SmsProvider],
        *,
        order: Sequence[str],
        receipts_url: Callable[[str], str | None] = lambda _: None,
        observe: Observe = lambda _name, _outcomes, _seconds: None,
    ) -> None:
        self.providers = providers
        self.order = order
        self.receipts_url = receipts_url
        self._observe = observe

    def is_able(self, name: str, template: SmsTemplate) -> bool:
        """Return whether a provider can send a template: it has an id, or a text."""
        if self.providers[name].needs_template_id:
            return name in template.ids
        return template.has_text

    def send(
        self,
        letter: Letter,
        journal: Journal,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Send to all receivers, as far as there is a provider that does.

        Once it `is_stopped`, nobody more is asked.
        """
        left = letter.receivers
        for name in letter.providers:
            if not left:
                return
            left = self._send_by(name, left, letter, journal, is_stopped)

    def close(self) -> None:
        """Close what the providers have opened."""
        for provider in self.providers.values():
            provider.close()

    def _send_by(
        self,
        name: str,
        receivers: Sequence[str],
        letter: Letter,
        journal: Journal,
        is_stopped: Callable[[], bool],
    ) -> Sequence[str]:
        """Send by one provider; return whom another one may send to."""
        refused: Rejected | None = None
        left = list[str]()
        for batch in self.providers[name].batches(receivers):
            if is_stopped():
                refused = Rejected(Category.REQUEST, "cancelled", "it was cancelled")
            if refused:
                outcomes: Sequence[Outcome] = [refused] * len(batch)
            else:
                journal.asking(name)
                outcomes = self._ask(name, batch, letter)
            journal.answered(name, dict(zip(batch, outcomes, strict=True)))
            for receiver, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Rejected) and outcome.is_curable_elsewhere:
                    left.append(receiver)
            rejected = [each for each in outcomes if isinstance(each, Rejected)]
            if len(rejected) == len(batch) and all(r.is_for_all for r in rejected):
                refused = rejected[-1]
        return left

    def _ask(
        self, name: str, batch: Sequence[str], letter: Letter
    ) -> Sequence[Outcome]:
        """Return what became of a batch, whatever the provider does."""
        began = monotonic()
        outcomes = self._outcomes(name, batch, letter)
        seconds = monotonic() - began
        self._observe(name, outcomes, seconds)
        kinds = [type(outcome) for outcome in outcomes]
        log.info(
            "sms.answered",
            message_id=letter.message_id,
            provider=name,
            accepted=kinds.count(Accepted),
            rejected=kinds.count(Rejected),
            unknown=kinds.count(Unknown),
            seconds=round(seconds, 6),
        )
        return outcomes

    def _outcomes(
        self, name: str, batch: Sequence[str], letter: Letter
    ) -> Sequence[Outcome]:
        provider = self.providers[name]
        try:
            outcomes = provider.send(
                letter.template.fill(letter.params, provider=name),
                batch,
                message_id=letter.message_id,
                validity_seconds=letter.validity_seconds,
                receipts_url=self.receipts_url(name),
            )
            if len(outcomes) == len(batch):
                return outcomes
        except ProviderUnreachable as error:
            return [unreachable(str(error))] * len(batch)
        except OutcomeUnknown as error:
            return [Unknown(str(error))] * len(batch)
        except Exception as error:  # noqa: BLE001 - it may have been sent before that
            # Its trace may have numbers and texts.
            kind = type(error).__name__
            log.error("sms.provider_failed", provider=name, error=kind)  # noqa: TRY400
            return [Unknown(kind)] * len(batch)
        return [Unknown("it did not answer for each receiver")] * len(batch)
