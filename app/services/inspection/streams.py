"""Redis or Valkey, where that keeps the outputs."""

from collections.abc import Iterator

from app.errors import StorageUnavailable
from app.finding import Finding
from app.tasks.output import OutputFolder
from app.tasks.outputs import Outputs

from .reasons import reason


def findings(outputs: Outputs) -> Iterator[Finding]:
    """Give whether it answers; nothing where files keep them."""
    if isinstance(outputs, OutputFolder):
        return
    try:
        outputs.check()
    except StorageUnavailable as error:
        words = f"does not answer: {reason(error)}"
        yield Finding.fault("REDIS_URL", words, "start Redis, or name the right one")
    else:
        yield Finding("REDIS_URL", "answers")
