"""Delivery receipts: in any order, any number of times, never back from an end."""

import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from app.errors import Fault, InvalidInput, NotPermitted, ReceiptNotTaken
from app.storage.message_store import MessageStore

from .message import TERMINAL, Receipt, State
from .number import mask
from .provider import Acknowledgement, Asked, Call, SmsProvider
from .record import Message

# Vendors report for up to three days.
REPORTED_SECONDS = 3 * 86400.0

# From an early state to a later one; a receipt never leads back.
_RANK = {State.QUEUED: 0, State.UNKNOWN: 1, State.SENT: 2}

# Of the parts of a message the worst is what became of it.
_WORST_FIRST = (State.REJECTED, State.UNDELIVERED, State.EXPIRED)

log = structlog.get_logger(__name__)


class Receipts:
    """Takes receipts from vendors that know the secret, and asks vendors for them.

    `observe` is told the provider and the state of every receipt that tells news.
    """

    def __init__(
        self,
        *,
        store: MessageStore,
        providers: Mapping[str, SmsProvider],
        secret: str,
        observe: Callable[[str, State], None] = lambda _name, _state: None,
    ) -> None:
        self._store = store
        self._providers = providers
        self._secret = secret
        self._observe = observe

    def admit(self, provider: str, secret: str) -> None:
        """Raise ReceiptNotTaken where nobody who is known can have sent it."""
        is_known = hmac.compare_digest(secret.encode(), self._secret.encode())
        found = self._providers.get(provider)
        if not is_known or found is None or found.acknowledgement is None:
            raise ReceiptNotTaken

    def take(self, provider: str, call: Call) -> Acknowledgement:
        """Take what a vendor reports; return what it has to be answered.

        Raises InvalidInput where it cannot be read, NotPermitted where it is forged.
        """
        vendor = self._providers[provider]
        try:
            receipts = vendor.receipts(call)
        except PermissionError as error:
            raise NotPermitted("The signature is not the vendor's.") from error
        except ValueError as error:
            raise InvalidInput([Fault("", "is no receipt of that vendor's")]) from error
        for receipt in receipts:
            self._apply(provider, receipt, event="receipt")
        return vendor.acknowledgement or Acknowledgement()

    def query(self, message: Message) -> int:
        """Ask the vendors what became of a message; return how many could be asked.

        Raises OutcomeUnknown or ProviderUnreachable of the provider's.
        """
        asked = 0
        for each in message.receivers:
            vendor = self._providers.get(each.provider or message.provider)
            if vendor is None or each.state in TERMINAL:
                continue
            question = Asked(
                message.message_id, each.provider_id, each.receiver, message.created
            )
            try:
                receipts = vendor.query(question)
            except NotImplementedError:
                continue
            asked += 1
            for receipt in receipts:
                self._apply(each.provider or message.provider, receipt, event="queried")
        return asked

    def _apply(self, provider: str, receipt: Receipt, *, event: str) -> None:
        rows = self._store.candidates(
            provider,
            message_id=receipt.message_id,
            provider_id=receipt.provider_id,
            since=time.time() - REPORTED_SECONDS,
        )
        meant = _meant(rows, receipt)
        if len(meant) != 1:
            log.warning("sms.receipt_unmatched", provider=provider, matches=len(meant))
            return
        is_news = self._store.change_receiver(
            meant[0]["number"],
            lambda row: _change(row, receipt),
            at=time.time(),
            event=event,
            provider=provider,
            detail=receipt.code,
        )
        if not is_news:
            return
        self._observe(provider, receipt.state)
        log.info(
            "sms.receipt_taken",
            provider=provider,
            message_id=meant[0]["message_id"],
            receiver=mask(meant[0]["receiver"]),
            state=receipt.state,
        )


def _meant(
    rows: Sequence[Mapping[str, Any]], receipt: Receipt
) -> Sequence[Mapping[str, Any]]:
    """Return the receivers that a receipt can be about.

    Where it names no number, only an id tells: the vendor's own is of one of them.
    """
    if receipt.number is not None:
        return [row for row in rows if _has_number(row, receipt.number)]
    its_own = receipt.provider_id
    named = [row for row in rows if its_own and row["provider_id"] == its_own]
    return named or (rows if receipt.message_id is not None else [])


def _has_number(row: Mapping[str, Any], number: str) -> bool:
    """Return whether it is that receiver's number.

    Vendors write it with its country code or without, with a plus or without.
    """
    digits = number.lstrip("+").removeprefix("00")
    return digits != "" and row["receiver"] in (f"+{digits}", f"+86{digits}")


def _change(row: Mapping[str, Any], receipt: Receipt) -> dict[str, Any] | None:
    """Return what a receipt changes of a receiver, None where it tells nothing new."""
    if row["state"] in TERMINAL or receipt.state is State.UNKNOWN:
        return None
    known = {"provider_id": row["provider_id"] or receipt.provider_id}
    if receipt.segments is not None:
        known["segments"] = receipt.segments
    state: State = receipt.state
    parts = None
    if receipt.parts > 1:
        told = json.loads(row["parts"] or "{}")
        if told.get(str(receipt.part)) in TERMINAL:
            return None
        told[str(receipt.part)] = receipt.state
        parts = json.dumps(told)
        state = _of_parts(list(told.values()), receipt.parts)
    if state not in TERMINAL and _RANK[state] <= _RANK[row["state"]] and parts is None:
        return None
    changes = {**known, "state": state, "parts": parts or row["parts"]}
    if state in _WORST_FIRST:
        changes["provider_code"] = receipt.code
    return changes


def _of_parts(states: Sequence[str], count: int) -> State:
    """Return what the parts of a message come to, of which some may not be told yet."""
    for worst in _WORST_FIRST:
        if worst in states:
            return worst
    if len(states) == count and set(states) == {State.DELIVERED}:
        return State.DELIVERED
    return State.SENT
