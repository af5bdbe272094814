"""How one setting is declared and read: strict casts, every fault kept.

What the settings of Bellhop are stands in :mod:`config.config`.
"""

import os
import re
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload
from urllib.parse import urlsplit

from envparse import ConfigurationError, Env

T = TypeVar("T")

# A path has no %, so that it is what it says.
_URL_PREFIX = re.compile(
    r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?"
    r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~!$&'()*+;=:@-]*)*"
)

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class SettingsError(Exception):
    """The service does not start; every faulty setting has a line."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        lines = "".join(f"\n  {fault}" for fault in faults)
        super().__init__(
            f"Bellhop does not start, its settings are faulty:{lines}\n"
            "Set them right and start it again; docs/settings.md has all of them."
        )


class Setting(Generic[T]):
    """One environment variable: its cast, its value when unset, its reason.

    A class of settings holds it as an attribute; an instance of that class has
    the value. An empty variable counts as unset, as `docker run -e NAME=` means.
    """

    def __init__(
        self,
        cast: Callable[[str], T],
        default: T,
        doc: str,
        *,
        unit: str = "",
        secret: bool = False,
    ) -> None:
        self.cast = cast
        self.default = default
        self.doc = doc
        self.unit = unit
        self.secret = secret
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Self | T:
        if instance is None:
            return self
        value: T = instance.__dict__[self.name]
        return value

    def with_default(self, default: T) -> "Setting[T]":
        """Return the same setting with another default, for one environment."""
        return Setting(self.cast, default, self.doc, unit=self.unit, secret=self.secret)

    def read(self) -> T:
        """Return the value from the environment, raising ValueError if faulty."""
        raw = os.environ.get(self.name, "")
        if raw == "":
            return self.default
        try:
            # envparse hands a callable that is no type the raw text, so that its
            # own lenient casts (bool('nonsense') is False) are never used. Nor is
            # its look-up, which takes a key that begins with {{ for another's name.
            value: T = Env.cast(raw, self.cast)
        except (ConfigurationError, ValueError) as error:
            shown = "" if self.secret else f"={raw!r}"
            raise ValueError(f"{self.name}{shown} {error}") from error
        return value


class Settings:
    """A base for classes of settings: reads all, then reports all faults at once."""

    def __init__(self) -> None:
        faults = []
        for name in dir(type(self)):
            setting: Any = getattr(type(self), name)
            if isinstance(setting, Setting):
                try:
                    self.__dict__[name] = setting.read()
                except ValueError as error:
                    faults.append(str(error))
        faults += self.cross_check() if not faults else []
        if faults:
            raise SettingsError(faults)

    def cross_check(self) -> list[str]:
        """Return the faults that lie between settings, each fine by itself."""
        return []


def text(value: str) -> str:
    """Take the text as it is."""
    return value


def optional_text(value: str) -> str | None:
    """Take the text as it is; unset is None."""
    return value


def boolean(value: str) -> bool:
    """Take one of 1, true, yes, on, 0, false, no, off, in any case."""
    if value.lower() not in (*_TRUE, *_FALSE):
        raise ValueError(f"is not one of {', '.join((*_TRUE, *_FALSE))}")
    return value.lower() in _TRUE


def word(value: str) -> str:
    """Take what can stand in a path as it is."""
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", value):
        raise ValueError("is not made of letters, digits and . _ ~ -")
    return value


def host_name(value: str) -> str:
    """Take what a host may be called: what real hosts and containers are."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}", value):
        raise ValueError(
            "is not made of up to 253 letters, digits and . _ -, of which . and - do "
            "not come first"
        )
    return value


def as_host_name(of_system: str) -> str:
    """Return the system's own name as a host may be called here: it may be anything."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", of_system).lstrip(".-")
    return cleaned[:253] or "localhost"


def names(value: str) -> tuple[str, ...]:
    """Take names between commas, each once."""
    found = tuple(part.strip() for part in value.split(","))
    if not all(found) or len(set(found)) < len(found):
        raise ValueError("is not names between commas, each once")
    return found


def url_prefixes(value: str) -> tuple[str, ...]:
    """Take what URLs may begin with, between commas or spaces."""
    found = tuple(re.split(r"[,\s]+", value.strip(", ")))
    for each in found:
        if not _URL_PREFIX.fullmatch(each) or not _has_port(each):
            raise ValueError(f"has {each!r}, which is no http://HOST/ or https://HOST/")
    return found


def pairs(value: str) -> dict[str, str]:
    """Take pairs of NAME=VALUE between commas."""
    found = dict(part.strip().partition("=")[::2] for part in value.split(","))
    if not all(found) or not all(found.values()):
        raise ValueError("is not NAME=VALUE between commas")
    return found


def quotas(value: str) -> tuple[tuple[int, float], ...]:
    """Take numbers for so many seconds, 5/3600,20/86400, or the word off."""
    if value.lower() == "off":
        return ()
    found = [
        re.fullmatch(r"\s*([1-9]\d{0,8})/([1-9]\d{0,8})\s*", p, re.ASCII)
        for p in value.split(",")
    ]
    if not all(found):
        raise ValueError("is not N/SECONDS between commas, nor off")
    return tuple((int(each[1]), float(each[2])) for each in found if each)


def username(value: str) -> str:
    """Take what a user may be called."""
    if not re.fullmatch(r"\.*[A-Za-z0-9_@+-][A-Za-z0-9._@+-]{0,127}", value):
        raise ValueError("is not made of letters, digits and . _ @ + -")
    return value


def integer(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return a cast to an integer from `minimum` to `maximum`."""

    def cast(value: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise ValueError("is not an integer")
        if not minimum <= (number := int(value)) <= maximum:
            raise ValueError(f"is not from {minimum} to {maximum}")
        return number

    return cast


def seconds(minimum: float, maximum: float) -> Callable[[str], float]:
    """Return a cast to a number of seconds from `minimum` to `maximum`."""

    def cast(value: str) -> float:
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            raise ValueError("is not a number of seconds")
        if not minimum <= (number := float(value)) <= maximum:
            raise ValueError(f"is not from {minimum:g} to {maximum:g} seconds")
        return number

    return cast


def choice(*words: str) -> Callable[[str], str]:
    """Return a cast that takes one of `words`, in any case."""

    def cast(value: str) -> str:
        for word in words:
            if value.lower() == word.lower():
                return word
        raise ValueError(f"is not one of {', '.join(words)}")

    return cast


def _has_port(value: str) -> bool:
    """Return whether a URL's port, and its address of IPv6, is one."""
    try:
        return urlsplit(value).port != 0
    except ValueError:
        return False


def url(*schemes: str) -> Callable[[str], str]:
    """Return a cast that takes a URL of one of `schemes`."""

    def cast(value: str) -> str:
        scheme, separator, _ = value.partition("://")
        if scheme not in schemes or not separator:
            raise ValueError(f"does not begin with one of {', '.join(schemes)} and ://")
        try:
            _ = urlsplit(value).port
        except ValueError:  # whose text may show the password
            raise ValueError(
                "is not a URL; / : ? # @ in a user or password are written as %XX"
            ) from None
        return value

    return cast
