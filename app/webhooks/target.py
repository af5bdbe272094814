"""Where may be told: only what the operator has named, and nothing behind the host.

A caller who chooses the URL must not reach what only this host can: its own services,
the cloud's metadata, the network behind it. So a URL has to begin as one of the
prefixes does, and the addresses of its name are looked at each time, before one of them
(and no name again) is connected to.
"""

import re
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

Address = IPv4Address | IPv6Address

_PORTS = {"http": 80, "https": 443}
# What a URL may have; a browser takes a backslash for a slash, others do not.
_TEXT = re.compile(r"[!-\[\]-~]{1,2048}")
# By which IPv6 reaches IPv4, beside what `ipaddress` knows (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")
# What IPv6 has given out; `ipaddress` takes more for public, such as fec0::1.
_GIVEN_OUT = IPv6Network("2000::/3")


class TargetRefused(Exception):
    """A URL is not one that may be told."""


@dataclass(frozen=True)
class Target:
    """A URL that may be told, and at which addresses, best first."""

    url: str
    host: str
    port: int
    addresses: Sequence[str]


class Targets:
    """The URLs that may be told."""

    def __init__(
        self,
        prefixes: Iterable[str],
        *,
        resolve: Callable[..., list[Any]] = socket.getaddrinfo,
    ) -> None:
        self._prefixes = [_parts(prefix) for prefix in prefixes]
        self._resolve = resolve

    def check(self, url: str) -> None:
        """Raise TargetRefused for a URL below no prefix; no name is looked up."""
        self._checked(url)

    def find(self, url: str) -> Target:
        """Return where a URL is to be found now.

        Raises TargetRefused, and OSError for a name that is not found.
        """
        parts = self._checked(url)
        host, port = parts.hostname or "", _port(parts)
        if _literal(host):
            return Target(url, host, port, [host])
        try:
            found = self._resolve(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as error:  # a part of the name is too long
            raise TargetRefused("has a name that nobody can have") from error
        addresses = [str(each[4][0]) for each in found]
        for address in addresses:
            if not _is_public(ip_address(address.partition("%")[0])):
                raise TargetRefused("has a name that leads to what is not public")
        return Target(url, host, port, addresses)

    def _checked(self, url: str) -> SplitResult:
        parts = _parts(url)
        if not any(_is_below(parts, prefix) for prefix in self._prefixes):
            raise TargetRefused("is below none of NOTIFY_URL_PREFIXES")
        return parts


def host_of(url: str) -> str:
    """Return the host that a URL names; nothing for what is no URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _parts(url: str) -> SplitResult:
    """Return the parts of a URL that all who read it take for the same ones."""
    if not _TEXT.fullmatch(url):
        raise TargetRefused("is no URL of plain ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise TargetRefused("is no URL") from error
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise TargetRefused("is no URL of http or https with a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise TargetRefused("has a name, a password or a fragment")
    steps = re.split(r"[/\\]", unquote(unquote(parts.path)))
    if "." in steps or ".." in steps:
        raise TargetRefused("has a path that leads upwards")
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]


def _is_below(parts: SplitResult, prefix: SplitResult) -> bool:
    def where(of: SplitResult) -> tuple[str, str | None, int]:
        return of.scheme, of.hostname, _port(of)

    folder = prefix.path if prefix.path.endswith("/") else f"{prefix.path}/"
    path = parts.path or "/"
    is_below = path.startswith(folder) or path == prefix.path
    return where(parts) == where(prefix) and is_below


def _literal(host: str) -> Address | None:
    """Return the address that a host is, None for a name.

    The operator has named it then, whatever it is.
    """
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    """Return whether an address is one of the internet's, also where it is wrapped."""
    if isinstance(address, IPv6Address):
        teredo = address.teredo
        inner = [address.ipv4_mapped, address.sixtofour, teredo and teredo[1]]
        if address in _NAT64:
            inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
        if any(each and not _is_public(each) for each in inner):
            return False
        if address.ipv4_mapped:
            return True  # and the one inside is
        if address not in _GIVEN_OUT and address not in _NAT64:
            return False
    return address.is_global and not address.is_multicast
