"""The providers that have no vendor: what they take is shown, or kept."""

import threading

import pytest

from app.sms.message import Filled
from app.sms.providers.console import ConsoleProvider
from app.sms.providers.memory import KEPT, MemoryProvider

NUMBERS = ["+8613800000000", "+12025550123"]
LONG = Filled("notice", None, {"text": "中"}, "中" * 71)


@pytest.mark.parametrize("provider", [ConsoleProvider(), MemoryProvider()])
def test_all_is_accepted_with_an_id_of_its_own_and_the_segments(provider):
    outcomes = provider.send(LONG, NUMBERS, message_id="m")
    assert [outcome.segments for outcome in outcomes] == [2, 2]
    assert len({outcome.provider_id for outcome in outcomes}) == 2


def test_the_console_shows_a_line_for_each_and_logs_nothing(capsys, caplog):
    caplog.set_level(0)
    ConsoleProvider().send(
        Filled("captcha", None, {}, "one\ntwo"), NUMBERS, message_id="m"
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert err == ("SMS to +8613****0000: one\\ntwo\nSMS to +12****0123: one\\ntwo\n")
    assert caplog.records == []


def test_the_console_shows_the_values_of_a_template_without_a_text(capsys):
    filled = Filled("captcha", "1", {"code": "12"}, "")
    ConsoleProvider().send(filled, NUMBERS[:1], message_id="m")
    assert capsys.readouterr().err.endswith(": captcha {'code': '12'}\n")


def test_the_memory_keeps_the_last_ones_sent_by_any_thread():
    memory = MemoryProvider()

    def send(number):
        for _ in range(KEPT // 2):
            memory.send(LONG, NUMBERS, message_id=str(number))

    threads = [threading.Thread(target=send, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert len(memory.sent) <= KEPT
    for thread in threads:
        thread.join()
    memory.send(LONG, NUMBERS, message_id="last")
    assert len(memory.sent) == KEPT
    assert [(kept.receiver, kept.message_id) for kept in memory.sent[-2:]] == [
        (number, "last") for number in NUMBERS
    ]
    assert all(kept.template is LONG for kept in memory.sent)
