"""Every route of the service, in one list."""

from urllib.parse import urlsplit

from flask import Flask, Response, request
from werkzeug.routing import BaseConverter, RequestRedirect

from app.api.errors import ProblemApi
from app.api.rendering import render_json
from app.api.resources.echo import Echo
from app.api.resources.exec import Exec, PollNewest
from app.api.resources.health import Health, Ready
from app.api.resources.host import Iostat, Uptime
from app.api.resources.index import Index

#: (endpoint, resource, rule). An endpoint names its version first.
ROUTES = [
    ("v1.uptime", Uptime, "/v1/uptime/"),
    ("v1.iostat", Iostat, "/v1/iostat/"),
    ("v2.uptime", Uptime, "/v2/uptime/"),
    ("api.exec", Exec, "/api/exec/<uuid>"),
    ("api.poll", PollNewest, "/api/poll/<uuid>"),
    ("api.health", Health, "/api/health"),
    ("api.ready", Ready, "/api/health/ready"),
    ("api.echo", Echo, "/api/<user:user>/<uuid>"),
]

#: The indexes, each with its links by relation.
INDEXES = {
    "/": {"v1": "/v1/", "v2": "/v2/", "health": "/api/health"},
    "/v1/": {"uptime": "/v1/uptime/", "iostat": "/v1/iostat/"},
    "/v2/": {"uptime": "/v2/uptime/"},
}


class UserConverter(BaseConverter):
    """A first part of /api/…/… that is the name of no other route."""

    regex = r"(?!(?:exec|poll|health|sms)\Z)[^/]+"
    part_isolating = True


def register(app: Flask) -> None:
    """Give `app` all routes."""
    app.url_map.converters["user"] = UserConverter
    app.before_request(_redirect)
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
