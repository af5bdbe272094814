"""Requests that are answered once: asked again, they get the same answer."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import KeyInFlight, KeyReused
from app.storage.idempotency_store import NOBODY, IdempotencyStore

from .worker import Worker

KEPT_SECONDS = 86400.0


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
        kept = self._store.begin(row, is_alive=_is_alive)
        if kept is None:
            return None
        if kept["fingerprint"] != fingerprint:
            raise KeyReused
        if kept["status"] is None and (
            kept["task_id"] is None or _is_alive(kept["worker"])
        ):
            raise KeyInFlight
        return Answer(
            kept["task_id"],
            kept["status"],
            json.loads(kept["headers"] or "{}"),
            kept["body"] or b"",
        )

    def keep(
        self, digest: str, *, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Keep an answer."""
        shown = json.dumps(dict(headers))
        self._store.answer(digest, status=status, headers=shown, body=body)

    def forget(self, digest: str) -> None:
        """Let a request that was refused come again."""
        self._store.forget(digest)

    def remove_old(self) -> None:
        """Forget what is older than a day."""
        self._store.remove_before(time.time() - KEPT_SECONDS)


def digest_of(*parts: str) -> str:
    """Return what a request is known by."""
    return _digest(parts)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_alive(worker: str) -> bool:
    return worker != NOBODY and Worker.parse(worker).is_alive()
