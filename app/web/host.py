"""The first page: how the host is, and how it was in the last ten minutes."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, current_app, url_for

from app.api.resource import services
from app.host.samples import Sample
from app.moment import rfc3339

from .duration import lasting
from .frame import render

_MOVED = ("tps", "kB_read_per_s", "kB_wrtn_per_s", "util_percent")


def show() -> Response:
    """Show it as it is now; the page goes on by itself."""
    known, host = services(), current_app.config["BELLHOP_HOST"]
    uptime, samples = known.uptime.read(), known.samples.newer_than(None)
    moved, resting = disks(samples)
    return render(
        "host.html",
        title=host,
        script="host",
        styles=("host",),
        host=host,
        source=url_for("v3.samples", host=host),
        up=lasting(uptime.seconds),
        boot_time=rfc3339(uptime.boot_time),
        load=uptime.load,
        users=uptime.users,
        processors=known.procfs.cpu_count(),
        disks=moved,
        resting=resting,
        is_new=not samples,
    )


def disks(samples: Sequence[Sample]) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Return the disks that have moved, as they were last, and the others' names."""
    last: dict[str, Mapping[str, Any]] = {}
    moved = set()
    for sample in samples:
        for device in sample["devices"]:
            last[device["device"]] = device
            if any(device[name] for name in _MOVED):
                moved.add(device["device"])
    return [last[name] for name in sorted(moved)], sorted(last.keys() - moved)
