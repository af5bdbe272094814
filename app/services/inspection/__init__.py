"""Looks at a configuration as one would before going live.

Nothing is started, sent or migrated. What is written is taken back at once: a file
in each folder, and what the database has anyway.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.finding import Finding
from app.host.clock import Clock
from app.services import Services

from . import catalogue, doors, folders, host, messages, records, streams


def inspect(
    services: Services,
    settings: Mapping[str, Any],
    *,
    open_routes: Sequence[str],
    clock: Clock | None = None,
) -> Iterator[Finding]:
    """Give what there is to say, subject by subject; each fault says what to do."""
    clock = clock or Clock()
    seen = records.see(services.database)
    yield from doors.findings(settings, open_routes)
    yield from folders.findings(settings, services.outputs)
    yield from streams.findings(services.outputs)
    yield from records.findings(seen, services, settings)
    yield from catalogue.findings(services, settings, knows_users=seen.is_current)
    yield from messages.findings(services, settings)
    yield from host.findings(settings)
    yield from host.findings_of_clock(
        clock, newest=records.newest(services) if seen.is_current else None
    )
    yield from host.findings_of_drain(services.drain)
