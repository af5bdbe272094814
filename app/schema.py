"""A JSON Schema that names every fault of a value; no HTTP, no file."""

import json
import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend

from app.errors import Fault

_MESSAGE_CHARACTERS = 200

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}\.[0-9]{1,18}")


def _whole_pattern(
    _validator: Any, pattern: str, instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    """Match the whole value: Python's `$` would let a trailing newline through."""
    if isinstance(instance, str) and not re.fullmatch(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _multiple_of(
    validator: Any, divisor: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    """Take a number that is too large to be divided for no multiple."""
    whole = Draft202012Validator.VALIDATORS["multipleOf"]
    try:
        yield from whole(validator, divisor, instance, schema)
    except OverflowError:
        yield ValidationError(f"{instance!r} is not a multiple of {divisor!r}")


def _is_string(_checker: Any, instance: Any) -> bool:
    """Take what UTF-8 can hold: a lone surrogate is JSON, but no character."""
    if not isinstance(instance, str):
        return False
    try:
        instance.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_number(_checker: Any, instance: Any) -> bool:
    """Take what JSON can hold: no NaN, which no bound would refuse, nor infinity."""
    if not isinstance(instance, int | float) or isinstance(instance, bool):
        return False
    return not isinstance(instance, float) or isfinite(instance)


_Validator = extend(
    Draft202012Validator,
    {"pattern": _whole_pattern, "multipleOf": _multiple_of},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"string": _is_string, "number": _is_number}
    ),
)

_FORMATS = FormatChecker(formats=())


def _is_regex(instance: Any) -> bool:
    return not isinstance(instance, str) or bool(re.compile(instance))


# It may also be too large, or nested too deeply, to be compiled.
_NO_REGEX = (re.error, OverflowError, RecursionError)
_FORMATS.checks("regex", raises=_NO_REGEX)(_is_regex)

# Checks schemas themselves; by the format it sees patterns that are none.
_META_VALIDATOR = Draft202012Validator(
    Draft202012Validator.META_SCHEMA, format_checker=_FORMATS
)


class Schema:
    """A JSON Schema (2020-12) that names all faults of a value, each with its path.

    No fault shows a value where it is secret.
    """

    def __init__(self, document: Mapping[str, Any], *, is_secret: bool = False) -> None:
        self.document = document
        self._is_secret = is_secret
        self._validator = _Validator(document)

    def faults(self, value: Any) -> list[Fault]:
        """Return what is wrong with `value`, each fault once."""
        return _all_faults(
            self._validator.iter_errors(value), is_secret=self._is_secret
        )

    @staticmethod
    def faults_of_document(document: Any) -> list[Fault]:
        """Return what keeps `document`, of a file, from being a schema."""
        try:
            json.dumps(document, allow_nan=False)
        except (TypeError, ValueError):
            return [Fault("", "has a date or a number that JSON has not")]
        faults = _all_faults(_META_VALIDATOR.iter_errors(document))
        return [*_references(document), *faults]

    def query_faults(self, query: dict[str, Any]) -> list[Fault]:
        """Return what is wrong with `query`, after making its numbers numbers."""
        properties = self.document.get("properties", {})
        for name, text in query.items():
            kind = properties.get(name, {}).get("type")
            if kind in ("integer", "number") and _INTEGER.fullmatch(text):
                query[name] = int(text)
            elif kind == "number" and _DECIMAL.fullmatch(text):
                query[name] = float(text)
        return self.faults(query)


NO_MEMBERS = Schema({"type": "object", "additionalProperties": False})


def _all_faults(
    errors: Iterator[ValidationError], *, is_secret: bool = False
) -> list[Fault]:
    """Return the faults that errors stand for, each once."""
    found = (fault for error in errors for fault in _faults_of(error, is_secret))
    return list(dict.fromkeys(found))


def _references(schema: Any, path: str = "") -> Iterator[Fault]:
    """Refuse what could name a document that is elsewhere, or nowhere."""
    steps = schema if isinstance(schema, dict) else {}
    for name, value in enumerate(schema) if isinstance(schema, list) else steps.items():
        at = f"{path}.{name}".lstrip(".")
        if name in ("$ref", "$dynamicRef"):
            yield Fault(at, "is not taken here")
        yield from _references(value, at)


def _faults_of(error: ValidationError, is_secret: bool) -> Iterator[Fault]:
    """Give a fault for every member concerned, where jsonschema names the object."""
    path = [str(step) for step in error.absolute_path]
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        for name in error.instance:
            if name not in known:
                yield Fault(".".join([*path, name]), "is not known here")
    elif error.validator == "required":
        for name in error.validator_value:
            if name not in error.instance:
                yield Fault(".".join([*path, name]), "is required")
    else:
        yield Fault(".".join(path), _message(error, is_secret))


def _message(error: ValidationError, is_secret: bool) -> str:
    """Return what is wrong, with the value unless that is secret, or may hold one."""
    if error.schema is False:
        return "is not taken here"
    is_secret = is_secret or error.schema.get("writeOnly", False)
    if is_secret or isinstance(error.instance, dict | list):
        return f"does not meet {error.validator}: {error.validator_value}"
    # The value may be as long as the body.
    message = str(error.message)
    if len(message) > _MESSAGE_CHARACTERS:
        message = message[:_MESSAGE_CHARACTERS] + "…"
    return message
