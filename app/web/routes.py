"""Every page, in one list, each with who may read it."""

from collections.abc import Callable

from flask import Blueprint, Flask, Response

from app.api import access
from app.api.access import Access

from . import (
    audit,
    commands,
    frame,
    host,
    messages,
    people,
    run,
    sign_in,
    tasks,
    users,
)
from .words import t

#: (endpoint, rule, view, who may). What a form of a page sends, is POST.
PAGES: list[tuple[str, str, Callable[..., Response], Access]] = [
    ("host", "/ui/", host.show, access.PAGE),
    ("commands", "/ui/commands/", commands.show_all, access.PAGE),
    ("command", "/ui/commands/<name>", commands.show, access.PAGE),
    ("tasks", "/ui/tasks/", tasks.show_all, access.PAGE),
    ("run", "/ui/tasks/<task_id>", run.show, access.PAGE),
    ("run_output", "/ui/tasks/<task_id>/output.txt", run.download, access.PAGE),
    ("messages", "/ui/messages/", messages.show_all, access.PAGE),
    ("message", "/ui/messages/<message_id>", messages.show, access.PAGE),
    ("people", "/ui/people/", people.show_all, access.PAGE),
    ("users", "/ui/users/", users.show_all, access.ADMIN_PAGE),
    ("user", "/ui/users/<username>", users.show, access.PAGE),
    ("audit", "/ui/audit/", audit.show_all, access.ADMIN_PAGE),
    ("sign_in", "/ui/sign-in", sign_in.sign_in, access.SIGN_IN),
    ("sign_out", "/ui/sign-out", sign_in.sign_out, access.SIGN_OUT),
    ("choose", "/ui/choose", sign_in.choose, access.CHOICE),
    ("file", "/ui/static/<version>/<path:file>", frame.file, access.OPEN),
]

_FORMS = {"sign_in": ["GET", "POST"], "sign_out": ["POST"], "choose": ["POST"]}


def register(app: Flask) -> None:
    """Give `app` its pages, and who may read them; after all other routes."""
    pages = Blueprint("ui", __name__, template_folder="templates")
    pages.add_app_template_global(t, "t")
    pages.add_app_template_global(frame.static, "static")
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    policy = app.extensions["bellhop.policy"]
    for name, rule, view, who in PAGES:
        pages.add_url_rule(rule, name, view, methods=_FORMS.get(name, ["GET"]))
        policy[f"ui.{name}"] = who
    app.register_blueprint(pages)
    app.register_error_handler(Exception, frame.answer_error)
    app.after_request(frame.protect)
