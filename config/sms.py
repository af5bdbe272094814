"""The settings of text messages, and the providers that they make."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from config.settings import (
    Setting,
    Settings,
    choice,
    integer,
    names,
    optional_text,
    pairs,
    quotas,
    seconds,
    text,
    url,
    word,
)

_CONFIG = Path(__file__).resolve().parent

#: By name: the class, and the setting of each of its arguments. Where one has no
#: default, the provider needs it.
PROVIDERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "console": ("app.sms.providers.console.ConsoleProvider", {}),
    "memory": ("app.sms.providers.memory.MemoryProvider", {}),
    "aliyun": (
        "app.sms.providers.aliyun.AliyunProvider",
        {
            "app_key": "ALIYUN_SMS_APP_KEY",
            "app_secret": "ALIYUN_SMS_APP_SECRET",
            "sign_name": "ALIYUN_SMS_SIGN_NAME",
            "region_id": "ALIYUN_SMS_REGION_ID",
            "version": "ALIYUN_SMS_VERSION",
            "url": "ALIYUN_SMS_URL",
            "signature": "ALIYUN_SMS_SIGNATURE",
            "timeout_seconds": "SMS_TIMEOUT_SECONDS",
        },
    ),
    "huawei": (
        "app.sms.providers.huawei.HuaweiProvider",
        {
            "url": "HUAWEI_URL",
            "app_key": "HUAWEI_SMS_APP_KEY",
            "app_secret": "HUAWEI_SMS_APP_SECRET",
            "sender_id": "HUAWEI_SMS_SENDER_ID",
            "signature": "HUAWEI_SMS_SIGNATURE",
            "digest": "HUAWEI_SMS_DIGEST",
            "timeout_seconds": "SMS_TIMEOUT_SECONDS",
        },
    ),
    "tencent": (
        "app.sms.providers.tencent.TencentProvider",
        {
            "secret_id": "TENCENT_SMS_SECRET_ID",
            "secret_key": "TENCENT_SMS_SECRET_KEY",
            "app_id": "TENCENT_SMS_APP_ID",
            "sign_name": "TENCENT_SMS_SIGN_NAME",
            "region": "TENCENT_SMS_REGION",
            "url": "TENCENT_SMS_URL",
            "timeout_seconds": "SMS_TIMEOUT_SECONDS",
        },
    ),
    "twilio": (
        "app.sms.providers.twilio.TwilioProvider",
        {
            "account_sid": "TWILIO_ACCOUNT_SID",
            "auth_token": "TWILIO_AUTH_TOKEN",
            "sender": "TWILIO_FROM",
            "url": "TWILIO_URL",
            "webhook_secrets": "TWILIO_WEBHOOK_SECRETS",
            "timeout_seconds": "SMS_TIMEOUT_SECONDS",
        },
    ),
    "kannel": (
        "app.sms.providers.kannel.KannelProvider",
        {
            "url": "KANNEL_URL",
            "username": "KANNEL_USERNAME",
            "password": "KANNEL_PASSWORD",
            "sender": "KANNEL_FROM",
            "timeout_seconds": "SMS_TIMEOUT_SECONDS",
        },
    ),
    "http": (
        "app.sms.providers.http.GenericHttpProvider",
        {
            "url": "HTTP_SMS_URL",
            "method": "HTTP_SMS_METHOD",
            "headers": "HTTP_SMS_HEADERS",
            "body": "HTTP_SMS_BODY",
            "id_path": "HTTP_SMS_ID_PATH",
            "success_path": "HTTP_SMS_SUCCESS_PATH",
            "success_value": "HTTP_SMS_SUCCESS_VALUE",
            "timeout_seconds": "SMS_TIMEOUT_SECONDS",
        },
    ),
    "sns": (
        "app.sms.providers.sns.SnsProvider",
        {
            "region": "SNS_REGION",
            "url": "SNS_URL",
            "sender_id": "SNS_SENDER_ID",
            "timeout_seconds": "SMS_TIMEOUT_SECONDS",
        },
    ),
    "apprise": (
        "app.sms.providers.apprise.AppriseProvider",
        {"url": "APPRISE_URL"},
    ),
}

# Providers whose libraries are not among those that everybody needs.
_LIBRARIES = {"sns": "boto3", "apprise": "apprise"}

# With the types that the settings have.
_CONSOLE: tuple[str, ...] = ("console",)
_NO_LIMIT: tuple[tuple[int, float], ...] = ()
_NO_SECRETS: dict[str, str] = {}
_NO_URL: str | None = None

_HUAWEI_URL = "https://smsapi.cn-north-4.myhuaweicloud.com:443/sms/batchSendSms/v1"


class SmsSettings(Settings):
    """What holds of text messages in every environment unless that says otherwise."""

    PUBLIC_URL = Setting(
        url("https", "http"),
        "",
        "where this service is reached from outside; unset: no delivery receipts, no "
        "links in webhooks",
    )
    SMS_PROVIDER = Setting(
        names,
        _CONSOLE,
        "who sends text messages, in the order in which they are asked",
    )
    SMS_TEMPLATES = Setting(
        text,
        str(_CONFIG / "sms_templates.toml"),
        "the file of the texts that may be sent; read again when it changes",
    )
    SMS_TIMEOUT_SECONDS = Setting(
        seconds(0.1, 300), 10.0, "how long a provider may take to answer", unit="s"
    )
    SMS_RECEIPTS_SECRET = Setting(
        word,
        "",
        "the part of the path of delivery receipts that only the vendors know; "
        "unset: made once, kept in INSTANCE_PATH",
        secret=True,
    )
    SMS_RETENTION_SECONDS = Setting(
        seconds(1, 10**10),
        30 * 86400.0,
        "how long numbers and texts are kept; then digests of them",
        unit="s",
    )
    SMS_MAX_RUNNING = Setting(
        integer(1, 10_000), 16, "messages that are sent as tasks at a time on this host"
    )
    SMS_MAX_QUEUED = Setting(
        integer(0, 100_000), 1000, "messages that wait on this host to be sent as tasks"
    )
    SMS_LIMIT_RECEIVER = Setting(
        quotas,
        _NO_LIMIT,
        "the most messages to one receiver: N/SECONDS, by commas; or off",
    )
    SMS_LIMIT_TEMPLATE = Setting(
        quotas,
        _NO_LIMIT,
        "the most receivers of one template: N/SECONDS, by commas; or off",
    )
    SMS_LIMIT_CALLER = Setting(
        quotas,
        _NO_LIMIT,
        "the most receivers for one caller: N/SECONDS, by commas; or off",
    )
    SMS_LIMIT_COUNTRY = Setting(
        quotas, _NO_LIMIT, "the most receivers with one country code: N/SECONDS; or off"
    )
    SMS_LIMIT_TOTAL = Setting(
        quotas, _NO_LIMIT, "the most receivers in all: N/SECONDS, by commas; or off"
    )

    ALIYUN_SMS_APP_KEY = Setting(optional_text, None, "Aliyun's AccessKey ID")
    ALIYUN_SMS_APP_SECRET = Setting(
        optional_text, None, "Aliyun's AccessKey secret", secret=True
    )
    ALIYUN_SMS_SIGN_NAME = Setting(
        optional_text, None, "the signature that Aliyun has approved"
    )
    ALIYUN_SMS_REGION_ID = Setting(text, "cn-hangzhou", "Aliyun's region")
    ALIYUN_SMS_VERSION = Setting(text, "2017-05-25", "the version of Aliyun's API")
    ALIYUN_SMS_URL = Setting(
        url("https", "http"),
        "https://dysmsapi.aliyuncs.com",
        "where Aliyun's API is",
    )
    ALIYUN_SMS_SIGNATURE = Setting(
        choice("v3", "v1"), "v3", "how requests to Aliyun are signed"
    )
    HUAWEI_URL = Setting(
        url("https", "http"), _HUAWEI_URL, "the whole URL of Huawei's batchSendSms"
    )
    HUAWEI_SMS_APP_KEY = Setting(optional_text, None, "Huawei's Application Key")
    HUAWEI_SMS_APP_SECRET = Setting(
        optional_text, None, "Huawei's Application Secret", secret=True
    )
    HUAWEI_SMS_SENDER_ID = Setting(
        optional_text, None, "the channel number that Huawei has given"
    )
    HUAWEI_SMS_SIGNATURE = Setting(
        text, "", "the name of the signature, where Huawei's template is a general one"
    )
    HUAWEI_SMS_DIGEST = Setting(
        choice("hex", "raw"), "hex", "what Huawei's PasswordDigest is the base64 of"
    )
    TENCENT_SMS_SECRET_ID = Setting(optional_text, None, "Tencent Cloud's SecretId")
    TENCENT_SMS_SECRET_KEY = Setting(
        optional_text, None, "Tencent Cloud's SecretKey", secret=True
    )
    TENCENT_SMS_APP_ID = Setting(optional_text, None, "Tencent's SmsSdkAppId")
    TENCENT_SMS_SIGN_NAME = Setting(
        optional_text, None, "the signature that Tencent has approved"
    )
    TENCENT_SMS_REGION = Setting(text, "ap-guangzhou", "Tencent Cloud's region")
    TENCENT_SMS_URL = Setting(
        url("https", "http"),
        "https://sms.tencentcloudapi.com",
        "where Tencent's API is",
    )
    TWILIO_ACCOUNT_SID = Setting(optional_text, None, "Twilio's account")
    TWILIO_AUTH_TOKEN = Setting(
        optional_text, None, "the token of Twilio's account", secret=True
    )
    TWILIO_FROM = Setting(
        optional_text, None, "the number, or the MessagingServiceSid, to send from"
    )
    TWILIO_URL = Setting(
        url("https", "http"), "https://api.twilio.com", "where Twilio's API is"
    )
    TWILIO_WEBHOOK_SECRETS = Setting(
        pairs,
        _NO_SECRETS,
        "the secrets of webhooks that Twilio signs by HMAC-SHA256: KEY=SECRET, by "
        "commas",
        secret=True,
    )
    KANNEL_URL = Setting(
        url("https", "http"),
        _NO_URL,
        "the whole URL of Kannel's sendsms, of its smsbox",
    )
    KANNEL_USERNAME = Setting(optional_text, None, "the user of Kannel's sendsms-user")
    KANNEL_PASSWORD = Setting(
        optional_text, None, "the password of Kannel's sendsms-user", secret=True
    )
    KANNEL_FROM = Setting(text, "", "the sender that Kannel is given")
    HTTP_SMS_URL = Setting(
        optional_text, None, "the URL of the provider http; {receiver} and the like"
    )
    HTTP_SMS_METHOD = Setting(
        choice("POST", "GET", "PUT"), "POST", "the method of the provider http"
    )
    HTTP_SMS_HEADERS = Setting(
        text, "{}", "headers of the provider http, as a JSON object", secret=True
    )
    HTTP_SMS_BODY = Setting(text, "", "the body of the provider http", secret=True)
    HTTP_SMS_ID_PATH = Setting(
        text, "", "where the message's id is in the JSON that it answers: data.id"
    )
    HTTP_SMS_SUCCESS_PATH = Setting(
        text, "", "what tells in its JSON whether it has accepted: code"
    )
    HTTP_SMS_SUCCESS_VALUE = Setting(text, "", "what stands there if it has: 0")
    SNS_REGION = Setting(optional_text, None, "the region of Amazon SNS")
    SNS_URL = Setting(
        url("https", "http"), "", "where Amazon SNS is, if not at its region's address"
    )
    SNS_SENDER_ID = Setting(text, "", "the sender that Amazon SNS is given")
    APPRISE_URL = Setting(
        optional_text,
        None,
        "the service that Apprise passes messages on to; {receiver} is the number",
        secret=True,
    )

    def cross_check(self) -> list[str]:
        """Return what keeps the providers in use from being made."""
        faults = []
        for name in self.SMS_PROVIDER:
            if name not in PROVIDERS:
                known = ", ".join(PROVIDERS)
                faults.append(f"SMS_PROVIDER: {name!r} is not one of {known}")
            else:
                faults += self._provider_faults(name)
        return faults

    def sms_conf(self) -> dict[str, Any]:
        """Return every provider's class and configuration, by name."""
        return {
            name: {
                "provider_cls": provider_cls,
                "config": {
                    argument: vars(self)[setting]
                    for argument, setting in arguments.items()
                },
            }
            for name, (provider_cls, arguments) in PROVIDERS.items()
        }

    def _provider_faults(self, name: str) -> list[str]:
        _, arguments = PROVIDERS[name]
        faults = [
            f"{setting} is needed by SMS_PROVIDER={name}"
            for setting in arguments.values()
            if vars(self)[setting] is None
        ]
        library = _LIBRARIES.get(name)
        if library and not find_spec(library):
            install = f"pip install -r requirements-{name}.txt"
            faults.append(f"SMS_PROVIDER={name} needs {library}: {install}")
        return faults
