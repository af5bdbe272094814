"""One command of the catalogue: what it takes, and what becomes of that."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.errors import Fault, InvalidInput
from app.processes.command import Command, argument_fault, total_fault
from app.processes.limits import Limits
from app.processes.program import Program
from app.schema import Schema
from app.template import Template, written

from .notice import BY_CATALOGUE, NOTICE
from .order import Order, Wish
from .parameter import Parameter

# A part of a cmd, as a shell splits it. What is expanded or done there is text here.
_PIECE = re.compile(
    r"""
    (?P<blank> [ \t\n]+ ) | (?P<plain> [^ \t\n'"\\]+ ) | \\(?P<escaped> . )
    | '(?P<single> [^']* )' | "(?P<double> (?: [^"\\]+ | \\. )*+ )"
    """,
    re.VERBOSE | re.DOTALL,
)
# What a backslash escapes between double quotes; the newline goes with it.
_ESCAPED = re.compile(r'\\(?:\n|([$`"\\]))')

# What no environment can have a variable called, and what is ours to set.
VARIABLE = r"(?!BELLHOP_)[A-Za-z_][A-Za-z0-9_]*"

_COUNT = {"type": "integer", "minimum": 1, "maximum": 2**62}
_ENVIRONMENT = {
    "type": "object",
    "propertyNames": {"pattern": VARIABLE},
    "additionalProperties": {"type": "string"},
}

ENTRY = Schema(
    {
        "type": "object",
        "properties": {
            "description": {"type": "string"},
            "argv": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "timeout_seconds": {
                "type": "number",
                "exclusiveMinimum": 0,
                "maximum": 10**8,
            },
            "max_running": _COUNT,
            "cwd": {"type": "string", "minLength": 1},
            "env": _ENVIRONMENT,
            "env_allowed": {
                "type": "array",
                "items": {"type": "string", "pattern": VARIABLE},
            },
            "stdin": {"type": "boolean"},
            "stderr": {"enum": ["merge", "separate"]},
            "limits": {
                "type": "object",
                "properties": {
                    "cpu_seconds": _COUNT,
                    "memory_bytes": _COUNT,
                    "processes": _COUNT,
                    "file_bytes": _COUNT,
                },
                "additionalProperties": False,
            },
            "users": {"type": "array", "items": {"type": "string", "minLength": 1}},
            "on_overflow": {"enum": ["drop", "end"]},
            "detached": {"type": "boolean"},
            "notify": NOTICE,
            "params": {
                "type": "object",
                "propertyNames": {"pattern": "[a-z][a-z0-9_]*"},
                "additionalProperties": {"type": "object"},
            },
        },
        "required": ["argv"],
        "additionalProperties": False,
    }
)


class Entry:
    """A command that may be run under its name.

    `document` is its table in the catalogue; `environment` and `timeout_seconds` are
    what it gets where that says nothing. Raises InvalidInput naming every fault.
    """

    def __init__(
        self,
        name: str,
        document: Mapping[str, Any],
        *,
        environment: Mapping[str, str],
        timeout_seconds: float,
    ) -> None:
        _check(ENTRY.faults(document))
        self.name = name
        self.description: str = document.get("description", "")
        self.timeout_seconds = document.get("timeout_seconds", timeout_seconds)
        self.max_running: int | None = document.get("max_running")
        self.takes_stdin: bool = document.get("stdin", False)
        self.stderr: str = document.get("stderr", "merge")
        self._ends_on_overflow = document.get("on_overflow") == "end"
        self.is_detached: bool = document.get("detached", False)
        self.env_allowed = tuple(document.get("env_allowed", ()))
        _check([*_surroundings_faults(document), *_parameter_faults(document)])
        self.parameters = {
            each: Parameter(each, schema)
            for each, schema in document.get("params", {}).items()
        }
        _check(_template_faults(document, self.parameters))
        self._templates = [Template(text) for text in document["argv"]]
        self._environment = {**environment, **document.get("env", {})}
        self._cwd: str | None = document.get("cwd")
        self.limits = Limits(**document.get("limits", {}))
        self.users: Sequence[str] | None = document.get("users")
        self.notify: Mapping[str, Any] | None = document.get("notify")

    def is_for(self, user: str | None) -> bool:
        """Return whether that user may run it; one without `users` is for all."""
        return self.users is None or user in self.users

    @property
    def program(self) -> Program:
        """The program that it runs."""
        name = self._templates[0].fill({})
        return Program(name, self._environment.get("PATH", os.defpath), self._cwd)

    @property
    def has_limits(self) -> bool:
        """Whether it is run within limits of its own."""
        return self.limits != Limits()

    @property
    def params_schema(self) -> dict[str, Any]:
        """The JSON Schema of what it takes as `params`."""
        every = self.parameters.values()
        return {
            "type": "object",
            "properties": {each.name: each.document for each in every},
            "required": [each.name for each in every if each.is_required],
            "additionalProperties": False,
        }

    def order(self, wish: Wish, *, cmd: str | None = None) -> Order:
        """Return what is run of a wish; raise InvalidInput naming every fault."""
        _check([*self._params_faults(wish.params), *self._option_faults(wish)])
        defaults = {each.name: each.default for each in self.parameters.values()}
        params = {**defaults, **wish.params}
        values = {name: written(value) for name, value in params.items()}
        argv = tuple(template.fill(values) for template in self._templates)
        variables = {p.variable: values[p.name] for p in self.parameters.values()}
        environment = {**self._environment, **wish.env, **variables}
        _check(_size_faults(argv, environment))
        command = Command(
            argv,
            environment,
            wish.timeout_seconds or self.timeout_seconds,
            cwd=self._cwd,
            stdin=None if wish.stdin is None else wish.stdin.encode(),
            limits=self.limits,
            separate_stderr=(wish.stderr or self.stderr) == "separate",
        )
        return Order(
            command,
            cmd=cmd,
            name=self.name,
            params={n: v for n, v in params.items() if not self._is_secret(n)} or None,
            max_running=self.max_running,
            ends_on_overflow=self._ends_on_overflow,
            is_detached=self.is_detached or bool(wish.detached),
            notify=() if self.notify is None else ({**self.notify, **BY_CATALOGUE},),
        )

    def params_of(self, words: Sequence[str]) -> dict[str, Any]:
        """Return the parameters that words of a command line give.

        Each is `name=value`, or the value of the next one in the order of the
        catalogue. Raises InvalidInput for more words than that, or a name twice.
        """
        params: dict[str, Any] = {}
        faults: list[Fault] = []
        in_order = iter(self.parameters)
        for word in words:
            name, sign, value = word.partition("=")
            if not sign or name not in self.parameters:
                name, value = next(in_order, ""), word
            if not name:
                fault = f"has more than {self.name} takes: {word[:100]}"
                faults.append(Fault("cmd", fault))
            elif name in params:
                faults.append(Fault(f"params.{name}", "is given more than once"))
            else:
                params[name] = self.parameters[name].from_text(value)
        _check(faults)
        return params

    def _is_secret(self, name: str) -> bool:
        return self.parameters[name].is_secret

    def _params_faults(self, params: Mapping[str, Any]) -> Iterator[Fault]:
        for name, parameter in self.parameters.items():
            if name in params:
                found = parameter.faults(params[name])
                yield from (Fault(f"params.{f.path}", f.message) for f in found)
            elif parameter.is_required:
                yield Fault(f"params.{name}", "is required")
        for name in params:
            if name not in self.parameters:
                yield Fault(f"params.{name}", "is not known here")

    def _option_faults(self, wish: Wish) -> Iterator[Fault]:
        if (wish.timeout_seconds or 0) > self.timeout_seconds:
            fault = f"is more than the {self.timeout_seconds:g} that it may run"
            yield Fault("timeout_seconds", fault)
        if wish.stdin is not None and not self.takes_stdin:
            yield Fault("stdin", f"is not taken by {self.name}")
        if wish.cwd is not None:
            yield Fault("cwd", "is set by the catalogue alone")
        if wish.detached is False and self.is_detached:
            yield Fault("detached", f"is what {self.name} always is")
        for name, value in wish.env.items():
            if name not in self.env_allowed:
                yield Fault(f"env.{name}", f"may not be set for {self.name}")
            elif wrong := argument_fault(value, name=name):
                yield Fault(f"env.{name}", wrong)


def words_of(cmd: str) -> list[str]:
    """Return the words of `cmd` as a shell would split it; raise InvalidInput."""
    words: list[list[str]] = []
    position, in_word = 0, False
    while piece := _PIECE.match(cmd, position):
        position = piece.end()
        kind = piece.lastgroup or ""
        if kind == "blank":
            in_word = False
        elif piece[0] != "\\\n":  # which is nothing: the line goes on
            if not in_word:
                words.append([])
            in_word = True
            text = piece[kind]
            words[-1].append(_ESCAPED.sub(r"\1", text) if kind == "double" else text)
    if position < len(cmd):
        rest = "backslash" if cmd[position] == "\\" else "quote that is not closed"
        raise InvalidInput([Fault("cmd", f"ends in a {rest}")])
    return ["".join(word) for word in words]


def _surroundings_faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    for name, value in document.get("env", {}).items():
        if fault := argument_fault(value, name=name):
            yield Fault(f"env.{name}", fault)
    if fault := argument_fault(document.get("cwd", "")):
        yield Fault("cwd", fault)


def _parameter_faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    for name, schema in document.get("params", {}).items():
        found = Schema.faults_of_document(schema)
        for fault in found:
            path = ".".join(filter(None, ("params", name, fault.path)))
            yield Fault(path, fault.message)
        if not found and "default" in schema:
            for fault in Parameter(name, schema).faults(schema["default"]):
                yield Fault(f"params.{name}.default", fault.message)


def _template_faults(
    document: Mapping[str, Any], parameters: Mapping[str, Parameter]
) -> Iterator[Fault]:
    for number, text in enumerate(document["argv"]):
        path = f"argv.{number}"
        try:
            names = Template(text).names
        except ValueError as error:
            yield Fault(path, str(error))
            continue
        if fault := argument_fault(text):
            yield Fault(path, fault)
        if number == 0 and (names or not text):
            yield Fault(path, "is the program, which no caller chooses")
        for name in sorted(names - parameters.keys()):
            yield Fault(path, f"has a place for {name}, which is no parameter")


def _size_faults(
    argv: Sequence[str], environment: Mapping[str, str]
) -> Iterator[Fault]:
    for argument in argv:
        if fault := argument_fault(argument):
            yield Fault("params", f"make an argument that {fault}")
    if fault := total_fault(argv, environment):
        yield Fault("params", fault)


def _check(faults: Iterator[Fault] | Sequence[Fault]) -> None:
    if found := list(faults):
        raise InvalidInput(found)
