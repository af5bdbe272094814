"""The page on adding a provider: its code is run where it tells readers to put it."""

import ast
import sys
from types import ModuleType

import pytest

from app.sms.providers.http import GenericHttpProvider
from app.sms.registry import load
from tests.servers import PROJECT

PAGE = PROJECT / "docs" / "adding-a-provider.md"
ACME = "app.sms.providers.acme"

PROVIDER, SETTING, TEST, GENERIC = (
    piece.partition("```")[0]
    for piece in PAGE.read_text(encoding="utf-8").split("```python\n")[1:]
)


def module_of(source: str) -> ModuleType:
    module = ModuleType(ACME)
    exec(compile(source, str(PAGE), "exec"), vars(module))
    return module


acme = module_of(PROVIDER)
with pytest.MonkeyPatch.context() as patched:
    patched.setitem(sys.modules, ACME, acme)
    # Its tests become tests of this file.
    exec(compile(TEST, str(PAGE), "exec"))


def test_the_pages_own_tests_are_run() -> None:
    found = [name for name in globals() if name.startswith("test_")]
    assert len(found) == TEST.count("\ndef test_") + 3


def test_the_setting_makes_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, ACME, acme)
    found = load(ast.literal_eval(SETTING), ["acme"])
    assert isinstance(found["acme"], acme.AcmeProvider)


def test_the_setting_without_code_makes_a_provider() -> None:
    found = load(ast.literal_eval(GENERIC), ["gateway"])
    assert isinstance(found["gateway"], GenericHttpProvider)
