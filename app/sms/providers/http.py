"""Any gateway that takes a message in one HTTP request, described by the settings.

Values are escaped for where they stand: in the URL, in a form, in a string of JSON.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from app.sms.http_provider import HttpProvider, Reply, Request
from app.sms.message import Accepted, Category, Filled, Outcome, Rejected
from app.sms.number import national
from app.sms.provider import OutcomeUnknown
from app.template import Template, written

# None of these has a character that could lead to another path.
_PLACES_OF_PATH = ("receiver", "digits", "national", "template", "message_id")
_PLACES = (*_PLACES_OF_PATH, "text")
# A parameter of the template has its name after this.
_PARAM = "param_"

_CATEGORY_OF = {
    401: Category.AUTH,
    402: Category.ACCOUNT,
    403: Category.AUTH,
    429: Category.RATE_LIMITED,
}
# That the request did not come in time says a proxy too, of one that was passed on.
_REQUEST_TIMEOUT = 408
# Of an answer that refuses, so much is kept as the gateway's words.
_WORDS = 200


class GenericHttpProvider(HttpProvider):
    """A gateway with a URL, headers and a body of the operator's own.

    `url` and `body` have places, `{receiver}`, `{text}` and so on; a brace is written
    twice. `success_path` and `id_path` are where in the answer's JSON it says that it
    took the message, by `success_value`, and under which id: `data.0.id`.
    """

    def __init__(
        self,
        *,
        url: str,
        method: str = "POST",
        headers: str | Mapping[str, str] = "",
        body: str = "",
        id_path: str = "",
        success_path: str = "",
        success_value: str = "",
        timeout_seconds: float = 10.0,
    ) -> None:
        super().__init__(timeout_seconds=timeout_seconds)
        self._method = method.upper()
        self._headers = _headers(headers)
        self._url = _url_template(url)
        self._body = _template("body", body)
        self._escaped: Callable[[str], str] = _in_json
        if body:
            content_type = self._headers.setdefault("content-type", "application/json")
            self._escaped = _escape_of(content_type)
            if self._escaped is _in_json:
                _check_json(self._body)
        self._id_path = id_path
        self._success_path = success_path
        self._success_value = success_value
        names = self._url.names | self._body.names
        if names.isdisjoint(("receiver", "digits", "national")):
            raise ValueError("neither url nor body has a place for the receiver")
        self._params = {
            name.removeprefix(_PARAM) for name in names if name.startswith(_PARAM)
        }

    def send(
        self, template: Filled, receivers: Sequence[str], **options: Any
    ) -> Sequence[Outcome]:
        """Send, unless the template lacks a parameter that has a place."""
        if missing := self._params - template.params.keys():
            words = f"{template.name} has no parameter {', '.join(sorted(missing))}"
            return [Rejected(Category.REQUEST, "params", words)] * len(receivers)
        return super().send(template, receivers, **options)

    def build(
        self,
        template: Filled,
        receivers: Sequence[str],
        *,
        message_id: str,
        validity_seconds: int | None,  # noqa: ARG002 - it has no place
        receipts_url: str | None,  # noqa: ARG002 - it has no place
    ) -> Request:
        """Return the request for one receiver."""
        [receiver] = receivers
        values = {
            "receiver": receiver,
            "digits": receiver.removeprefix("+"),
            "national": national(receiver),
            "text": template.text,
            "template": template.id or template.name,
            "message_id": message_id,
            **{f"{_PARAM}{name}": value for name, value in template.params.items()},
        }
        url = self._url.fill({name: _in_url(value) for name, value in values.items()})
        body = self._body.fill(
            {name: self._escaped(value) for name, value in values.items()}
        )
        return Request(self._method, url, self._headers, body.encode())

    def read(self, reply: Reply, receivers: Sequence[str]) -> Sequence[Outcome]:
        """Return the outcome, which the settings say where to find."""
        return [self._outcome(reply)] * len(receivers)

    def _outcome(self, reply: Reply) -> Outcome:
        if reply.status == _REQUEST_TIMEOUT:
            raise OutcomeUnknown(f"the answer is a {reply.status}")
        if reply.status >= 400:
            category = _CATEGORY_OF.get(reply.status, Category.REQUEST)
            return Rejected(category, str(reply.status), reply.text[:_WORDS])
        if self._success_path:
            code = _at(self._success_path, reply.json)
            if code != self._success_value:
                return Rejected(Category.UNKNOWN, code, reply.text[:_WORDS])
        return Accepted(_at(self._id_path, reply.json) if self._id_path else None)


def _headers(given: str | Mapping[str, str]) -> dict[str, str]:
    """Return headers, or those of an object of JSON, with names in lower case."""
    try:
        headers = json.loads(given or "{}") if isinstance(given, str) else given
        pairs = [*headers.items()]
    except (AttributeError, ValueError):
        raise ValueError("headers are not an object of JSON") from None
    for name, value in pairs:
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise ValueError(f"headers: {name} is not a text of one line in ASCII")
    return {name.lower(): value for name, value in pairs}


def _url_template(url: str) -> Template:
    """Return the template of a URL whose values can lead to no other place."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("url is not one of http or https")
    if _template("url", parts.netloc).names:
        raise ValueError("url has a place in its host")
    for name in _template("url", parts.path).names:
        if name not in _PLACES_OF_PATH:
            raise ValueError(f"url has {{{name}}} in its path; its query may have it")
    return _template("url", url)


def _template(setting: str, text: str) -> Template:
    try:
        template = Template(text)
    except ValueError as error:
        raise ValueError(f"{setting} {error}") from error
    for name in sorted(template.names):
        if name not in _PLACES and not name.startswith(_PARAM):
            places = ", ".join(f"{{{each}}}" for each in (*_PLACES, f"{_PARAM}…"))
            raise ValueError(f"{setting} has {{{name}}}, which is none of {places}")
    return template


def _escape_of(content_type: str) -> Callable[[str], str]:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json":
        return _in_json
    if media_type == "application/x-www-form-urlencoded":
        return _in_url
    raise ValueError("the content-type of headers is neither JSON nor a form")


def _check_json(body: Template) -> None:
    """Raise ValueError where a value could be anything but a part of a string."""
    probe = _in_json('"')
    try:
        json.loads(body.fill(dict.fromkeys(body.names, probe)))
    except ValueError:
        raise ValueError(
            "body is not JSON with its places in strings; a brace is written twice"
        ) from None


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _in_url(text: str) -> str:
    return quote(text, safe="")


def _at(path: str, document: Any) -> str:
    """Return what is at a path of names and numbers, such as `data.0.id`, as text."""
    for step in path.split("."):
        if isinstance(document, list) and step.isdecimal():
            document = dict(enumerate(document)).get(int(step))
        else:
            document = document.get(step) if isinstance(document, dict) else None
    if document is None:
        raise OutcomeUnknown(f"the answer has no {path}")
    return written(document)
