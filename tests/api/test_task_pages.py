"""The page of tasks: whose are shown, in which order, and by which filters."""

import re

from flask.testing import FlaskClient

from tests.api.callers import ADMIN, ANN, BOB, Auth
from tests.api.test_command_pages import page


def run(client: FlaskClient, who: Auth, cmd: str = "true") -> str:
    """Run a shell's command to its end; return its id."""
    body = {"cmd": cmd, "wait_seconds": 20}
    answer = client.post("/v3/exec/", json=body, auth=who)
    assert answer.status_code == 201, answer.text
    return str(answer.json["task_id"])


def shown(html: str) -> list[str]:
    """Return the tasks of the page, in their order."""
    return re.findall(r'data-task="([^"]+)"', html)


def test_the_reader_s_own_are_shown_and_all_to_an_admin(v3: FlaskClient) -> None:
    anns, bobs = run(v3, ANN), run(v3, BOB)
    assert shown(page(v3, "/ui/tasks/", ANN)) == [anns]
    assert shown(page(v3, "/ui/tasks/", BOB)) == [bobs]
    assert shown(page(v3, "/ui/tasks/", ADMIN)) == [bobs, anns]


def test_another_s_name_finds_nothing(v3: FlaskClient) -> None:
    run(v3, BOB)
    assert shown(page(v3, "/ui/tasks/?owner=bob", ANN)) == []


def test_only_admins_are_asked_for_an_owner(v3: FlaskClient) -> None:
    assert 'name="owner"' in page(v3, "/ui/tasks/", ADMIN)
    assert 'name="owner"' not in page(v3, "/ui/tasks/", ANN)


def test_filters_are_those_of_the_api(v3: FlaskClient) -> None:
    good, bad = run(v3, ANN), run(v3, ANN, "exit 3")
    # A form sends its empty fields too.
    assert shown(page(v3, "/ui/tasks/?state=FAILURE&kind=&owner=")) == [bad]
    assert shown(page(v3, "/ui/tasks/?state=SUCCESS&kind=exec")) == [good]
    assert shown(page(v3, "/ui/tasks/?kind=iostat")) == []
    chosen = page(v3, "/ui/tasks/?state=FAILURE")
    assert '<option value="FAILURE" selected>Failed</option>' in chosen


def test_what_no_filter_takes_is_refused_on_a_page(v3: FlaskClient) -> None:
    page(v3, "/ui/tasks/")
    for query in ("state=GONE", "cursor=x", "limit=0", "unknown=1"):
        answer = v3.get(f"/ui/tasks/?{query}")
        assert answer.status_code == 400
        assert answer.mimetype == "text/html"


def test_older_ones_are_on_the_next_page(v3: FlaskClient) -> None:
    first, second, third = (run(v3, ANN) for _ in range(3))
    html = page(v3, "/ui/tasks/?limit=2&state=SUCCESS")
    assert shown(html) == [third, second]
    [following] = re.findall(r'rel="next" href="([^"]+)"', html)
    html = page(v3, following.replace("&amp;", "&"))
    assert shown(html) == [first]
    assert "data-newest" not in html


def test_what_was_run_is_text(v3: FlaskClient) -> None:
    run(v3, ANN, "echo '<script>alert(1)</script>'")
    html = page(v3, "/ui/tasks/")
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_where_nothing_has_run_the_page_leads_to_what_can_be(v3: FlaskClient) -> None:
    assert 'href="/ui/commands/"' in page(v3, "/ui/tasks/").partition("<main")[2]


def test_who_has_not_signed_in_is_sent_to_do_so(v3: FlaskClient) -> None:
    for path in ("/ui/tasks/", "/ui/commands/", "/ui/commands/echo"):
        answer = v3.get(path)
        assert answer.status_code == 303
        assert answer.location.startswith("/ui/sign-in?next=")
