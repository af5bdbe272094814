"""Every route of the service, in one list."""

from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import BaseConverter, RequestRedirect

from app.api.errors import ProblemApi
from app.api.rendering import render_json
from app.api.resources.echo import Echo
from app.api.resources.exec import Exec, PollNewest
from app.api.resources.health import Health, Ready
from app.api.resources.host import Iostat, IostatTask, Uptime
from app.api.resources.index import Index
from app.api.resources.people import People, Person
from app.api.resources.task import Task, TaskOutput

UID_MAX = 2**31 - 2  # the largest number of a row, less one

#: (endpoint, resource, rule). An endpoint names its version first.
ROUTES = [
    ("v1.uptime", Uptime, "/v1/uptime/"),
    ("v1.iostat", Iostat, "/v1/iostat/"),
    ("v1.user", People, "/v1/user"),
    ("v1.person", Person, f"/v1/user/<int(max={UID_MAX}):uid>"),
    ("v2.uptime", Uptime, "/v2/uptime/"),
    ("v2.iostat", IostatTask, "/v2/iostat/"),
    ("v2.task", Task, "/v2/task/<task_id>"),
    ("v2.task_output", TaskOutput, "/v2/task/<task_id>/output"),
    ("api.exec", Exec, "/api/exec/<uuid>"),
    ("api.poll", PollNewest, "/api/poll/<uuid>"),
    ("api.health", Health, "/api/health"),
    ("api.ready", Ready, "/api/health/ready"),
    ("api.echo", Echo, "/api/<user:user>/<uuid>"),
]

#: The indexes, each with its links by relation.
INDEXES = {
    "/": {"v1": "/v1/", "v2": "/v2/", "health": "/api/health"},
    "/v1/": {"uptime": "/v1/uptime/", "iostat": "/v1/iostat/", "user": "/v1/user"},
    "/v2/": {"uptime": "/v2/uptime/", "iostat": "/v2/iostat/"},
}


class UserConverter(BaseConverter):
    """A first part of /api/…/… that is the name of no other route."""

    regex = r"(?!(?:exec|poll|health|sms)\Z)[^/]+"
    part_isolating = True


def register(app: Flask) -> None:
    """Give `app` all routes."""
    app.url_map.converters["user"] = UserConverter
    app.before_request(_redirect)
    app.before_request(_guard)
    api = ProblemApi(app)
    for endpoint, resource, rule in ROUTES:
        api.add_resource(resource, rule, endpoint=endpoint)
    for rule, links in INDEXES.items():
        api.add_resource(
            Index,
            rule,
            endpoint=f"index{rule.replace('/', '.').rstrip('.')}",
            resource_class_args=(links,),
        )


def _guard() -> None:
    """Guard a route also against methods that it has not.

    Who may not is told so before anything else; Flask would tell the methods first.
    """
    error = request.routing_exception
    if not isinstance(error, MethodNotAllowed) or not error.valid_methods:
        return
    adapter = current_app.create_url_adapter(request)
    if adapter is not None:
        endpoint, in_path = adapter.match(method=next(iter(error.valid_methods)))
        view: Any = current_app.view_functions[endpoint]
        view.view_class.guard({**in_path})


def _redirect() -> Response | None:
    """Send a path without its last slash to the one with it, in our own words.

    Werkzeug's redirect is a page of HTML, with a host and a scheme that a proxy in
    front may have changed.
    """
    redirect = request.routing_exception
    if not isinstance(redirect, RequestRedirect):
        return None
    path = urlsplit(redirect.new_url)._replace(scheme="", netloc="").geturl()
    links = [{"rel": "canonical", "href": path}]
    return render_json({"links": links}, redirect.code, {"Location": path})
