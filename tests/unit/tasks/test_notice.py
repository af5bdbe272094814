import pytest

from app.tasks.notice import is_waiting, read_notices, shown_url

URL = "https://hooks.example.com:8443/a/b?token=1#x"


@pytest.mark.parametrize(
    ("kept", "count"),
    [(None, 0), ("[]", 0), ('{"on": ["lost"]}', 1), ('[{"on": []}, {"on": []}]', 2)],
)
def test_notices_are_read_as_this_version_keeps_them_and_the_one_before(kept, count):
    assert len(read_notices(kept)) == count


@pytest.mark.parametrize(
    ("notice", "shown"),
    [
        ({"webhook": {"url": URL}}, "https://hooks.example.com:8443/a/b"),
        (
            {"by": "catalogue", "webhook": {"url": URL}},
            "https://hooks.example.com:8443/",
        ),
        ({"by": "catalogue", "webhook": {"url": "http://[x"}}, ""),
        ({"by": "catalogue", "webhook": {"url": "x.test/token"}}, ""),
        ({"by": "catalogue", "webhook": {"url": "http://u:p@x/"}}, "http://x/"),
    ],
)
def test_of_a_url_nothing_is_shown_that_may_be_secret(notice, shown):
    assert shown_url(notice) == shown
    again = {**notice, "webhook": {"url": shown}}
    assert shown_url(again) == shown


@pytest.mark.parametrize(
    ("notice", "waits"),
    [
        ({"on": ["lost"]}, False),
        ({"webhook": {"url": URL}}, True),
        ({"webhook": {"url": URL, "state": "delivered"}}, False),
        ({"webhook": {"url": URL, "state": "failed"}}, False),
    ],
)
def test_a_webhook_waits_until_it_is_done_with(notice, waits):
    assert is_waiting(notice) is waits
