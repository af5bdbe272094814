"""What tasks need beside this host: the broker, where Celery runs them."""

from collections.abc import Iterator

from app.errors import Unavailable
from app.finding import Finding
from app.tasks.backend import TaskBackend

from .reasons import reason

_SETTINGS = {"broker": "CELERY_BROKER_URL"}


def findings(backend: TaskBackend) -> Iterator[Finding]:
    """Give whether each answers; nothing where there is none."""
    for name, check in backend.needs().items():
        setting = _SETTINGS[name]
        try:
            check()
        except Unavailable as error:
            remedy = f"start the {name}, or name the right one"
            yield Finding.fault(setting, f"does not answer: {reason(error)}", remedy)
        else:
            yield Finding(setting, "answers")
