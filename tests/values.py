"""Values that a caller may give for a parameter, the awkward ones above all."""

import random
from itertools import chain

#: What execve takes as one argument, less its closing NUL.
ARGUMENT_BYTES = 131_071

ORDINARY = [
    "",
    " ",
    "a",
    "ü",
    "x" * 300,
    "two words",
    "a=b",
    "name=value",
    "0",
    "-0.5",
    "true",
    "None",
]
SHELL = [
    "'",
    '"',
    "`id`",
    "$(id)",
    "$((1+1))",
    "${IFS}",
    "$HOME",
    "$@",
    ";",
    "|",
    "||",
    "&",
    "&&",
    ">",
    ">>/dev/null",
    "<",
    "<<EOF",
    "*",
    "?",
    "[a-z]",
    "~",
    "~root",
    "#",
    "!",
    "!!",
    "\\",
    "\\n",
    "\\'",
    "() { :;}; id",
]
CONTROLS = ["\n", "\r", "\t", "\r\n", "\v", "\x01", "\x1b[2J", "\x7f", "\0"]
OPTIONS = ["-", "--", "-x", "--option=value", "-rf", "- ", "-\n"]
TEMPLATES = [
    "{value}",
    "{other}",
    "{0}",
    "{}",
    "{",
    "}",
    "{{",
    "}}",
    "{{value}}",
    "%s",
    "%n",
    "%(value)s",
    "%",
    "%%",
    "$value",
    "{value!r}",
    "{value.__class__}",
]
UNICODE = [
    "é",
    "e\u0301",
    "中文",
    "🦤",
    "\u202e",
    "\u200b",
    "\u2028",
    "\ufeff",
    "\u2010x",
    "\uff0d",
    "\xa0",
    "\x80",
    "\ufffd",
    "\uffff",
    "\U0010ffff",
]
SURROGATES = ["\ud800", "\udbff", "\udc80", "\udcff", "\udfff", "\ud83e"]
PIECES = list(chain(ORDINARY, SHELL, CONTROLS, OPTIONS, TEMPLATES, UNICODE, SURROGATES))
LONG_BYTES = 100_000


def values(count: int, *, seed: int, long_every: int = 200) -> list[str]:
    """Return `count` values, the same for the same `seed`.

    Every piece alone is among them if there is room, and a long one now and then.
    """
    source = random.Random(seed)
    made = PIECES[:count]
    while len(made) < count:
        pieces = source.choices(PIECES, k=source.randint(1, 6))
        if source.random() < 0.2:
            pieces.append("".join(map(chr, source.choices(range(0x110000), k=5))))
        if source.random() < 1 / long_every:
            text = source.choice(["x", "é", "'", "\n", "{value}", " -"])
            pieces += [text * (source.choice([1, 1, 2]) * LONG_BYTES // len(text))]
        made.append("".join(pieces))
    source.shuffle(made)
    return made


def is_refused(value: str, *, variable: str) -> bool:
    """Return whether a plain string parameter has to refuse a value.

    `variable` is the name of the variable of the environment that has it too.
    """
    encoded = value.encode("utf-8", "surrogatepass")
    return (
        value.startswith("-")
        or b"\0" in encoded
        or any("\ud800" <= character <= "\udfff" for character in value)
        or len(encoded) > ARGUMENT_BYTES - len(f"{variable}=")
    )
