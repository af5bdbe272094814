from itertools import product

import pytest

from app.auth.permissions import ORDINARY, Identity, Scope, scopes_of
from app.errors import NotPermitted


def identity(*scopes: Scope, via: str = "bearer", username: str = "ann") -> Identity:
    return Identity(account=1, username=username, scopes=frozenset(scopes), via=via)


def test_everybody_may_read_run_and_send_and_an_admin_all() -> None:
    assert scopes_of(admin=False) == {Scope.READ, Scope.EXEC, Scope.SMS} == ORDINARY
    assert scopes_of(admin=True) == set(Scope)


def test_scopes_are_called_as_they_are_written_in_a_request() -> None:
    assert [str(scope) for scope in Scope] == ["read", "exec", "sms", "admin"]


@pytest.mark.parametrize(("has", "asked"), list(product(Scope, Scope)))
def test_each_scope_stands_for_itself_and_includes_no_other(
    has: Scope, asked: Scope
) -> None:
    caller = identity(has)
    if has is asked:
        caller.require(asked)
        return
    with pytest.raises(NotPermitted, match=f"scope {asked}"):
        caller.require(asked)


def test_who_has_no_scope_may_nothing() -> None:
    for scope in Scope:
        with pytest.raises(NotPermitted):
            identity().require(scope)


@pytest.mark.parametrize("via", ["basic", "bearer", "signature"])
def test_an_admin_is_who_has_that_scope_however_proved(via: str) -> None:
    assert identity(Scope.ADMIN, via=via).is_admin
    assert not identity(*ORDINARY, via=via).is_admin


@pytest.mark.parametrize("other", ["bob", "Ann", "ann ", "", "an", "anna", "ann\0"])
def test_what_is_about_another_is_for_admins(other: str) -> None:
    identity().require_self_or_admin("ann")
    identity(Scope.ADMIN).require_self_or_admin(other)
    with pytest.raises(NotPermitted):
        identity(*ORDINARY).require_self_or_admin(other)


@pytest.mark.parametrize("via", ["bearer", "signature"])
def test_credentials_that_may_leak_make_no_others(via: str) -> None:
    with pytest.raises(NotPermitted):
        identity(*ORDINARY, via=via).require_password()
    identity(via="basic").require_password()
    identity(Scope.ADMIN, via=via).require_password()


def test_an_identity_cannot_be_given_more_afterwards() -> None:
    with pytest.raises(AttributeError):
        identity().scopes = frozenset(Scope)  # type: ignore[misc]
