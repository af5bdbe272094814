"""Every route of the service, in one list, each with who may use it."""

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import BaseConverter, Map, RequestRedirect

from app.api import access
from app.api.access import Access
from app.api.errors import ProblemApi
from app.api.guard import admit, admit_unknown
from app.api.rendering import render_json
from app.api.resources.audit import AuditTrail
from app.api.resources.command import Command, Commands
from app.api.resources.document import DocsFile, DocsPage, Document
from app.api.resources.echo import Echo
from app.api.resources.exec import Exec, PollNewest, Start
from app.api.resources.health import Health, Ready
from app.api.resources.host import Iostat, IostatTask, Uptime
from app.api.resources.hosts import (
    Host,
    HostIostatTask,
    Hosts,
    HostUptime,
    Samples,
)
from app.api.resources.index import Index, Root
from app.api.resources.metrics import Metrics
from app.api.resources.output import TaskOutput
from app.api.resources.people import People, Person
from app.api.resources.receipts import DeliveryReceipts
from app.api.resources.sms import Message, Messages, Preview
from app.api.resources.task import Task, Tasks
from app.api.resources.user import SigningKey, User, Users, UserToken, UserTokens
from app.api.rule import this_request

UID_MAX = 2**31 - 2  # the largest number of a row, less one

#: (endpoint, resource, rule, who may). An endpoint names its version first.
ROUTES = [
    ("v1.uptime", Uptime, "/v1/uptime/", access.OPEN),
    ("v1.iostat", Iostat, "/v1/iostat/", access.OPEN),
    ("v1.user", People, "/v1/user", access.PEOPLE),
    ("v1.person", Person, f"/v1/user/<int(max={UID_MAX}):uid>", access.PEOPLE),
    ("v2.uptime", Uptime, "/v2/uptime/", access.OPEN),
    ("v2.iostat", IostatTask, "/v2/iostat/", access.OPEN_TASKS),
    ("v2.task", Task, "/v2/task/<task_id>", access.OPEN),
    ("v2.task_output", TaskOutput, "/v2/task/<task_id>/output", access.OPEN),
    ("v3.uptime", Uptime, "/v3/uptime/", access.READ),
    ("v3.iostat", IostatTask, "/v3/iostat/", access.REPORT),
    ("v3.hosts", Hosts, "/v3/hosts/", access.READ),
    ("v3.host", Host, "/v3/hosts/<host>", access.READ),
    ("v3.host_uptime", HostUptime, "/v3/hosts/<host>/uptime/", access.READ),
    ("v3.host_iostat", HostIostatTask, "/v3/hosts/<host>/iostat/", access.REPORT),
    ("v3.samples", Samples, "/v3/hosts/<host>/samples", access.READ),
    ("v3.tasks", Tasks, "/v3/task/", access.READ),
    ("v3.task", Task, "/v3/task/<task_id>", access.TASK),
    ("v3.task_output", TaskOutput, "/v3/task/<task_id>/output", access.READ),
    ("v3.exec", Start, "/v3/exec/", access.START),
    ("v3.commands", Commands, "/v3/commands/", access.READ),
    ("v3.command", Command, "/v3/commands/<name>", access.READ),
    ("v3.users", Users, "/v3/users/", access.USERS),
    ("v3.user", User, "/v3/users/<username>", access.USERS),
    ("v3.tokens", UserTokens, "/v3/users/<username>/tokens", access.CREDENTIALS),
    (
        "v3.token",
        UserToken,
        "/v3/users/<username>/tokens/<token_id>",
        access.CREDENTIALS,
    ),
    (
        "v3.signing_key",
        SigningKey,
        "/v3/users/<username>/signing-key",
        access.CREDENTIALS,
    ),
    ("v3.sms", Messages, "/v3/sms/", access.USERS_SMS),
    ("v3.sms_preview", Preview, "/v3/sms/preview", access.USERS_SMS_PREVIEW),
    ("v3.message", Message, "/v3/sms/<other(preview):message_id>", access.USERS_SMS),
    ("v3.audit", AuditTrail, "/v3/audit/", access.ADMIN),
    ("api.exec", Exec, "/api/exec/<uuid>", access.SIGNED_START),
    ("api.poll", PollNewest, "/api/poll/<uuid>", access.SIGNED_POLL),
    ("api.sms", Messages, "/api/sms", access.SMS),
    ("api.sms_preview", Preview, "/api/sms/preview", access.SMS_PREVIEW),
    ("api.message", Message, "/api/sms/<other(preview):message_id>", access.SMS),
    (
        "api.receipts",
        DeliveryReceipts,
        "/api/sms/receipts/<provider>/<secret>",
        access.RECEIPTS,
    ),
    ("api.health", Health, "/api/health", access.OPEN),
    ("api.ready", Ready, "/api/health/ready", access.OPEN),
    ("service.metrics", Metrics, "/metrics", access.METRICS),
    ("service.openapi", Document, "/openapi.json", access.OPEN),
    ("service.docs", DocsPage, "/docs", access.OPEN),
    ("service.docs_file", DocsFile, "/docs/<file>", access.OPEN),
    (
        "api.echo",
        Echo,
        "/api/<other(exec, poll, health, sms):user>/<uuid>",
        access.ECHO,
    ),
]

#: The indexes, which are open, each with its links by relation.
INDEXES = {
    "/": {
        "v1": "/v1/",
        "v2": "/v2/",
        "v3": "/v3/",
        "health": "/api/health",
        "metrics": "/metrics",
        "openapi": "/openapi.json",
        "docs": "/docs",
        "ui": "/ui/",
    },
    "/v1/": {"uptime": "/v1/uptime/", "iostat": "/v1/iostat/", "user": "/v1/user"},
    "/v2/": {"uptime": "/v2/uptime/", "iostat": "/v2/iostat/"},
    "/v3/": {
        "uptime": "/v3/uptime/",
        "iostat": "/v3/iostat/",
        "hosts": "/v3/hosts/",
        "task": "/v3/task/",
        "exec": "/v3/exec/",
        "commands": "/v3/commands/",
        "users": "/v3/users/",
        "sms": "/v3/sms/",
        "audit": "/v3/audit/",
    },
}


class OtherConverter(BaseConverter):
    """A part of a path that is none of some names: those are of other routes."""

    part_isolating = True

    def __init__(self, url_map: Map, *names: str) -> None:
        super().__init__(url_map)
        self.regex = rf"(?!(?:{'|'.join(names)})\Z)[^/]+"


def register(app: Flask) -> None:
    """Give `app` all routes, and who may use them."""
    app.url_map.converters["other"] = OtherConverter
    policy: dict[str, Access] = {}
    app.before_request(partial(_admit, policy))
    api = ProblemApi(app)
    for endpoint, resource, rule, who in ROUTES:
        api.add_resource(resource, rule, endpoint=endpoint)
        policy[endpoint] = who
    for rule, links in INDEXES.items():
        endpoint = f"index{rule.replace('/', '.').rstrip('.')}"
        index = Root if rule == "/" else Index
        api.add_resource(index, rule, endpoint=endpoint, resource_class_args=(links,))
        policy[endpoint] = access.OPEN
    app.extensions["bellhop.policy"] = policy


def _admit(policy: Mapping[str, Access]) -> Response | None:
    """Let in who may use the route that was asked; say first who may not.

    A route that is not in the policy is nobody's: that is an error of ours.
    """
    asked = this_request()
    if asked.url_rule is None:
        return _answer_unmatched(policy, asked.routing_exception)
    admit(policy[asked.url_rule.endpoint], asked.view_args or {})
    return None


def _answer_unmatched(
    policy: Mapping[str, Access], error: Exception | None
) -> Response | None:
    """Guard a route also against methods that it has not, and what there is not in v3.

    Flask would tell the methods first. What there is below v3, only users learn.
    """
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        adapter: Any = current_app.create_url_adapter(request)
        endpoint, in_path = adapter.match(method=next(iter(error.valid_methods)))
        admit(policy[endpoint], in_path)
    elif request.path.startswith("/v3/"):
        admit_unknown()
    return _redirect(error) if isinstance(error, RequestRedirect) else None


def _redirect(error: RequestRedirect) -> Response:
    """Send a path without its last slash to the one with it, in our own words.

    Werkzeug's redirect is a page of HTML, with a host and a scheme that a proxy in
    front may have changed.
    """
    path = urlsplit(error.new_url)._replace(scheme="", netloc="").geturl()
    links = [{"rel": "canonical", "href": path}]
    return render_json({"links": links}, error.code, {"Location": path})
