"""What is open, and to whom."""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from app.finding import Finding

# Shorter ones can be guessed by whoever has something that was signed with them.
_KEY_CHARACTERS = 32


def findings(
    settings: Mapping[str, Any], open_routes: Sequence[str]
) -> Iterator[Finding]:
    """Give what there is to say of the environment and of who is let in."""
    is_local = _is_local(settings["BIND_ADDRESS"])
    yield _of_environment(settings, is_local=is_local)
    if settings["FLASK_ENV"] == "production":
        yield from _of_starts(settings)
    yield _of_routes(settings, open_routes, is_local=is_local)
    if not is_local and not settings["METRICS_TOKEN"]:
        yield Finding.note(
            "METRICS_TOKEN",
            f"is not set: whoever reaches {settings['BIND_ADDRESS']} sees the figures",
            "set it, and give it to Prometheus",
        )
    if len(settings["SECRET_KEY"]) < _KEY_CHARACTERS:
        yield Finding.note(
            "SECRET_KEY",
            f"has fewer than {_KEY_CHARACTERS} characters",
            "leave it unset, so that one is made, or set it to a random text",
        )


def _of_environment(settings: Mapping[str, Any], *, is_local: bool) -> Finding:
    name, address = settings["FLASK_ENV"], settings["BIND_ADDRESS"]
    if name == "production":
        return Finding("FLASK_ENV", "is production")
    if is_local:
        words = f"is {name}: whoever has an account on this host may run anything"
        return Finding.note("FLASK_ENV", words, "set it to production to go live")
    words = f"is {name}: whoever reaches {address} may run anything here"
    remedy = "set it to production, or BIND_ADDRESS to 127.0.0.1"
    return Finding.fault("FLASK_ENV", words, remedy)


def _of_starts(settings: Mapping[str, Any]) -> Iterator[Finding]:
    is_signed = settings["EXEC_TOKEN_REQUIRED"]
    if not is_signed:
        words = "is off in production: nobody has to sign at /api/exec and /api/poll"
        yield Finding.fault("EXEC_TOKEN_REQUIRED", words, "set it to 1, or unset it")
    if settings["EXEC_ALLOW_SHELL"]:
        who = "whoever may start commands" if is_signed else "anybody at all"
        words = f"is on in production: {who} may run anything"
        find = Finding.note if is_signed else Finding.fault
        remedy = "unset it, and list in EXEC_COMMANDS what may be run"
        yield find("EXEC_ALLOW_SHELL", words, remedy)


def _of_routes(
    settings: Mapping[str, Any], open_routes: Sequence[str], *, is_local: bool
) -> Finding:
    address = f"{settings['BIND_ADDRESS']}:{settings['PORT']}"
    words = f"whoever reaches {address} may use {', '.join(sorted(open_routes))}"
    if is_local:
        return Finding("open routes", words)
    remedy = (
        "put a proxy in front that speaks TLS, and refuses what strangers need not see"
    )
    return Finding.note("open routes", words, remedy)


def _is_local(address: str) -> bool:
    try:
        return ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address == "localhost"
