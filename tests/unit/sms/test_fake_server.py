import socket
import threading
from urllib.parse import urlsplit

import pytest
import requests

from app.sms.fake.kannel import FakeKannel
from app.sms.fake.server import FakeServer
from app.sms.fake.vendors import all_vendors
from tests.servers import wait_until
from tests.vendors import FIRST

KANNEL = {
    "username": "tester",
    "password": "foobar",
    "from": "Bellhop",
    "to": FIRST,
    "text": "Your code is 736251",
}


@pytest.fixture
def fake():
    with FakeServer([FakeKannel()]) as server:
        yield server


@pytest.fixture
def session():
    with requests.Session() as opened:
        yield opened


@pytest.fixture
def send(fake, session):
    def ask():
        url = f"{fake.url}/cgi-bin/sendsms"
        return session.get(url, params=KANNEL, timeout=20)

    return ask


class TestScripts:
    def test_requests_do_as_told_one_after_the_other_then_succeed(self, fake, send):
        fake.script("kannel", "auth", "error", "malformed")
        answers = [send() for _ in range(4)]
        assert [each.status_code for each in answers] == [403, 500, 200, 202]
        assert answers[2].text == '{"Code":'
        assert len(fake.asked("kannel")) == 4
        assert len(fake.sent("kannel")) == 3, "all but the refused one were taken"
        assert (fake.asked("aliyun"), fake.sent("aliyun")) == ([], [])

    @pytest.mark.parametrize("scenario", ["reset", "timeout"])
    def test_what_ends_without_an_answer_was_taken(self, session, scenario):
        with FakeServer([FakeKannel()], timeout_seconds=0) as fake:
            fake.script("kannel", scenario)
            with pytest.raises(requests.ConnectionError, match="reset"):
                session.get(f"{fake.url}/cgi-bin/sendsms", params=KANNEL, timeout=20)
            [sent] = fake.sent()
            assert (sent.receiver, sent.text) == (FIRST, KANNEL["text"])

    def test_a_new_script_takes_the_place_of_the_old(self, fake, send):
        fake.script("kannel", "auth", "auth")
        fake.script("kannel", "error")
        assert [send().status_code for _ in range(2)] == [500, 202]

    def test_forgotten_all_begins_anew(self, fake, send):
        fake.script("kannel", "auth", "auth")
        send()
        fake.clear()
        assert (fake.sent(), fake.asked(), send().status_code) == ([], [], 202)

    def test_of_many_at_once_each_gets_its_own_of_the_script(self, fake):
        fake.script("kannel", *["auth"] * 5)
        statuses = []

        def ask():
            url = f"{fake.url}/cgi-bin/sendsms"
            with requests.get(url, params=KANNEL, timeout=20) as answer:
                statuses.append(answer.status_code)

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert sorted(statuses) == [202] * 7 + [403] * 5
        assert len({sent.provider_id for sent in fake.sent()}) == 7

    def test_whom_nobody_knows_is_not_found(self, fake, session):
        answer = session.get(f"{fake.url}/nobody", timeout=20)
        assert (answer.status_code, fake.asked()) == (404, [])


class TestControls:
    def test_it_is_scripted_and_tells_what_was_sent(self, fake, session, send):
        script = f"{fake.url}/_/script/kannel"
        assert session.put(script, json=["auth"], timeout=20).status_code == 200
        assert [send().status_code for _ in range(2)] == [403, 202]
        told = session.get(f"{fake.url}/_/sent", timeout=20).json()
        assert told == [vars(sent) for sent in fake.sent()]
        assert told[0]["receiver"] == FIRST
        assert session.delete(f"{fake.url}/_/sent", timeout=20).status_code == 200
        assert fake.sent() == []

    @pytest.mark.parametrize(
        ("told", "status"),
        [
            (("PUT", "script/kannel", '["no such"]'), 400),
            (("PUT", "script/kannel", "["), 400),
            (("PUT", "script/kannel", "1"), 400),
            (("PUT", "script/kannel", ""), 400),
            (("PUT", "script/nobody", "[]"), 404),
            (("PUT", "script", "[]"), 404),
            (("PUT", "", "[]"), 404),
            (("GET", "", None), 404),
            (("GET", "script/kannel", None), 404),
            (("POST", "sent", ""), 404),
        ],
    )
    def test_what_it_does_not_understand_it_says(
        self, fake, session, send, told, status
    ):
        method, path, body = told
        url = f"{fake.url}/_/{path}"
        answer = session.request(method, url, data=body, timeout=20)
        assert answer.status_code == status
        assert fake.asked() == [], "nor is it a vendor's request"
        assert send().status_code == 202


class TestClosing:
    def test_connections_that_clients_keep_open_are_closed(self, session):
        fake = FakeServer([FakeKannel()])
        address = urlsplit(fake.url)
        with socket.socket() as silent:
            fake.start()
            session.get(f"{fake.url}/nobody", timeout=20)  # which stays open
            silent.connect((address.hostname, address.port))
            wait_until(lambda: len(fake_threads()) == 2)
            fake.close()
            silent.settimeout(20)
            assert silent.recv(1) == b""
        wait_until(lambda: not fake_threads())
        with pytest.raises(requests.ConnectionError):
            session.get(f"{fake.url}/nobody", timeout=20)

    def test_an_answer_that_is_held_back_is_given_up(self):
        fake, errors = FakeServer([FakeKannel()]), []
        fake.start()
        fake.script("kannel", "timeout")

        def ask():
            try:
                url = f"{fake.url}/cgi-bin/sendsms"
                requests.get(url, params=KANNEL, timeout=20)
            except requests.RequestException as error:
                errors.append(type(error))

        thread = threading.Thread(target=ask)
        thread.start()
        wait_until(fake.sent)
        fake.close()
        thread.join()
        assert errors == [requests.ConnectionError]

    def test_one_that_was_never_started_closes_too(self):
        fake = FakeServer(all_vendors())
        fake.close()
        fake.close()


def fake_threads():
    """Return the threads that answer requests."""
    return [each for each in threading.enumerate() if "process_request" in each.name]
