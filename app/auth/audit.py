"""The audit: who did what, when, from where, and what came of it.

No password, token, signature, command text or message is ever part of it.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from app.storage.audit_store import AuditStore, Row

# Rows of nobody's in a minute: whoever is let in nowhere cannot fill the disk.
NOBODYS_PER_MINUTE = 10


class Audit:
    """Keeps rows in the order in which they end; each stays for `keep_seconds`."""

    def __init__(self, store: AuditStore, *, keep_seconds: float) -> None:
        self._store = store
        self._keep_seconds = keep_seconds

    def record(self, *, actor: str | None, **facts: Any) -> None:
        """Keep that `actor` did something; None is somebody unknown."""
        now = time.time()
        row = {"at": now, "actor": actor, **facts}
        if actor is not None:
            self._store.add(row)
        else:
            self._store.add_nobodys(row, since=now - 60, limit=NOBODYS_PER_MINUTE)

    def page(
        self, filters: Mapping[str, Any], *, before: int | None, limit: int
    ) -> Sequence[Row]:
        """Return up to `limit` rows with a number below `before`, newest first."""
        return self._store.page(filters, before=before, limit=limit)

    def remove_old(self) -> None:
        """Forget what is older than it is kept."""
        self._store.remove_before(time.time() - self._keep_seconds)
