import pytest

from app.sms.providers.aliyun import AliyunProvider
from app.sms.providers.console import ConsoleProvider
from app.sms.providers.memory import MemoryProvider
from app.sms.registry import load

CONSOLE = {"provider_cls": "app.sms.providers.console.ConsoleProvider"}
ALIYUN = {
    "provider_cls": "app.sms.providers.aliyun.AliyunProvider",
    "config": {"app_key": "k", "app_secret": "s", "sign_name": "n"},
}


def changed(**config):
    return {**ALIYUN, "config": {**ALIYUN["config"], **config}}


def test_the_named_ones_are_made_in_their_order_and_no_others():
    conf = {"a": {"provider_cls": "no.such.Class"}, "console": CONSOLE, "z": ALIYUN}
    found = load(conf, ["z", "console"])
    assert [*found] == ["z", "console"]
    assert isinstance(found["z"], AliyunProvider)
    assert isinstance(found["console"], ConsoleProvider)


@pytest.mark.parametrize(
    ("conf", "fault"),
    [
        (None, r"is not one of: other"),
        ({}, r"provider_cls cannot be imported"),
        ({"provider_cls": "no.such.Class"}, r"cannot be imported: No module named"),
        ({"provider_cls": "app.sms.providers.aliyun.No"}, r"aliyun\.No cannot be imp"),
        ({"provider_cls": "app.sms.number.mask"}, r"number\.mask is no SmsProvider"),
        ({"provider_cls": "builtins.dict"}, r"builtins\.dict is no SmsProvider"),
        ({"provider_cls": "app.sms.provider.SmsProvider"}, r"abstract.* '?send"),
        ({"provider_cls": ALIYUN["provider_cls"]}, r"'app_key', 'app_secret', and"),
        (changed(color="red"), r"unexpected keyword argument 'color'"),
        ({**ALIYUN, "config": "x"}, r"must be a mapping"),
    ],
)
def test_what_is_wrong_with_one_is_said_with_its_name(conf, fault):
    whole = {"other": CONSOLE} | ({"mine": conf} if conf is not None else {})
    with pytest.raises(ValueError, match=rf"\ASMS provider mine: .*{fault}"):
        load(whole, ["mine"])


def test_one_that_cannot_tell_rejections_stands_beside_no_other(monkeypatch):
    class Mute(MemoryProvider):
        tells_rejections = False

    monkeypatch.setattr("app.sms.providers.console.Mute", Mute, raising=False)
    conf = {"mute": {"provider_cls": "app.sms.providers.console.Mute"}, "z": CONSOLE}
    assert [*load(conf, ["mute"])] == ["mute"]
    with pytest.raises(ValueError, match="SMS provider mute: cannot tell"):
        load(conf, ["z", "mute"])


def test_what_a_constructor_refuses_is_said_too(monkeypatch):
    class Picky(MemoryProvider):
        def __init__(self):
            raise ValueError("url is no URL")

    monkeypatch.setattr("app.sms.providers.console.Picky", Picky, raising=False)
    conf = {"provider_cls": "app.sms.providers.console.Picky"}
    with pytest.raises(ValueError, match="SMS provider picky: url is no URL"):
        load({"picky": conf}, ["picky"])
