"""A host, as the API shows it."""

from typing import Any

from flask import url_for

from app.moment import moment
from app.tasks.hosts import Counts, Host


def host_document(host: Host, counts: Counts) -> dict[str, Any]:
    """Return the members of a host, on which so many tasks run and wait."""
    rooms = host.room.items()
    return {
        "host": host.name,
        "labels": host.labels,
        "alive": host.alive,
        "draining": host.draining,
        "seen": moment(host.seen),
        "seconds_since_seen": round(host.seconds_since_seen, 3),
        "version": host.version,
        "running": {kind: counts.get((kind, False), 0) for kind in host.room},
        "queued": {kind: counts.get((kind, True), 0) for kind in host.room},
        "capacity": {
            kind: {"running": room.max_running, "queued": room.max_queued}
            for kind, room in rooms
        },
        "readings": host.readings,
        "links": _links(host.name),
    }


def _links(name: str) -> list[dict[str, Any]]:
    endpoints = {
        "self": "v3.host",
        "uptime": "v3.host_uptime",
        "iostat": "v3.host_iostat",
        "samples": "v3.samples",
    }
    return [
        {"rel": rel, "href": url_for(endpoint, host=name)}
        for rel, endpoint in endpoints.items()
    ]
