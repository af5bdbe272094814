"""Who may: decided before anything of a request is read.

What a route asks stands in :mod:`app.api.access`, for each in :mod:`app.api.routes`.
"""

import hmac
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from flask import current_app, g, request
from werkzeug.exceptions import Forbidden

from app.api.access import SESSION_COOKIE, Access, Who
from app.api.resource import services
from app.api.rule import this_request
from app.auth.permissions import Identity
from app.errors import (
    AccountNotFound,
    Fault,
    NotAuthenticated,
    TooManyAttempts,
    UuidRefused,
)
from app.tasks.order import Origin

CSRF_HEADER = "X-CSRF-Token"

_CALLER = re.compile(r"[A-Za-z0-9._-]{1,128}")


def admit(access: Access, in_path: dict[str, Any]) -> None:
    """Let the request in, or raise: 401 before 403, and both before all else."""
    g.access = access
    if access.who is not Who.ANYBODY:
        with _claim_noted():
            if access.who is Who.SIGNER:
                g.origin = _signer(in_path["uuid"])
            elif _takes_account(access):
                g.identity = authenticate()
            elif access.who is Who.SESSION:
                g.identity = _reader()
            elif access.who is Who.SCRAPER:
                _require_metrics_token()
    if access.changes(request.method):
        _refuse_foreign_origin()
        _require_csrf_token()
    if identity := caller():
        _require_scope(identity, access)


def admit_unknown() -> None:
    """Let in who asks for a path of v3 that there is not: only users learn that."""
    with _claim_noted():
        g.identity = authenticate()


def authenticate() -> Identity:
    """Return whose credentials came with the request.

    Raises NotAuthenticated, TooManyAttempts or PasswordChecksExceeded.
    """
    given = request.authorization
    if given is None:
        return _reader()
    if given.type == "bearer" and given.token:
        return services().tokens.authenticate(given.token)
    if given.type == "basic":
        services().accounts.make_first_admin()
        return _login(given.username or "", given.password or "")
    raise NotAuthenticated


def sign_in(username: str, password: str) -> str:
    """Return a new session for the name and the password of a form.

    Raises as `authenticate` does.
    """
    services().accounts.make_first_admin()
    with _claim_noted("password"):
        # Read before the password is checked: whoever changes it in between has ended
        # the sessions there were, and this one is refused for it.
        account = _account(username)
        identity = _login(username, password)
        if account is None:  # just made
            raise NotAuthenticated
        text = services().sessions.open(account)
    g.identity = identity
    return text


def session_text() -> str | None:
    """Return the session that came with the request, whether it is good or not."""
    return request.cookies.get(SESSION_COOKIE)


def caller() -> Identity | None:
    """Return who calls, None where nobody had to say."""
    found: Identity | None = g.get("identity")
    return found


def user() -> Identity:
    """Return who calls a route that takes an account."""
    identity: Identity = g.identity
    return identity


def origin() -> Origin:
    """Return by whom a task is started, or a message sent."""
    of_uuid: Origin | None = g.get("origin")
    found = of_uuid or services().origin(caller(), g.uuid)
    return replace(found, request=g.get("kept_request"))


def caller_faults(uuid: str) -> list[Fault]:
    """Return what is wrong with a uuid that nobody has to sign."""
    if current_app.config["EXEC_TOKEN_REQUIRED"] or _CALLER.fullmatch(uuid):
        return []
    fault = "is not 1 to 128 letters, digits, dots, underscores or hyphens"
    return [Fault("uuid", fault)]


def _account(username: str) -> Mapping[str, Any] | None:
    try:
        return services().accounts.get(username)
    except AccountNotFound:
        return None


def _login(username: str, password: str) -> Identity:
    address = request.remote_addr or ""
    return services().login.authenticate(username, password, address=address)


def _reader() -> Identity:
    """Return whose session came with the request, by the cookie alone."""
    text = session_text()
    if text is None:
        raise NotAuthenticated
    return services().sessions.authenticate(text)


def _signer(uuid: str) -> Origin:
    """Return whose slot a uuid of /api/exec and /api/poll stands for."""
    if not current_app.config["EXEC_TOKEN_REQUIRED"]:
        return Origin(owner=uuid, slot=uuid, request_id=g.uuid)
    signed = services().signed_callers.check(uuid)
    return Origin(
        owner=signed.identity.username,
        account=signed.identity.account,
        # No name of an open caller: those have no colon.
        slot=f"account:{signed.identity.account}",
        request_id=g.uuid,
        uuid=signed.digest,
    )


def _require_metrics_token() -> None:
    wanted, given = current_app.config["METRICS_TOKEN"], request.authorization
    if wanted is None:
        return
    token = (given.token or "") if given and given.type == "bearer" else ""
    if not hmac.compare_digest(token.encode(), wanted.encode()):
        raise NotAuthenticated


def _takes_account(access: Access) -> bool:
    if access.who is Who.ACCOUNT_IN_PRODUCTION:
        return not current_app.config["OPEN_TO_ALL"]
    return access.who is Who.ACCOUNT


def _require_scope(identity: Identity, access: Access) -> None:
    asked = this_request()
    if asked.method == "OPTIONS":
        return
    if asked.url_rule is None:
        return  # the route has no such method, and says so: 405
    scope = access.scopes["GET" if asked.method == "HEAD" else asked.method]
    if scope is not None:
        identity.require(scope)


def _refuse_foreign_origin() -> None:
    """Raise 403 for what a page of another site has a browser send.

    Browsers add passwords that they know by themselves. They say where a request comes
    from; curl and the like say nothing and are let through.
    """
    site, sender = (request.headers.get(n) for n in ("Sec-Fetch-Site", "Origin"))
    if site is None and sender is None:
        return
    if site is not None:
        is_own = site in ("same-origin", "none")
    else:
        is_own = _host_of(sender or "") == request.host
    if not is_own or _may_be_rebound():
        raise Forbidden("A page of another site may not do this.")


def _require_csrf_token() -> None:
    """Raise 403 for what a session changes without a word of its own page.

    A browser sends the cookie by itself, whoever has it ask; the token stands in our
    pages, which no other site can read. Who signs in has none yet.
    """
    known = caller()
    if known is None or known.via != "session":
        return
    given = request.headers.get(CSRF_HEADER)
    if given is None and g.access.who is Who.SESSION:
        given = request.form.get("csrf")
    wanted = services().sessions.csrf(session_text() or "")
    if not hmac.compare_digest((given or "").encode(), wanted.encode()):
        raise Forbidden(
            f"By a session this takes {CSRF_HEADER} of its page: load the page again."
        )


def _may_be_rebound() -> bool:
    """Return whether another site may have made the name that was asked lead here.

    Its page is then one of this site to the browser. Where a password was asked for it
    had none; where all is open, only names count that nobody else can have.
    """
    host = urlsplit(f"//{request.host}").hostname or ""
    own = ("localhost", current_app.config["BELLHOP_HOST"].lower())
    if caller() or not current_app.config["OPEN_TO_ALL"] or host in own:
        return False
    try:
        ip_address(host)
    except ValueError:
        return not host.endswith(".localhost")
    return False


def _host_of(url: str) -> str | None:
    """Return host and port of a URL, None where it has none that can be read."""
    try:
        return urlsplit(url).netloc or None
    except ValueError:
        return None


@contextmanager
def _claim_noted(in_form: str | None = None) -> Iterator[None]:
    """Note for the audit that credentials were refused, and whose were guessed at.

    A session that has ended is no claim: every one ends, and its browser still has it.
    """
    try:
        yield
    except (NotAuthenticated, TooManyAttempts) as error:
        if via := in_form or _given(error):
            services().figures.credentials_refused(via)
        if in_form or request.authorization is not None:
            g.claimed = error.username or "nobody that there is"
        raise


def _given(error: Exception) -> str | None:
    """Return what was refused, None where nothing was given."""
    if isinstance(error, UuidRefused):
        return "signature"
    if request.authorization is None:
        return "session" if session_text() else None
    return "password" if request.authorization.type == "basic" else "token"
