"""Who has been let in, and what for."""

from dataclasses import dataclass
from enum import StrEnum

from app.errors import NotPermitted


class Scope(StrEnum):
    """What credentials are good for; each stands for itself and includes no other."""

    READ = "read"
    EXEC = "exec"
    SMS = "sms"
    ADMIN = "admin"


#: What everybody may who is no admin, and a token that was made without scopes.
ORDINARY = frozenset({Scope.READ, Scope.EXEC, Scope.SMS})


@dataclass(frozen=True)
class Identity:
    """A caller whose credentials were good.

    `account` is the account's number, `via` how the caller has proved it: "basic",
    "bearer", "session" or "signature". `scopes` are those of the credentials, and no
    more than the account has.
    """

    account: int
    username: str
    scopes: frozenset[Scope]
    via: str

    @property
    def is_admin(self) -> bool:
        """Whether an admin calls, by credentials that are good for that."""
        return Scope.ADMIN in self.scopes

    def require(self, scope: Scope) -> None:
        """Raise NotPermitted where the credentials are not good for `scope`."""
        if scope not in self.scopes:
            raise NotPermitted(f"This takes credentials with the scope {scope}.")

    def require_self_or_admin(self, username: str) -> None:
        """Raise NotPermitted unless it is about the caller, or an admin calls."""
        if not self.is_admin and username != self.username:
            raise NotPermitted("This is for the user it is about, and for admins.")

    def require_password(self) -> None:
        """Raise NotPermitted where a token or a session would make what outlives it."""
        if self.via != "basic" and not self.is_admin:
            raise NotPermitted(
                "This takes the user's password, or a token with the scope admin."
            )


def scopes_of(*, admin: bool) -> frozenset[Scope]:
    """Return all that an account is good for."""
    return ORDINARY | {Scope.ADMIN} if admin else ORDINARY
