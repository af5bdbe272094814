import json
from dataclasses import asdict

import pytest

from app.sms.message import Accepted, Category, Unknown, unreachable
from app.sms.record import MAY_COME_AGAIN, Message, Verdict, verdict_of
from tests.unit.sms.conftest import rejected
from tests.unit.storage.rows import NOW, message_row
from tests.vendors import FIRST

OK, UNSURE, UNREACHED = Accepted("p-1"), Unknown("?"), unreachable("refused")
RECIPIENT, REQUEST = rejected(Category.RECIPIENT), rejected(Category.REQUEST)
AUTH, UNKNOWN = rejected(Category.AUTH), rejected(Category.UNKNOWN)
OURS = rejected(Category.RATE_LIMITED)
THEIRS = rejected(Category.RATE_LIMITED, per_number=True)


@pytest.mark.parametrize(
    ("outcomes", "earlier", "verdict"),
    [
        ([OK], [], "send"),
        ([OK, OK], [AUTH], "send"),
        ([OK, RECIPIENT], [], "partial"),
        ([OK, AUTH], [], "partial"),
        ([OK, THEIRS], [], "partial"),
        ([UNSURE], [], "unknown"),
        ([UNSURE, OK], [], "unknown"),
        ([UNSURE, RECIPIENT], [AUTH], "unknown"),
        ([RECIPIENT], [], "rejected"),
        ([REQUEST, RECIPIENT], [UNREACHED], "rejected"),
        ([rejected(Category.COMPLIANCE)], [], "rejected"),
        ([RECIPIENT, THEIRS], [], "rejected"),
        ([THEIRS], [], "receiver_limited"),
        ([THEIRS, THEIRS], [AUTH], "receiver_limited"),
        ([AUTH], [], "failed"),
        ([rejected(Category.ACCOUNT)], [], "failed"),
        ([rejected(Category.SENDER)], [], "failed"),
        ([OURS], [], "failed"),
        ([UNKNOWN], [], "failed"),
        ([OURS, RECIPIENT], [], "failed"),
        ([AUTH, THEIRS], [], "failed"),
        ([UNREACHED], [], "unreachable"),
        ([UNREACHED, UNREACHED], [UNREACHED], "unreachable"),
        ([UNREACHED], [AUTH], "failed"),
        ([AUTH], [UNREACHED], "failed"),
    ],
    ids=repr,
)
def test_what_becomes_of_each_comes_to(outcomes, earlier, verdict):
    attempts = [*earlier, *(each for each in outcomes if hasattr(each, "category"))]
    assert verdict_of(outcomes, attempts) == verdict


def test_only_what_nobody_was_sent_may_come_again():
    assert {"receiver_limited", "failed", "unreachable"} == MAY_COME_AGAIN


@pytest.mark.parametrize("verdict", [None, *Verdict])
def test_callers_are_told_in_one_word(verdict):
    words = {None: "queued", "send": "send", "partial": "partial", "unknown": "unknown"}
    assert message(verdict=verdict).word == words.get(verdict, "failed")


def message(**changes):
    nothing = dict.fromkeys(("finished", "verdict", "forgotten"))
    row = {**message_row(message_id="m-1"), "number": 7, "owner": "ann", **nothing}
    receiver = {
        **dict.fromkeys(("category", "provider_code", "provider_message", "parts")),
        "number": 8,
        "message": 7,
        "position": 0,
        "receiver": FIRST,
        "state": "sent",
        "changed": NOW,
        "provider": "aliyun",
        "provider_id": "p-1",
        "segments": None,
        "per_number": False,
    }
    return Message.from_rows(row | changes, [receiver])


def test_it_is_what_its_rows_say_without_what_was_sent():
    attempts = [{"provider": "aliyun", "provider_code": "E"}]
    found = message(verdict="partial", attempts=json.dumps(attempts), finished=NOW)
    assert (found.verdict, found.attempts) == (Verdict.PARTIAL, attempts)
    assert (found.message_id, found.owner, found.finished) == ("m-1", "ann", NOW)
    assert "736251" not in repr(asdict(found))
    assert found.facts() == {
        "message": "partial",
        "id": "m-1",
        "provider": "aliyun",
        "receivers": [
            {
                "receiver": FIRST,
                "state": "sent",
                "provider_id": "p-1",
                "segments": None,
                "provider": "aliyun",
            }
        ],
        "attempts": attempts,
    }


def test_without_attempts_none_are_told():
    assert "attempts" not in message(verdict="send").facts()
