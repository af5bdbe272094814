"""Messages that another process sends are the messages that were checked."""

import json

from app.sms.gateway import Letter
from app.sms.templates import SmsTemplate
from app.sms.written_letter import read_letter, written_letter


def test_it_is_the_same() -> None:
    document = {
        "params": {"code": {"type": "string"}, "name": {"default": "you"}},
        "text": "{code} for {name} 中",
        "ids": {"aliyun": "SMS_1"},
    }
    letter = Letter(
        message_id="one",
        template=SmsTemplate("captcha", document),
        params={"code": "1234"},
        receivers=["+8613800138000"],
        providers=["aliyun", "twilio"],
        created=1.5,
        validity_seconds=60,
    )
    found = read_letter(json.loads(json.dumps(written_letter(letter))))
    for provider in letter.providers:
        filled = letter.template.fill(letter.params, provider=provider)
        assert found.template.fill(found.params, provider=provider) == filled
    same = {name: value for name, value in vars(letter).items() if name != "template"}
    assert {name: getattr(found, name) for name in same} == same
