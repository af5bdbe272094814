"""The settings of text messages: what each provider needs, and what it is made of."""

import re
from importlib import import_module
from typing import Any

import pytest

from app.sms.fake.vendors import all_vendors
from app.sms.registry import load
from config import sms
from config.settings import Setting, SettingsError
from config.sms import PROVIDERS, SmsSettings

NEEDED = {
    "console": [],
    "memory": [],
    "aliyun": ["ALIYUN_SMS_APP_KEY", "ALIYUN_SMS_APP_SECRET", "ALIYUN_SMS_SIGN_NAME"],
    "huawei": ["HUAWEI_SMS_APP_KEY", "HUAWEI_SMS_APP_SECRET", "HUAWEI_SMS_SENDER_ID"],
    "tencent": [
        "TENCENT_SMS_SECRET_ID",
        "TENCENT_SMS_SECRET_KEY",
        "TENCENT_SMS_APP_ID",
        "TENCENT_SMS_SIGN_NAME",
    ],
    "twilio": ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM"],
    "kannel": ["KANNEL_URL", "KANNEL_USERNAME", "KANNEL_PASSWORD"],
    "http": ["HTTP_SMS_URL"],
    "sns": ["SNS_REGION"],
    "apprise": ["APPRISE_URL"],
}


def faults(monkeypatch: pytest.MonkeyPatch, **given: str) -> list[str]:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        SmsSettings()
    return raised.value.faults


def test_every_provider_is_of_those_that_are_tested_here() -> None:
    assert set(NEEDED) == set(PROVIDERS)


@pytest.mark.parametrize("name", NEEDED)
def test_what_a_provider_needs_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sms, "find_spec", lambda _: True)
    if NEEDED[name]:
        found = faults(monkeypatch, SMS_PROVIDER=name)
        assert found == [f"{n} is needed by SMS_PROVIDER={name}" for n in NEEDED[name]]
    values = dict.fromkeys(NEEDED[name], "http://x")
    for setting, value in {"SMS_PROVIDER": name, **values}.items():
        monkeypatch.setenv(setting, value)
    assert (name,) == SmsSettings().SMS_PROVIDER


def test_what_all_of_them_need_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = faults(
        monkeypatch, SMS_PROVIDER="http,nobody,kannel", KANNEL_URL="http://x"
    )
    assert found[0] == "HTTP_SMS_URL is needed by SMS_PROVIDER=http"
    assert found[1].startswith("SMS_PROVIDER: 'nobody' is not one of console, memory,")
    assert [fault.split()[0] for fault in found[2:]] == [
        "KANNEL_USERNAME",
        "KANNEL_PASSWORD",
    ]


@pytest.mark.parametrize(
    ("name", "library", "setting"),
    [("sns", "boto3", "SNS_REGION"), ("apprise", "apprise", "APPRISE_URL")],
)
def test_a_library_that_is_missing_is_named_with_how_to_have_it(
    name: str, library: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sms, "find_spec", lambda wanted: wanted != library)
    found = faults(monkeypatch, SMS_PROVIDER=name, **{setting: "json://x"})
    install = f"pip install -r requirements-{name}.txt"
    assert found == [f"SMS_PROVIDER={name} needs {library}: {install}"]
    monkeypatch.setenv("SMS_PROVIDER", "memory")
    assert SmsSettings().SMS_PROVIDER == ("memory",), "who is not asked needs none"


def test_secrets_are_in_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    found = faults(
        monkeypatch, TWILIO_WEBHOOK_SECRETS="hunter2", SMS_RECEIPTS_SECRET="hunter2/"
    )
    assert len(found) == 2
    assert "hunter2" not in str(found)


def test_what_opens_a_vendor_s_door_is_a_secret() -> None:
    settings = [getattr(SmsSettings, name) for name in dir(SmsSettings)]
    secret = {s.name for s in settings if isinstance(s, Setting) and s.secret}
    named = {
        s.name
        for s in settings
        if isinstance(s, Setting) and re.search("SECRET$|SECRETS|PASSW|TOKEN", s.name)
    }
    assert named | {"HTTP_SMS_HEADERS", "HTTP_SMS_BODY", "APPRISE_URL"} <= secret


def test_every_provider_takes_what_its_settings_give_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: dict[str, Any] = {
        "HTTP_SMS_URL": "http://x/{receiver}",
        "SMS_TIMEOUT_SECONDS": "3",
    }
    for vendor in all_vendors():
        given |= vendor.settings_at("http://127.0.0.1:9")
    given["APPRISE_URL"] = "json://127.0.0.1:9/{receiver}"
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    conf = SmsSettings().sms_conf()
    assert set(conf) == set(PROVIDERS)
    for name in conf:
        load(conf, [name])[name].close()
    for entry in conf.values():
        room, _, name = entry["provider_cls"].rpartition(".")
        assert getattr(import_module(room), name)
        if "timeout_seconds" in entry["config"]:
            assert entry["config"]["timeout_seconds"] == 3
