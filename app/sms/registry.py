"""The providers that the settings name, made of their classes."""

from collections.abc import Iterable, Mapping
from typing import Any

from werkzeug.utils import import_string

from .provider import SmsProvider


class FaultyProvider(ValueError):
    """A provider cannot be made of its settings, or not stand beside the others."""


def load(
    conf: Mapping[str, Mapping[str, Any]], names: Iterable[str]
) -> dict[str, SmsProvider]:
    """Return the named providers of `conf`, in the order of the names.

    `conf` has `{name: {"provider_cls": "package.module.Class", "config": {…}}}`; the
    others in it are not made. Raises FaultyProvider saying what is wrong with which.
    """
    found = {name: _provider(name, conf) for name in names}
    for name, provider in found.items():
        if len(found) > 1 and not provider.tells_rejections:
            words = "cannot tell what was rejected, and so stands beside no other"
            raise FaultyProvider(f"SMS provider {name}: {words}")
    return found


def _provider(name: str, conf: Mapping[str, Mapping[str, Any]]) -> SmsProvider:
    if name not in conf:
        known = ", ".join(sorted(conf)) or "none"
        raise FaultyProvider(f"SMS provider {name}: is not one of: {known}")
    try:
        provider_cls = _class(conf[name].get("provider_cls", "provider_cls"))
        return provider_cls(**conf[name].get("config", {}))
    except (TypeError, ValueError) as error:
        raise FaultyProvider(f"SMS provider {name}: {error}") from error


def _class(path: str) -> type[SmsProvider]:
    try:
        found = import_string(path)
    except ImportError as error:
        reason = getattr(error, "exception", error)  # without a page of advice
        raise ValueError(f"{path} cannot be imported: {reason}") from error
    if not (isinstance(found, type) and issubclass(found, SmsProvider)):
        raise ValueError(f"{path} is no SmsProvider")
    return found
