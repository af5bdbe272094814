"""The terminal's door: the commands of `flask --app server`.

What is printed is for other programs to read; the log goes to stderr.
"""

from flask import Flask

from . import check, db, drain, sms, users, webhooks
from .door import serve


def register(app: Flask) -> None:
    """Give `app` its commands."""
    served = serve(app)
    users.register(app, served)
    sms.register(app, served)
    check.register(app, served)
    db.register(app, served)
    drain.register(app, served)
    webhooks.register(app, served)
