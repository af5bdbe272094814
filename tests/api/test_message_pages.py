"""The pages of messages: who may see which, and names that would be more than text."""

import re
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from config.config import ProductionConfig
from tests.api.callers import ADMIN, ANN, BOB, Auth, with_users
from tests.sms import send
from tests.vendors import FIRST

Sms = Callable[..., FlaskClient]

OUTAGE = """
[templates.outage]
description = "It is down <b>"
text = "{service} is down since {minutes} min. {note}"
[templates.outage.params]
service = {enum = ["mail", "web"]}
minutes = {type = "integer", minimum = 1}
note = {type = "string", maxLength = 300, default = "We are on it"}
"""

AWKWARD = "<b>\u202e\"'安"


def signed_in(client: FlaskClient, who: Auth) -> FlaskClient:
    """Return the client with the session of a user."""
    form = {"username": who[0], "password": who[1]}
    assert client.post("/ui/sign-in", data=form).status_code == 303
    return client


def page(client: FlaskClient, path: str, status: int = 200) -> str:
    """Return a page."""
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.content_type.startswith("text/html")
    return answer.text


def sent(client: FlaskClient, who: Auth, **more: Any) -> str:
    """Send a message; return its id."""
    answer = send(client, path="/v3/sms/", auth=who, **more)
    assert answer.status_code == 200, answer.json
    return str(answer.json["id"])


def test_users_see_their_own_messages_and_admins_all(sms: Sms) -> None:
    client = with_users(sms("memory").application)
    of_ann, of_bob = sent(client, ANN), sent(client, BOB)
    seen = page(signed_in(client, ANN), "/ui/messages/")
    assert of_ann in seen
    assert of_bob not in seen
    assert FIRST in page(client, f"/ui/messages/{of_ann}")
    assert FIRST not in page(client, f"/ui/messages/{of_bob}", 404)
    seen = page(signed_in(client, ADMIN), "/ui/messages/")
    assert of_ann in seen
    assert of_bob in seen


def test_lists_go_on_page_by_page(sms: Sms) -> None:
    client = with_users(sms("memory").application)
    ids = [sent(client, ANN) for _ in range(3)]
    seen = page(signed_in(client, ANN), "/ui/messages/?limit=2&template=&owner=")
    assert [each in seen for each in ids] == [False, True, True]
    [href] = re.findall(r'rel="next" href="([^"]*)"', seen)
    seen = page(client, unescape(href))
    assert [each in seen for each in ids] == [True, False, False]


def test_messages_are_found_by_what_they_are(sms: Sms) -> None:
    client = with_users(sms("memory").application)
    of_ann, of_bob = sent(client, ANN), sent(client, BOB)
    seen = page(signed_in(client, ADMIN), "/ui/messages/?owner=bob&provider=memory")
    assert of_bob in seen
    assert of_ann not in seen
    assert "cursor" in page(client, "/ui/messages/?cursor=x", 400)


def test_the_form_has_a_field_for_each_parameter_of_each_template(sms: Sms) -> None:
    client = with_users(sms("memory").application)
    seen = page(signed_in(client, ANN), "/ui/messages/")
    assert seen.count("data-template=") == 4
    assert seen.count("data-has-text") == 3
    assert seen.count('data-path="params.code"') == 2
    assert "<option>memory</option>" in seen


def test_fields_are_what_the_schemas_of_the_parameters_say(
    sms: Sms, tmp_path: Path
) -> None:
    (tmp_path / "outage.toml").write_text(OUTAGE)
    templates = str(tmp_path / "outage.toml")
    client = with_users(sms("memory", SMS_TEMPLATES=templates).application)
    seen = page(signed_in(client, ANN), "/ui/messages/")
    assert re.search(r'<select [^>]*name="service"[^>]* required>', seen)
    assert '<option value="&#34;mail&#34;">mail</option>' in seen
    assert re.search(r'<input [^>]*name="minutes"[^>]*type="number"', seen)
    assert re.search(
        r'<textarea [^>]*name="note"[^>]*placeholder="We are on it">', seen
    )
    assert "It is down &lt;b&gt;" in seen


def test_names_of_people_are_text_in_the_form(sms: Sms) -> None:
    client = with_users(sms("memory").application)
    person = {"name": AWKWARD, "age": 1, "phone": FIRST}
    assert client.post("/v1/user", json=person).status_code == 201
    seen = page(signed_in(client, ANN), '/ui/messages/?to="><i>')
    assert "<b>" not in seen
    assert "<i>" not in seen
    assert "&lt;b&gt;" in seen


def test_a_service_without_a_provider_says_what_to_set(sms: Sms) -> None:
    client = with_users(sms("", ProductionConfig).application)
    seen = page(signed_in(client, ANN), "/ui/messages/")
    assert "SMS_PROVIDER=console" in seen
    assert 'id="write"' not in seen


def test_numbers_that_were_forgotten_are_not_shown_as_digests(sms: Sms) -> None:
    client = with_users(sms("memory").application)
    message_id = sent(client, ANN)
    store = client.application.extensions["bellhop"].outbox._store
    later = time.time() + 9
    store.forget_contents(later, lambda _: "hmac-sha256:0a1b", limit=9, at=later)
    seen = page(signed_in(client, ANN), f"/ui/messages/{message_id}")
    assert "forgotten" in seen
    assert "0a1b" not in seen


def test_a_page_follows_a_message_only_where_receipts_may_come(sms: Sms) -> None:
    client = with_users(sms("memory,twilio").application)
    by_memory = sent(client, ANN, provider="memory")
    by_twilio = sent(client, ANN, provider="twilio")
    assert '"reports": false' in page(
        signed_in(client, ANN), f"/ui/messages/{by_memory}"
    )
    assert '"reports": true' in page(client, f"/ui/messages/{by_twilio}")
