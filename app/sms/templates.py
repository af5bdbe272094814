"""The texts that may be sent: a TOML file of templates, each with its parameters."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import structlog

from app.errors import Fault, InvalidInput
from app.schema import Schema
from app.template import Template, written
from app.watched_file import WatchedFile

from .message import Filled

_TEMPLATE = Schema(
    {
        "type": "object",
        "properties": {
            "description": {"type": "string"},
            # A list of names, or a table with the schema of each.
            "params": {
                "type": ["array", "object"],
                "items": {"type": "string", "pattern": "[A-Za-z_][A-Za-z0-9_]{0,63}"},
                "uniqueItems": True,
                "propertyNames": {"pattern": "[A-Za-z_][A-Za-z0-9_]{0,63}"},
                "additionalProperties": {"type": "object"},
            },
            "text": {"type": "string", "minLength": 1},
            "ids": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"type": "string", "minLength": 1},
            },
        },
        "additionalProperties": False,
    }
)

# What a value is where its schema says nothing else of it.
_VALUE = {"type": ["string", "number"], "maxLength": 1000}
# Of these a text has no need, and some vendors refuse it for them.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

log = structlog.get_logger(__name__)


class Param:
    """A parameter by its JSON Schema; what is wrong with a value never shows it.

    It may be a password that is good for once.
    """

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        self.name = name
        self.is_required = "default" not in document
        self.default = document.get("default")
        self._schema = Schema({**_VALUE, **document}, is_secret=True)

    def faults(self, value: Any) -> list[Fault]:
        """Return what is wrong with a value."""
        path = f"params.{self.name}"
        found = self._schema.faults(value)
        if not found and (fault := _value_fault(value)):
            return [Fault(path, fault)]
        return [Fault(path, fault.message) for fault in found]


class SmsTemplate:
    """A text with places for values, and what each provider knows it as.

    `document` is its table in the file. Raises InvalidInput naming every fault.
    """

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        _check(_TEMPLATE.faults(document))
        self.name = name
        self.document = document
        self.description: str = document.get("description", "")
        self.ids: Mapping[str, str] = document.get("ids", {})
        schemas = _schemas(document)
        _check([*_schema_faults(schemas), *_text_faults(document, schemas)])
        #: By the name of each parameter, in their order.
        self.schemas = schemas
        self._params = [Param(name, schema) for name, schema in schemas.items()]
        text = document.get("text")
        self._text = None if text is None else Template(text)

    @property
    def param_names(self) -> list[str]:
        """The names of its parameters, in their order."""
        return [param.name for param in self._params]

    @property
    def has_text(self) -> bool:
        """Whether a provider can send it that does not have the text."""
        return self._text is not None

    def faults(self, params: Mapping[str, Any]) -> list[Fault]:
        """Return what is wrong with values for its parameters."""
        return list(self._faults(params))

    def fill(self, params: Mapping[str, Any], *, provider: str) -> Filled:
        """Return it as a provider is to send it, with values that have no faults."""
        defaults = {p.name: p.default for p in self._params if not p.is_required}
        given: dict[str, Any] = {**defaults, **params}
        values = {param.name: written(given[param.name]) for param in self._params}
        text = self._text.fill(values) if self._text else ""
        return Filled(self.name, self.ids.get(provider), values, text)

    def _faults(self, params: Mapping[str, Any]) -> Iterator[Fault]:
        for param in self._params:
            if param.name in params:
                yield from param.faults(params[param.name])
            elif param.is_required:
                yield Fault(f"params.{param.name}", "is required")
        known = {param.name for param in self._params}
        for name in params:
            if name not in known:
                yield Fault(f"params.{name}", "is not known here")


class SmsTemplates:
    """The templates; the file is read again when it has changed."""

    def __init__(self, path: str) -> None:
        self._file = WatchedFile(
            path,
            tables="templates",
            make=SmsTemplate,
            on_read=lambda names: log.info("templates.read", templates=names),
            on_refused=lambda **facts: log.error("templates.refused", **facts),
        )

    def get(self, name: str) -> SmsTemplate:
        """Return a template; raise InvalidInput where there is none of that name."""
        found = self._file.current()
        if name not in found:
            names = ", ".join(sorted(found)) or "there is none"
            raise InvalidInput([Fault("template", f"is not one of: {names}")])
        return found[name]

    def names(self) -> list[str]:
        """Return the names of all."""
        return sorted(self._file.current())

    def check(self) -> None:
        """Raise InvalidInput naming every fault of the file as it is now."""
        self._file.check()


def _schemas(document: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return the schema of every parameter, in the order of the file."""
    params = document.get("params", {})
    return params if isinstance(params, dict) else {name: {} for name in params}


def _schema_faults(schemas: Mapping[str, Mapping[str, Any]]) -> Iterator[Fault]:
    for name, schema in schemas.items():
        found = Schema.faults_of_document(schema)
        for fault in found:
            path = ".".join(filter(None, ("params", name, fault.path)))
            yield Fault(path, fault.message)
        if not found and "default" in schema:
            for fault in Param(name, schema).faults(schema["default"]):
                yield Fault(f"{fault.path}.default", fault.message)


def _text_faults(
    document: Mapping[str, Any], schemas: Mapping[str, Any]
) -> Iterator[Fault]:
    if "text" not in document and "ids" not in document:
        yield Fault("", "has neither text nor ids")
    try:
        names = Template(document.get("text", "")).names
    except ValueError as error:
        yield Fault("text", str(error))
        return
    for name in sorted(names - schemas.keys()):
        yield Fault("text", f"has a place for {name}, which is no parameter")


def _value_fault(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return "is neither a text nor a number"
    text = written(value)
    if _CONTROL.search(text):
        return "has a control character"
    return None


def _check(faults: Sequence[Fault]) -> None:
    if faults:
        raise InvalidInput(faults)
