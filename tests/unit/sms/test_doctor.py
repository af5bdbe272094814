import pytest

from app.sms.doctor import examine
from app.sms.gateway import SmsGateway
from app.sms.limits import SmsLimits
from app.sms.provider import Acknowledgement
from app.sms.templates import SmsTemplates
from tests.unit.sms.conftest import Keeper, Scripted

LIMITED = SmsLimits(total=[(1, 60.0)])


class Reporter(Scripted):
    acknowledgement = Acknowledgement("0")


def findings(templates, limits=LIMITED, url=None, **providers):
    """Return what is found, as lines; those of faults begin with an exclamation."""
    gateway = SmsGateway(
        providers,
        order=tuple(providers),
        receipts_url=lambda name: url and f"{url}/{name}",
    )
    return [
        f"{'! ' * each.is_fault}{each.about}: {each.words}"
        for each in examine(templates, gateway, limits)
    ]


def test_what_can_send_has_no_faults_and_says_who_sends_what(templates):
    assert findings(templates, url="http://us", first=Reporter(), keeper=Keeper()) == [
        "template captcha: is sent by first, keeper",
        "template kept: is sent by keeper",
        "template kept: has no text for first",
        "first: reports deliveries to http://us/first",
        "keeper: sends no delivery receipts",
    ]


def test_a_template_that_nobody_sends_is_a_fault(templates):
    assert findings(templates, first=Reporter()) == [
        "template captcha: is sent by first",
        "! template kept: has no text for first",
        "first: is told no address for delivery receipts: set PUBLIC_URL",
    ]
    found = findings(templates, other=Keeper())
    assert "! template kept: has no id in [templates.kept.ids] for other" in found


def test_without_a_provider_nothing_is_sent(templates):
    found = findings(templates)
    assert found[0] == "! SMS_PROVIDER: is not set: nothing can be sent"


def test_without_limits_that_is_said(templates):
    found = findings(templates, SmsLimits(), first=Scripted())
    assert found[-1] == "limits: none is set: whoever may send may send any number"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[templates.", "! SMS_TEMPLATES: "),
        ('[templates.x]\ntext = "{a}"', "! SMS_TEMPLATES: "),
        (None, "! SMS_TEMPLATES: "),
    ],
)
def test_a_file_that_cannot_be_used_is_a_fault_and_not_the_end(tmp_path, text, fault):
    path = tmp_path / "templates.toml"
    if text is not None:
        path.write_text(text)
    found = findings(SmsTemplates(str(path)), SmsLimits(), first=Scripted())
    assert found[0].startswith(fault)
    assert found[-1].startswith("limits: ")
