"""Reports that tasks make, of what was asked for."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.host.iostat import iostat_samples, render_header, render_sample
from app.host.procfs import Procfs
from app.tasks.report_job import Piece, Report, Wait


def iostat_report(procfs: Procfs, asked: Mapping[str, Any]) -> Report:
    """Return what reports as iostat does: `count` times, each `wait_seconds` apart."""

    def pieces(wait: Wait) -> Iterator[Piece]:
        yield Piece(render_header(procfs))
        for sample in iostat_samples(procfs, **asked, sleep=wait):
            yield Piece(render_sample(sample), sample.members())

    return Report("iostat", total=asked["count"], pieces=pieces, asked=asked)
