"""Messages over HTTP: to whom, what, how often, as a task, and who sees them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.sms.fake.server import FakeServer
from config.config import ProductionConfig
from tests.api.callers import (
    ADMIN,
    ANN,
    BOB,
    bearer,
    ended,
    task_of,
    token_of,
    with_users,
)
from tests.api.checks import paths, problem
from tests.servers import free_port, wait_until
from tests.sms import CODE, failed, kept, send, states
from tests.vendors import ABROAD, FIRST, SECOND, mainland

Make = Callable[..., FlaskClient]

V3 = "/v3/sms/"
KEY = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"


#: Changes to a message that Aliyun alone is to send, and what is wrong then.
FAULTY: list[tuple[dict[str, Any], list[str]]] = [
    ({"template": "nothing"}, ["template"]),
    ({"template": ""}, ["template"]),
    ({"template": 7}, ["template"]),
    ({"params": {}}, ["params.code"]),
    ({"params": {"code": "1", "Code": "1"}}, ["params.Code"]),
    ({"params": {"x": "1"}}, ["params.code", "params.x"]),
    ({"params": ["1"]}, ["params"]),
    ({"params": {"code": True}}, ["params.code"]),
    ({"params": {"code": None}}, ["params.code"]),
    ({"params": {"code": ["1"]}}, ["params.code"]),
    # It has a text alone, and Aliyun needs an id.
    ({"template": "plain", "params": {}}, ["template"]),
    ({"validity_seconds": 0}, ["validity_seconds"]),
    ({"validity_seconds": 36_001}, ["validity_seconds"]),
    ({"validity_seconds": "60"}, ["validity_seconds"]),
    ({"sender": "me"}, ["sender"]),
    (
        {"receivers": ["x"], "params": {"x": 1}, "provider": "x"},
        ["params.code", "params.x", "provider", "receivers.0"],
    ),
]

# Template, params, encoding and number of parts.
PREVIEWS: list[tuple[str, dict[str, Any], str, int]] = [
    ("plain", {}, "GSM-7", 1),
    # A brace takes the place of two characters.
    ("meeting", {"who": "a" * 146, "code": "{who}"}, "GSM-7", 1),
    ("meeting", {"who": "a" * 147, "code": "{who}"}, "GSM-7", 2),
    ("captcha", {"code": 1234}, "UCS-2", 1),
    ("captcha", {"code": "😀" * 32}, "UCS-2", 1),
    ("captcha", {"code": "😀" * 33}, "UCS-2", 2),
]


def receivers(answer: Any) -> list[str]:
    return [receiver["receiver"] for receiver in answer.json["receivers"]]


def listed(client: FlaskClient, query: str = "", **request: Any) -> list[Any]:
    answer = client.get(f"{request.pop('path', '/api/sms')}?{query}", **request)
    assert answer.status_code == 200, answer.json
    return list(answer.json["messages"])


class TestReceivers:
    @pytest.mark.parametrize(
        "given",
        [
            f"{SECOND},{FIRST}, {SECOND} ,+86 138-0000-0000",
            [SECOND, FIRST, "+86 (139) 0000 0000", FIRST],
        ],
    )
    def test_are_a_text_or_an_array_each_asked_once_in_their_order(
        self, sms: Make, fake: FakeServer, given: Any
    ) -> None:
        answer = send(sms("huawei"), receivers=given)
        assert answer.status_code == 200
        assert receivers(answer) == [SECOND, FIRST]
        assert [sent.receiver for sent in fake.sent()] == [SECOND, FIRST]
        ids = {sent.receiver: sent.provider_id for sent in fake.sent()}
        for each in answer.json["receivers"]:
            assert each["provider_id"] == ids[each["receiver"]]
            assert each["segments"] == 1

    def test_may_be_people_of_the_directory(self, sms: Make, fake: FakeServer) -> None:
        client = sms("aliyun")
        for phone in ({"phone": SECOND}, {}):
            person = {"name": "Tom", "age": 7, **phone}
            assert client.post("/v1/user", json=person).status_code == 201
        assert receivers(send(client, FIRST, "user:0", SECOND)) == [FIRST, SECOND]
        answer = send(client, "user:0", "user:1", "user:2", "user:", "user:-1")
        assert paths(answer) == [f"receivers.{n}" for n in (1, 2, 3, 4)]
        assert len(fake.asked()) == 1

    def test_that_are_no_numbers_are_each_named_and_nobody_is_sent_anything(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = sms("aliyun")
        bad = [
            *("abc", "+861380000000a", "10086", "+86138", "+8613800000000\n", " "),
            *("+86138" + "\uff10" * 8, "\uff0b8613800000000", "user:\u0660", "+" * 99),
        ]
        answer = send(client, FIRST, *bad, SECOND)
        assert paths(answer) == sorted(f"receivers.{n}" for n in range(1, 11))
        faults = {fault["path"]: fault["message"] for fault in answer.json["errors"]}
        for position, text in enumerate(bad, 1):
            assert repr(text[:40]) in faults[f"receivers.{position}"]
        assert paths(send(client, receivers=f"{FIRST},,x")) == [
            "receivers.1",
            "receivers.2",
        ]
        for none in ("", [], [""], 7, None, [7], {}):
            assert paths(send(client, receivers=none))[0].startswith("receivers")
        assert not fake.asked()
        assert listed(client) == []

    def test_beyond_a_vendor_s_limit_go_in_several_requests(
        self, sms: Make, fake: FakeServer
    ) -> None:
        numbers = mainland(1001)
        answer = send(sms("aliyun"), *numbers)
        assert receivers(answer) == numbers
        assert set(states(answer)) == {"sent"}
        counts = [len(a.query["PhoneNumbers"].split(",")) for a in fake.asked()]
        assert counts == [1000, 1]
        assert [sent.receiver for sent in fake.sent()] == numbers

    def test_beyond_our_own_limit_are_refused_as_a_whole(self, sms: Make) -> None:
        assert paths(send(sms("aliyun"), *mainland(10_001))) == ["receivers"]

    @pytest.mark.parametrize("vendor", ["huawei", "tencent"])
    @pytest.mark.parametrize("scenario", ["number", "phone_limit"])
    def test_of_whom_some_are_refused_make_it_partial(
        self, sms: Make, fake: FakeServer, vendor: str, scenario: str
    ) -> None:
        client = sms(f"{vendor},aliyun")
        fake.script(vendor, scenario)
        answer = send(client, FIRST, SECOND)
        assert (answer.status_code, answer.json["message"]) == (207, "partial")
        assert receivers(answer) == [FIRST, SECOND]
        assert states(answer) == ["rejected", "sent"]
        refused, taken = answer.json["receivers"]
        assert refused["category"] in ("recipient", "rate_limited")
        assert refused["provider_code"]
        assert "category" not in taken
        assert len(fake.asked()) == 1, "nor is the next provider asked for them"

    def test_of_whom_some_are_unknown_make_it_unknown(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = sms("tencent")
        for last, state in (("error", "unknown"), ("reset", "unknown")):
            fake.script("tencent", "success", last)
            answer = send(client, ABROAD, FIRST)
            assert (answer.status_code, answer.json["message"]) == (202, "unknown")
            assert sorted(states(answer)) == ["sent", state]
        fake.script("tencent", "number", "error")
        answer = send(client, ABROAD, FIRST)
        assert answer.status_code == 202
        assert sorted(states(answer)) == ["rejected", "unknown"]


class TestTemplates:
    def test_params_travel_as_texts_in_the_order_of_the_template(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = sms("tencent,aliyun,kannel")
        params = {"code": 7, "who": '王 {code} {who} \\ " 中文'}
        for provider in ("tencent", "aliyun", "kannel"):
            answer = send(client, template="meeting", params=params, provider=provider)
            assert answer.status_code == 200, answer.json
        tencent, aliyun, kannel = fake.sent()
        assert json.loads(tencent.params) == [params["who"], "7"]
        assert json.loads(aliyun.params) == {"who": params["who"], "code": "7"}
        assert (tencent.template, aliyun.template) == ("1111", "SMS_2")
        assert kannel.text == f"{params['who']} meets 7"

    def test_what_does_not_fit_is_named_with_all_that_is_wrong(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = sms("aliyun")
        for wish, expected in FAULTY:
            for query in ("", "?async=1"):
                answer = send(client, path=f"/api/sms{query}", **wish)
                assert paths(answer) == expected, wish
        assert not fake.asked()
        assert listed(client) == []

    def test_a_value_is_in_no_error(self, sms: Make) -> None:
        client = sms("aliyun")
        for value in ("Canary\0", ["Canary"], {"Canary": 1}, "Canary" * 200):
            answer = send(client, params={"code": value})
            assert paths(answer) == ["params.code"]
            assert "Canary" not in answer.text

    def test_what_is_wrong_is_all_told_at_once(self, sms: Make) -> None:
        client, numbers = sms("kannel"), [FIRST, "12", "user:7"]
        unknown = send(client, *numbers, template="nothing")
        assert paths(unknown) == ["receivers.1", "receivers.2", "template"]
        more = send(client, *numbers, params={"x": 1}, provider="twilio")
        faulty = ["params.code", "params.x", "provider", "receivers.1", "receivers.2"]
        assert paths(more) == faulty


def _posting(client: FlaskClient, key: str, **more: Any) -> Callable[[], Any]:
    """Return what sends the same again and again."""
    headers = {KEY: key, **more.pop("headers", {})}
    return lambda: send(client, headers=headers, **more)


class TestAgain:
    @pytest.mark.parametrize(
        ("scenario", "given", "status"),
        [
            ("success", [FIRST, SECOND], 200),
            ("error", [FIRST, SECOND], 202),
            ("number", [FIRST, SECOND], 207),
            ("number", [FIRST], 422),
        ],
    )
    def test_with_its_key_it_is_answered_as_before_and_sent_once(
        self, sms: Make, fake: FakeServer, scenario: str, given: Any, status: int
    ) -> None:
        client = sms("huawei")
        fake.script("huawei", scenario)
        post = _posting(client, "k", receivers=given)
        first, again = post(), post()
        assert first.status_code == again.status_code == status
        assert first.data == again.data
        assert first.content_type == again.content_type
        assert REPLAYED not in first.headers
        assert again.headers[REPLAYED] == "true"
        assert len(fake.asked()) == 1
        assert len(listed(client)) == 1

    @pytest.mark.parametrize(
        ("scenario", "status"), [("auth", 502), ("phone_limit", 429), ("refused", 503)]
    )
    def test_what_was_not_sent_may_come_again_and_then_is(
        self, sms: Make, fake: FakeServer, scenario: str, status: int
    ) -> None:
        if scenario == "refused":
            client = sms("twilio", TWILIO_URL=f"http://127.0.0.1:{free_port()}")
        else:
            client = sms("twilio")
            fake.script("twilio", scenario)
        failed(_posting(client, "k")(), status)
        post = _posting(sms("twilio"), "k")
        sent = post()
        assert sent.status_code == 200
        assert REPLAYED not in sent.headers
        assert post().headers[REPLAYED] == "true"
        assert [each.receiver for each in fake.sent()] == [FIRST]

    def test_with_another_body_its_key_is_refused(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = sms("aliyun")
        assert _posting(client, "k")().status_code == 200
        for change in (
            {"receivers": [SECOND]},
            {"params": {"code": "1"}},
            {"validity_seconds": 60},
            {"path": "/api/sms?async=1"},
        ):
            found = problem(_posting(client, "k", **change)(), 422)
            assert found["type"] == "urn:bellhop:problem:key-reused"
        assert len(fake.asked()) == 1

    def test_a_key_is_its_caller_s(self, sms: Make, fake: FakeServer) -> None:
        client = with_users(sms("aliyun").application)
        for who in (ANN, BOB):
            post = _posting(client, "k", path=V3, auth=who)
            assert REPLAYED not in post().headers
            assert REPLAYED in post().headers
        assert len(fake.asked()) == 2

    def test_a_task_that_sends_is_started_once(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = with_users(sms("aliyun").application)
        post = _posting(client, "k", path=f"{V3}?async=1", auth=ANN)
        first, again = post(), post()
        assert first.status_code == again.status_code == 202
        assert first.json == again.json
        assert again.headers[REPLAYED] == "true"
        ended(client, ANN, first.json["task_id"])
        assert len(fake.asked()) == 1


class TestAsATask:
    @pytest.mark.parametrize(
        "how",
        [
            {"path": f"{V3}?async=1"},
            {"headers": {"Prefer": "respond-async"}},
            {"headers": {"Prefer": "wait=5, Respond-Async"}},
        ],
        ids=str,
    )
    def test_it_is_answered_at_once_and_the_task_tells_the_end(
        self, sms: Make, how: dict[str, Any]
    ) -> None:
        client = with_users(sms("aliyun").application)
        answer = send(client, FIRST, SECOND, **{"path": V3, **how}, auth=ANN)
        assert answer.status_code == 202
        assert answer.headers["Preference-Applied"] == "respond-async"
        task_id = answer.json["task_id"]
        href = f"/v3/task/{task_id}"
        assert {"rel": "task", "href": href} in answer.json["links"]
        assert answer.headers["Location"] == href
        task = ended(client, ANN, task_id)
        assert (task["kind"], task["state"], task["reason"]) == (
            *("sms", "SUCCESS", "exit"),
        )
        assert task["owner"] == "ann"
        message = kept(client, answer, auth=ANN)
        assert message["task_id"] == task_id
        assert task["result"]["receivers"] == message["receivers"]
        assert task["result"]["message"] == message["message"] == "send"
        assert [each["state"] for each in message["receivers"]] == ["sent", "sent"]

    @pytest.mark.parametrize(
        ("scenario", "reason", "message"),
        [
            ("auth", "failed", "failed"),
            ("number", "rejected", "failed"),
            ("phone_limit", "receiver_limited", "failed"),
            ("reset", "unknown", "unknown"),
        ],
    )
    def test_that_did_not_send_has_failed_and_says_why(
        self, sms: Make, fake: FakeServer, scenario: str, reason: str, message: str
    ) -> None:
        client = with_users(sms("aliyun").application)
        fake.script("aliyun", scenario)
        answer = send(client, path=f"{V3}?async=1", auth=ANN)
        task = ended(client, ANN, answer.json["task_id"])
        assert (task["state"], task["reason"]) == ("FAILURE", reason)
        assert task["result"]["message"] == message
        assert kept(client, answer, auth=ANN)["message"] == message

    def test_that_waits_and_is_cancelled_sends_nothing(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = with_users(sms("aliyun", SMS_MAX_RUNNING="1").application)
        _hold(client, fake)
        waiting = send(client, path=f"{V3}?async=1", auth=ANN)
        task_id = waiting.json["task_id"]
        assert task_of(client, ANN, task_id)["state"] == "QUEUED"
        assert kept(client, waiting, auth=ANN)["message"] == "queued"
        assert client.delete(f"/v3/task/{task_id}", auth=ANN).status_code == 204
        task = task_of(client, ANN, task_id)
        assert (task["state"], task["reason"]) == ("REVOKED", "cancelled")
        message = kept(client, waiting, auth=ANN)
        assert [each["state"] for each in message["receivers"]] == ["rejected"]
        assert message["receivers"][0]["provider_code"] == "cancelled"
        assert len(fake.asked()) == 1

    def test_for_which_there_is_no_room_leaves_no_message(
        self, sms: Make, fake: FakeServer
    ) -> None:
        room = {"SMS_MAX_RUNNING": "1", "SMS_MAX_QUEUED": "0"}
        client = with_users(sms("aliyun", SMS_LIMIT_TOTAL="2/3600", **room).application)
        _hold(client, fake)
        found = problem(send(client, path=f"{V3}?async=1", auth=ANN), 429)
        assert found["type"] == "urn:bellhop:problem:capacity-exceeded"
        assert len(listed(client, path=V3, auth=ADMIN)) == 1
        assert len(fake.asked()) == 1
        assert send(client).status_code == 200, "nor does it count against a limit"


def _hold(client: FlaskClient, fake: FakeServer) -> None:
    """Have a task of Ann's wait for its vendor until the fake is closed."""
    fake.script("aliyun", "timeout")
    send(client, path=f"{V3}?async=1", auth=ANN)
    wait_until(fake.asked)


class TestSeen:
    def test_a_message_is_its_caller_s_and_the_admins(self, sms: Make) -> None:
        client = with_users(sms("aliyun").application)
        of_ann = send(client, path=V3, auth=ANN)
        of_nobody = send(client)
        ids = [answer.json["id"] for answer in (of_nobody, of_ann)]
        assert of_ann.json["links"] == [{"rel": "self", "href": f"{V3}{ids[1]}"}]
        for who, seen in ((ANN, ids[1:]), (BOB, []), (ADMIN, ids)):
            assert [m["id"] for m in listed(client, path=V3, auth=who)] == seen
            for message_id in ids:
                answer = client.get(f"{V3}{message_id}", auth=who)
                assert answer.status_code == (200 if message_id in seen else 404)
        assert [m["id"] for m in listed(client)] == ids[:1]
        problem(client.get(f"/api/sms/{ids[1]}"), 404)
        problem(client.get(f"{V3}nothing", auth=ADMIN), 404)

    def test_it_goes_with_its_user_s_name_and_to_nobody_after_that(
        self, sms: Make
    ) -> None:
        client = with_users(sms("aliyun").application)
        href = f"{V3}{send(client, path=V3, auth=ANN).json['id']}"
        renamed = {"username": "anna"}
        assert (
            client.patch("/v3/users/ann", json=renamed, auth=ADMIN).status_code == 200
        )
        anna = ("anna", ANN[1])
        assert client.get(href, auth=anna).json["owner"] == "anna"
        assert client.delete("/v3/users/anna", auth=ADMIN).status_code == 204
        again = {"username": "anna", "password": ANN[1], "fullname": "Another"}
        assert client.post("/v3/users/", json=again, auth=ADMIN).status_code == 201
        problem(client.get(href, auth=anna), 404)
        assert listed(client, path=V3, auth=anna) == []
        assert client.get(href, auth=ADMIN).json["owner"] != "anna"

    def test_a_message_tells_all_but_what_was_sent(self, sms: Make) -> None:
        client = sms("aliyun")
        headers = {"X-Request-ID": "r-1"}
        answer = send(client, FIRST, validity_seconds=60, headers=headers)
        message = kept(client, answer)
        expected = {
            "id": answer.json["id"],
            "message": "send",
            "template": "captcha",
            "provider": "aliyun",
            "owner": None,
            "request_id": "r-1",
            "validity_seconds": 60,
            "receivers": answer.json["receivers"],
        }
        assert {name: message[name] for name in expected} == expected
        assert message["created"] <= message["finished"]
        assert message["created"].endswith("Z")
        events = [event["event"] for event in message["events"]]
        assert events == ["stored", "answered", "finished"]
        assert CODE not in json.dumps(message)
        [line] = listed(client)
        assert line.items() <= message.items()
        assert line["states"] == {"sent": 1}

    def test_pages_lead_to_the_end_newest_first(self, sms: Make) -> None:
        client = sms("aliyun,twilio")
        ids = [send(client).json["id"] for _ in range(4)]
        other = send(client, provider="twilio").json["id"]
        found, href = [], "/api/sms?limit=2&provider=aliyun"
        while href:
            answer = client.get(href)
            assert len(answer.json["messages"]) <= 2
            found += [message["id"] for message in answer.json["messages"]]
            following = [x["href"] for x in answer.json["links"] if x["rel"] == "next"]
            href = following[0] if following else ""
            link = f'<{href}>; rel="next"' if href else None
            assert answer.headers.get("Link") == link
        assert found == ids[::-1]
        assert listed(client, "limit=1")[0]["id"] == other
        assert listed(client, "template=plain") == []
        for query, path in (("cursor=x", "cursor"), ("limit=0", "limit"), ("z=1", "z")):
            assert paths(client.get(f"/api/sms?{query}")) == [path]

    def test_head_is_answered_and_sends_nothing(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = sms("aliyun")
        href = f"/api/sms/{send(client).json['id']}"
        for path in (href, "/api/sms"):
            head = client.head(path)
            assert (head.status_code, head.data) == (200, b"")
        assert client.head("/api/sms/x").status_code == 404
        assert len(fake.asked()) == 1


class TestCredentials:
    def test_a_token_without_the_scope_sends_nothing(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = with_users(sms("aliyun").application)
        for scopes, sends, reads in (
            (["read"], 403, 200),
            (["exec"], 403, 403),
            (["sms"], 200, 403),
            (None, 200, 200),
        ):
            wish = {"scopes": scopes} if scopes else {}
            headers = bearer(token_of(client, ANN, **wish))
            for more in ({}, {"receivers": "x", "extra": 1}):
                answer = send(client, path=V3, headers=headers, **more)
                assert answer.status_code == (400 if more and sends == 200 else sends)
            assert client.get(V3, headers=headers).status_code == reads
        assert len(fake.asked()) == 2

    def test_production_asks_for_them_everywhere(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = with_users(sms("aliyun", ProductionConfig).application)
        message_id = send(client, auth=ANN).json["id"]
        preview = {"template": "captcha", "params": {"code": 1}}
        for who, status in ((None, 401), (("ann", "wrong"), 401), (ANN, 200)):
            assert send(client, auth=who).status_code == status
            for path in ("/api/sms", f"/api/sms/{message_id}"):
                assert client.get(path, auth=who).status_code == status
            answer = client.post("/api/sms/preview", json=preview, auth=who)
            assert answer.status_code == status
        problem(client.get(f"/api/sms/{message_id}", auth=BOB), 404)
        assert len(fake.asked()) == 2


class TestPreview:
    def test_it_is_what_is_sent_and_sends_nothing(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = sms("kannel")
        for template, params, encoding, segments in PREVIEWS:
            body = {"template": template, "params": params}
            found = client.post("/api/sms/preview", json=body).json
            assert (found["encoding"], found["segments"]) == (encoding, segments)
            assert found["text"] == "".join(found["parts"])
            assert not fake.asked()
            assert send(client, **body).status_code == 200
            assert fake.sent()[0].text == found["text"]
            fake.clear()

    def test_it_takes_the_body_of_a_message_or_any_text(self, sms: Make) -> None:
        client = sms("kannel")
        body = {"template": "captcha", "params": {"code": 1}, "receivers": [FIRST]}
        whole = client.post("/api/sms/preview", json=body | {"validity_seconds": 9})
        text = client.post("/api/sms/preview", json={"text": whole.json["text"]})
        assert text.json == whole.json
        assert text.json["encoding"] == "UCS-2"

    def test_what_cannot_be_shown_is_told(self, sms: Make) -> None:
        client = sms("aliyun")
        for body, expected in (
            ({"template": "nothing"}, ["template"]),
            ({"template": "approved"}, ["template"]),
            ({"template": "captcha"}, ["params.code"]),
            ({"template": "captcha", "params": {"code": 1}, "to": 1}, ["to"]),
            ({}, ["template"]),
            ({"text": "x", "template": "captcha"}, ["template"]),
        ):
            assert paths(client.post("/api/sms/preview", json=body)) == expected


@pytest.mark.parametrize(
    ("seconds", "twilio", "kannel"),
    [(1, "1", "1"), (60, "60", "1"), (61, "61", "2"), (36000, "36000", "600")],
)
def test_for_how_long_a_message_is_good_is_told_to_who_asks_for_it(
    sms: Make, fake: FakeServer, seconds: int, twilio: str, kannel: str
) -> None:
    client = sms("twilio,kannel")
    for provider in ("twilio", "kannel"):
        answer = send(client, provider=provider, validity_seconds=seconds)
        assert answer.status_code == 200
    assert fake.asked("twilio")[0].form["ValidityPeriod"] == twilio
    assert fake.asked("kannel")[0].query["validity"] == kannel


class TestLimits:
    #: The setting, the receivers of two that are let through, and what is free yet.
    KINDS: tuple[tuple[str, Any, Any], ...] = (
        ("RECEIVER", {}, {"receivers": [SECOND]}),
        ("TEMPLATE", {}, {"template": "plain", "params": {}}),
        ("CALLER", {}, {"auth": BOB}),
        ("COUNTRY", {"receivers": [SECOND]}, {"receivers": [ABROAD]}),
        ("TOTAL", {"receivers": [ABROAD], "auth": BOB}, None),
    )

    @pytest.mark.parametrize(("kind", "second", "free"), KINDS)
    def test_beyond_one_nothing_is_sent_until_its_time_is_over(
        self, sms: Make, fake: FakeServer, kind: str, second: Any, free: Any
    ) -> None:
        limit = {f"SMS_LIMIT_{kind}": "2/3600"}
        client = with_users(sms("kannel", **limit).application)
        ann = {"path": V3, "auth": ANN}
        for more in ({}, second):
            assert send(client, **{**ann, **more}).status_code == 200
        answer = send(client, **ann)
        found = problem(answer, 429)
        assert found["type"] == "urn:bellhop:problem:sms-limit-exceeded"
        assert 3590 <= int(answer.headers["Retry-After"]) <= 3601
        assert FIRST not in answer.text
        assert len(fake.asked()) == 2
        assert len(listed(client, path=V3, auth=ADMIN)) == 2
        if free:
            assert send(client, **{**ann, **free}).status_code == 200

    def test_all_receivers_count_and_fit_together_or_not_at_all(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = sms("huawei", SMS_LIMIT_CALLER="3/3600")
        assert send(client, FIRST, SECOND).status_code == 200
        problem(send(client, FIRST, SECOND), 429)
        problem(send(client, FIRST, SECOND, path="/api/sms?async=1"), 429)
        assert send(client, FIRST).status_code == 200
        assert len(fake.sent()) == 3

    def test_what_was_not_sent_does_not_count(
        self, sms: Make, fake: FakeServer
    ) -> None:
        client = sms("twilio", SMS_LIMIT_RECEIVER="2/3600")
        fake.script("twilio", *["auth", "throttle", "phone_limit"], "success", "error")
        for status in (502, 502, 429, 200, 202):
            assert send(client).status_code == status
        found = problem(send(client), 429)
        assert found["type"] == "urn:bellhop:problem:sms-limit-exceeded"
        assert len(fake.asked()) == 5

    def test_the_answer_of_a_key_needs_no_room(self, sms: Make) -> None:
        post = _posting(sms("aliyun", SMS_LIMIT_TOTAL="1/3600"), "k")
        assert [post().status_code for _ in range(3)] == [200, 200, 200]

    def test_are_on_in_production_alone(self, sms: Make) -> None:
        client = with_users(sms("aliyun", ProductionConfig).application)
        answers = [send(client, auth=ANN).status_code for _ in range(6)]
        assert answers == [200] * 5 + [429]
        client = sms("aliyun")
        assert [send(client).status_code for _ in range(6)] == [200] * 6
