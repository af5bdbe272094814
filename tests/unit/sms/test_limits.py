import pytest

from app.sms.limits import SmsLimits
from tests.unit.sms.conftest import letter_to
from tests.vendors import ABROAD, FIRST, SECOND

KINDS = {
    "receiver": {f"receiver {each}": 1 for each in (FIRST, SECOND, ABROAD)},
    "template": {"template captcha": 3},
    "caller": {"caller ann": 3},
    "country": {"country +86": 2, "country +1": 1},
    "total": {"all ": 3},
}
LETTER = letter_to(FIRST, SECOND, ABROAD)


def of(**limits):
    return SmsLimits(**limits).of(LETTER, caller="ann")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_counts_what_it_is_of_and_nothing_else(kind):
    uses, quotas = of(**{kind: [(5, 60.0), (9, 3600.0)]})
    assert {use.subject: use.count for use in uses} == KINDS[kind]
    assert len(uses) == len(KINDS[kind]), "each once, whatever holds of it"
    assert [(q.subject, q.most, q.seconds) for q in quotas] == [
        (subject, *limit)
        for subject in KINDS[kind]
        for limit in [(5, 60.0), (9, 3600.0)]
    ]


def test_all_kinds_hold_together():
    limit = [(5, 60.0)]
    uses, quotas = of(**dict.fromkeys(KINDS, limit))
    subjects = {subject for counts in KINDS.values() for subject in counts}
    assert {use.subject for use in uses} == subjects
    assert {quota.subject for quota in quotas} == subjects


def test_without_limits_nothing_is_counted():
    assert of() == ([], [])
    assert SmsLimits().longest_seconds == 0


def test_what_it_is_called_says_which_one_and_shows_no_whole_number():
    _, quotas = of(receiver=[(5, 3600.0)], total=[(10_000, 0.5)])
    shown = [quota.shown for quota in quotas]
    assert shown == [
        "5 in 3600 s for receiver +8613****0000",
        "5 in 3600 s for receiver +8613****0000",
        "5 in 3600 s for receiver +14****0100",
        "10000 in 0.5 s for all",
    ]


def test_what_was_sent_counts_for_as_long_as_the_longest():
    limits = SmsLimits(receiver=[(1, 60.0), (9, 86400.0)], total=[(1, 3600.0)])
    assert limits.longest_seconds == 86400
