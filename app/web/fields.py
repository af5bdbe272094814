"""The fields of a command's form, each made of the JSON Schema of what it takes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.tasks.entry import Entry
from app.tasks.parameter import Parameter
from app.tasks.record import TaskRecord
from app.template import written

from .words import t

# A longer text gets more than one line.
_LINE_CHARACTERS = 200

# What Linux takes as one argument, if it is ASCII.
_ARGUMENT_CHARACTERS = 131071

# Of what fits into a body of the default MAX_CONTENT_LENGTH.
_STDIN_CHARACTERS = 10**6

#: The kinds of input that a browser has for formats; the others are plain texts.
_INPUT_OF = {
    "date": "date",
    "email": "email",
    "time": "time",
    "uri": "url",
}


class Choice(NamedTuple):
    """A value to choose, as JSON, with its name."""

    value: str
    name: str
    is_chosen: bool


@dataclass(frozen=True)
class Field:
    """A field of a form; `path` is where its value goes in the body of the request.

    `schema` is what a value has to meet, `text` what stands in it, `notes` are what it
    may be. One that is no parameter is no `argument` of a program, and may begin with a
    hyphen. What is typed into one that `is_secret` is not seen.
    """

    path: str
    schema: Mapping[str, Any]
    label: str
    text: str = ""
    required: bool = False
    hint: str = ""
    argument: bool = False
    is_secret: bool = False
    notes: Sequence[str] = ()

    @property
    def id(self) -> str:
        """What it is called in the page."""
        return self.path.replace(".", "-")

    @property
    def kind(self) -> str:
        """How it is filled in: choice, boolean, number, long or text."""
        types = _types(self.schema)
        if _choices(self.schema) is not None:
            return "choice"
        if "string" in types:
            is_long = _is_long(self.schema) and not self.is_secret
            return "long" if is_long else "text"
        if "number" in types or "integer" in types:
            return "number"
        if "boolean" in types:  # nobody has decided what is not ticked
            return "choice" if self.required else "boolean"
        return "text"

    @property
    def choices(self) -> list[Choice]:
        """What there is to choose from."""
        found = _choices(self.schema)
        named = _named([True, False]) if found is None else found
        return [Choice(json.dumps(v), n, written(v) == self.text) for v, n in named]

    @property
    def input_type(self) -> str:
        """The type of its input, where it is a text of one line."""
        if self.is_secret:
            return "password"
        return _INPUT_OF.get(self.schema.get("format", ""), "text")

    @property
    def step(self) -> float | str:
        """By how much a number goes up and down."""
        is_integer = "number" not in _types(self.schema)
        step: float | str = self.schema.get("multipleOf", 1 if is_integer else "any")
        return step

    def facts(self) -> dict[str, Any]:
        """Return what the page's module has to know of it."""
        return {
            "schema": self.schema,
            "required": self.required,
            "argument": self.argument,
        }


def given(task: TaskRecord) -> str:
    """Return the parameters that a command was given, as one line."""
    params = {} if task.params is None else json.loads(task.params)
    return " ".join(f"{name}={written(value)}" for name, value in params.items())


def of_command(entry: Entry, params: Mapping[str, Any]) -> list[Field]:
    """Return a field for each parameter, filled in with `params` or the defaults."""
    return [
        Field(
            path=f"params.{each.name}",
            schema=each.document,
            label=each.document.get("title", each.name),
            text=_text(params.get(each.name, each.default)),
            required=each.is_required,
            hint=each.document.get("description", ""),
            argument=True,
            is_secret=each.is_secret,
            notes=_notes(each),
        )
        for each in entry.parameters.values()
    ]


def of_options(entry: Entry, *, detached: bool | None) -> list[Field]:
    """Return a field for each thing else that a caller may say.

    `detached` fills in one of them; None: it is not the caller's to say.
    """
    text = {"type": "string"}
    stdin = Field("stdin", text | {"maxLength": _STDIN_CHARACTERS}, t("Input"))
    env = [
        Field(f"env.{name}", text, name, hint=t("A variable of its environment"))
        for name in entry.env_allowed
    ]
    stdins = [stdin] if entry.takes_stdin else []
    last = of_detached(None if entry.is_detached else detached)
    return [*stdins, *env, of_timeout(entry.timeout_seconds), *last]


def of_shell(cmd: str, timeout_seconds: float, *, detached: bool | None) -> list[Field]:
    """Return the fields of what a shell is to run; see `of_options`."""
    text = {"type": "string", "minLength": 1, "maxLength": _ARGUMENT_CHARACTERS}
    command = Field("cmd", text, t("Command line"), text=cmd, required=True)
    return [command, of_timeout(timeout_seconds), *of_detached(detached)]


def of_timeout(most: float) -> Field:
    """Return the field for how long it may run."""
    schema = {"type": "number", "exclusiveMinimum": 0, "maximum": most}
    hint = t("Ended after so many seconds; left empty: {seconds}", seconds=f"{most:g}")
    return Field("timeout_seconds", schema, t("Time limit"), hint=hint)


def of_detached(detached: bool | None) -> list[Field]:
    """Return the field for whether it outlives the service, if there is to be one."""
    if detached is None:
        return []
    hint = t("Goes on while the service is restarted or upgraded")
    text = _text(detached)
    return [Field("detached", {"type": "boolean"}, t("Detached"), text, hint=hint)]


def _types(schema: Mapping[str, Any]) -> Sequence[str]:
    types = schema.get("type", "string")
    return [types] if isinstance(types, str) else types


def _choices(schema: Mapping[str, Any]) -> list[tuple[Any, str]] | None:
    """Return what is listed, with the titles that `oneOf` may give; None if nothing."""
    if "const" in schema:
        return _named([schema["const"]])
    if "enum" in schema:
        return _named(schema["enum"])
    every = schema.get("oneOf", [])
    if not every or not all(isinstance(e, dict) and "const" in e for e in every):
        return None
    titles = {written(e["const"]): e.get("title") for e in every}
    named = _named([e["const"] for e in every])
    return [(value, titles[text] or text) for value, text in named]


def _named(values: Sequence[Any]) -> list[tuple[Any, str]]:
    """Return values with their names; what is no single value no command takes."""
    return [(v, written(v)) for v in values if isinstance(v, str | int | float)]


def _is_long(schema: Mapping[str, Any]) -> bool:
    has_lines = "\n" in str(schema.get("default", ""))
    return has_lines or schema.get("maxLength", 0) > _LINE_CHARACTERS


def _text(value: Any) -> str:
    return "" if value is None else written(value)


def _notes(parameter: Parameter) -> list[str]:
    """Return in words what a value may be, where the field itself does not show it."""
    schema = parameter.document
    if _choices(schema) is not None:
        return []
    notes = _bounds(schema)
    if "maxLength" in schema:
        notes.append(t("up to {count} characters", count=schema["maxLength"]))
    if "pattern" in schema and "description" not in schema:
        notes.append(t("form: {pattern}", pattern=schema["pattern"]))
    default = _text(parameter.default)
    is_shown = not (isinstance(parameter.default, bool) or parameter.is_secret)
    if default and is_shown and "\n" not in default:
        notes.append(t("left empty: {default}", default=default))
    return notes


def _bounds(schema: Mapping[str, Any]) -> list[str]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        notes = [t("{minimum} to {maximum}", minimum=least, maximum=most)]
    elif least is not None:
        notes = [t("at least {minimum}", minimum=least)]
    else:
        notes = [] if most is None else [t("at most {maximum}", maximum=most)]
    if "exclusiveMinimum" in schema:
        notes.insert(0, t("more than {minimum}", minimum=schema["exclusiveMinimum"]))
    if "exclusiveMaximum" in schema:
        notes.append(t("less than {maximum}", maximum=schema["exclusiveMaximum"]))
    if "multipleOf" in schema:
        notes.append(t("in steps of {step}", step=schema["multipleOf"]))
    return notes
