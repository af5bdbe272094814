"""Who may use a route: every route says so, none is open because nobody said."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from app.auth.permissions import Scope

#: What a browser that has signed in sends with every request.
SESSION_COOKIE = "bellhop_session"


class Who(StrEnum):
    """What a route asks of its callers before all else."""

    ANYBODY = "nothing"
    SIGNER = "a signed uuid, where EXEC_TOKEN_REQUIRED is on"
    ACCOUNT_IN_PRODUCTION = "a password, a token or a session, in production"
    ACCOUNT = "a password, a token or a session"
    SESSION = "a session"
    SCRAPER = "METRICS_TOKEN, where that is set"


@dataclass(frozen=True)
class Access:
    """Who may use a route, by which of its methods.

    `scopes` has the scope that each method takes, None where any credentials do and
    the resource asks further. `get_changes` says that its GET starts or takes
    something, `audited` that what changes by it is kept in the audit.
    """

    who: Who
    scopes: Mapping[str, Scope | None] = field(default_factory=dict)
    get_changes: bool = False
    audited: bool = True

    def changes(self, method: str) -> bool:
        """Return whether something is another after a request with that method."""
        return method not in ("GET", "HEAD", "OPTIONS") or (
            self.get_changes and method == "GET"
        )


OPEN = Access(Who.ANYBODY)
ECHO = Access(Who.ANYBODY, audited=False)
METRICS = Access(Who.SCRAPER)
OPEN_TASKS = Access(Who.ANYBODY, get_changes=True)

SIGNED_START = Access(Who.SIGNER)
SIGNED_POLL = Access(Who.SIGNER, get_changes=True, audited=False)

PEOPLE = Access(
    Who.ACCOUNT_IN_PRODUCTION,
    {"GET": Scope.READ, "POST": Scope.SMS, "PUT": Scope.SMS, "DELETE": Scope.SMS},
)

# Sent to whom a number belongs, and paid for.
_SMS_SCOPES = {"GET": Scope.READ, "POST": Scope.SMS}
SMS = Access(Who.ACCOUNT_IN_PRODUCTION, _SMS_SCOPES)
SMS_PREVIEW = Access(Who.ACCOUNT_IN_PRODUCTION, _SMS_SCOPES, audited=False)
USERS_SMS = Access(Who.ACCOUNT, _SMS_SCOPES)
USERS_SMS_PREVIEW = Access(Who.ACCOUNT, _SMS_SCOPES, audited=False)
# The resource asks for the secret in the path. What comes is kept with the message.
RECEIPTS = Access(Who.ANYBODY, get_changes=True, audited=False)

READ = Access(Who.ACCOUNT, {"GET": Scope.READ})
TASK = Access(Who.ACCOUNT, {"GET": Scope.READ, "DELETE": Scope.EXEC})
START = Access(Who.ACCOUNT, {"POST": Scope.EXEC})
REPORT = Access(Who.ACCOUNT, {"GET": Scope.EXEC, "POST": Scope.EXEC}, get_changes=True)
USERS = Access(
    Who.ACCOUNT,
    {
        "GET": Scope.READ,
        "POST": Scope.ADMIN,
        "PUT": Scope.ADMIN,
        "PATCH": Scope.ADMIN,
        "DELETE": Scope.ADMIN,
    },
)
# The resource asks who it is about, and for the password.
CREDENTIALS = Access(Who.ACCOUNT, {"GET": Scope.READ, "POST": None, "DELETE": None})
ADMIN = Access(Who.ACCOUNT, {"GET": Scope.ADMIN})

PAGE = Access(Who.SESSION, {"GET": Scope.READ})
ADMIN_PAGE = Access(Who.SESSION, {"GET": Scope.ADMIN})
SIGN_IN = Access(Who.ANYBODY)
SIGN_OUT = Access(Who.SESSION, {"POST": None})
# Of how pages look to one reader.
CHOICE = Access(Who.ANYBODY, audited=False)
