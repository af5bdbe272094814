"""What gunicorn imports: `gunicorn server:app`."""

import gc

from flask import Flask


def _make() -> Flask:
    """Return the application, and have nobody look for garbage in it.

    What is imported stays until the process ends: to go through all of it meanwhile,
    and once more in the end, takes a third of the time of a start and a stop.
    """
    gc.disable()
    try:
        from application import create_app  # noqa: PLC0415 - most of what is looked at

        return create_app()
    finally:
        gc.freeze()
        gc.enable()


app = _make()
