"""Requests that are answered once: asked again, they get the same answer."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from app.errors import KeyInFlight, KeyReused, StorageUnavailable
from app.storage.idempotency_store import NOBODY, IdempotencyStore

from .worker import Worker

KEPT_SECONDS = 86400.0
# How long a request that has started nothing yet is waited for: its worker may be on
# another host, or may not have been able to write that it was refused. If it does
# start something after that, it is the only one that can.
START_SECONDS = 15.0
# The same for the answer of one that has: the longest wait for an end, and some more.
ANSWER_SECONDS = 120.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Answer:
    """What was answered, or the task that was started before an answer was kept."""

    task_id: str | None
    status: int | None
    headers: Mapping[str, str]
    body: bytes


class KeptRequests:
    """Requests by caller, route and key, known to every worker for a day."""

    def __init__(self, store: IdempotencyStore) -> None:
        self._store = store

    def begin(self, digest: str, *, asked: Any) -> Answer | None:
        """Return what was answered, None where the request comes for the first time.

        Raises KeyReused where something else was `asked` then, KeyInFlight where it is
        being answered.
        """
        fingerprint = _digest(asked)
        row = {
            "digest": digest,
            "fingerprint": fingerprint,
            "worker": str(Worker.current()),
            "created": time.time(),
        }
        kept = self._store.begin(row, in_flight=_is_in_flight)
        if kept is None:
            return None
        if kept["fingerprint"] != fingerprint:
            raise KeyReused
        if kept["status"] is None and (kept["task_id"] is None or _is_in_flight(kept)):
            raise KeyInFlight
        return Answer(
            kept["task_id"],
            kept["status"],
            json.loads(kept["headers"] or "{}"),
            kept["body"] or b"",
        )

    def is_kept(self, digest: str) -> bool:
        """Return whether a request came before."""
        return self._store.find(digest) is not None

    def keep(
        self, digest: str, *, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Keep an answer; without it, the task that was started is answered with."""
        shown = json.dumps(dict(headers))
        try:
            self._store.answer(digest, status=status, headers=shown, body=body)
        except StorageUnavailable as error:
            log.warning("request.not_kept", error=str(error.__cause__))

    def forget(self, digest: str) -> None:
        """Let a request that was refused come again."""
        try:
            self._store.forget(digest)
        except StorageUnavailable as error:
            log.warning("request.not_forgotten", error=str(error.__cause__))

    def remove_old(self) -> None:
        """Forget what is older than a day."""
        self._store.remove_before(time.time() - KEPT_SECONDS)


def digest_of(*parts: str) -> str:
    """Return what a request is known by."""
    return _digest(parts)


def _digest(value: Any) -> str:
    text = json.dumps(_plain(value), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return a value of JSON with numbers that are the same written the same."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value


def _is_in_flight(kept: Mapping[str, Any]) -> bool:
    most_seconds = START_SECONDS if kept["task_id"] is None else ANSWER_SECONDS
    is_young = time.time() - kept["created"] < most_seconds
    return is_young and _may_be_alive(kept["worker"])


def _may_be_alive(text: str) -> bool:
    if text == NOBODY:
        return False
    worker = Worker.parse(text)
    # Of another boot: it may be on another host, which cannot be seen from here.
    return worker.is_alive() or worker.boot != Worker.current().boot
