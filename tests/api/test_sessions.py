"""Browsers that have signed in: what a session is good for, and what it takes."""

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.auth.login import BOUNDS
from app.errors import StorageUnavailable
from app.metrics.figures import Figures
from config.config import ProductionConfig
from tests.api.callers import ADMIN, ANN, BOB, Auth, token_of, with_users
from tests.api.checks import problem

COOKIE = "bellhop_session"
FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
]
SCRIPT = {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(ProductionConfig, SMS_PROVIDER="memory")


@pytest.fixture
def programs(app: Flask) -> FlaskClient:
    """Return a client without a session, of an app that has users."""
    return with_users(app)


@pytest.fixture
def browser(app: Flask, programs: FlaskClient) -> FlaskClient:
    """Return a client in which Ann has signed in."""
    return signed_in(app, ANN)


def signed_in(app: Flask, who: Auth) -> FlaskClient:
    client = app.test_client()
    assert sign_in(client, who).status_code == 303
    return client


def sign_in(client: FlaskClient, who: Auth, **more: Any) -> TestResponse:
    form = {"username": who[0], "password": who[1], **more.pop("form", {})}
    return client.post("/ui/sign-in", data=form, **more)


def text_of(client: FlaskClient) -> str:
    cookie = client.get_cookie(COOKIE)
    assert cookie is not None
    return cookie.value


def csrf_of(client: FlaskClient) -> str:
    """Return the token as the pages have it."""
    page = client.get("/ui/people/").text
    found = re.search(r'<meta name="csrf-token" content="([0-9a-f]{64})">', page)
    assert found, page
    return found[1]


def with_csrf(client: FlaskClient) -> dict[str, str]:
    return {"X-CSRF-Token": csrf_of(client)}


class TestSigningIn:
    def test_sets_a_cookie_that_is_for_us_alone(self, programs: FlaskClient) -> None:
        answer = sign_in(programs, ANN)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/ui/")
        [cookie] = answer.headers.getlist("Set-Cookie")
        name, *rest = cookie.split("; ")
        assert name == f"{COOKIE}={text_of(programs)}"
        assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} <= {*rest}
        assert "Secure" not in rest
        assert not [part for part in rest if part.startswith("Domain")]
        secure = sign_in(programs, ANN, base_url="https://localhost")
        assert "; Secure" in secure.headers["Set-Cookie"]

    def test_gives_a_new_session_each_time_and_ends_the_one_before(
        self, programs: FlaskClient
    ) -> None:
        programs.set_cookie(COOKIE, "bellhop_chosen-by-somebody-else")
        sign_in(programs, ANN)
        first = text_of(programs)
        assert first != "bellhop_chosen-by-somebody-else"
        sign_in(programs, ANN)
        assert text_of(programs) != first
        sessions = programs.application.extensions["bellhop"].sessions
        assert sessions.authenticate(text_of(programs)).username == "ann"
        programs.set_cookie(COOKIE, first)
        problem(programs.get("/v3/task/"), 401, by_page=True)

    @pytest.mark.parametrize(
        "form",
        [
            {"password": "wrong"},
            {"username": "nobody"},
            {"username": "", "password": ""},
            {"username": "ann\0", "password": "\0"},
            {"username": "a" * 5000},
        ],
        ids=lambda form: str(form)[:30],
    )
    def test_what_is_wrong_is_told_on_the_page(
        self, programs: FlaskClient, form: dict[str, str]
    ) -> None:
        answer = sign_in(programs, ANN, form=form)
        assert answer.status_code == 401
        assert answer.mimetype == "text/html"
        assert "The name or the password is wrong." in answer.text
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="bellhop"'
        assert "Set-Cookie" not in answer.headers
        assert "wrong</p>" not in answer.text
        assert ANN[1] not in answer.text

    def test_what_was_typed_is_text_on_the_page(self, programs: FlaskClient) -> None:
        name = '"><script>alert(1)</script>'
        answer = sign_in(programs, (name, "x"), form={"next": f"/ui/{name}"})
        assert answer.status_code == 401
        assert "<script>alert" not in answer.text

    def test_guesses_count_as_those_of_basic_do(self, programs: FlaskClient) -> None:
        for number in range(BOUNDS.one_address):
            if number % 2:
                assert sign_in(programs, (BOB[0], "wrong")).status_code == 401
            else:
                problem(programs.get("/v3/task/", auth=(BOB[0], "wrong")), 401)
        answer = sign_in(programs, BOB)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert f"in {answer.headers['Retry-After']} seconds" in answer.text
        assert "Set-Cookie" not in answer.headers
        assert sign_in(programs, ANN).status_code == 303

    @pytest.mark.parametrize("headers", FOREIGN, ids=str)
    def test_a_form_of_another_site_signs_nobody_in(
        self, programs: FlaskClient, headers: dict[str, str]
    ) -> None:
        for path in ("/ui/sign-in", "/ui/choose"):
            form = {"username": ANN[0], "password": ANN[1], "theme": "dark"}
            answer = programs.post(path, data=form, headers=headers)
            assert answer.status_code == 403
            assert answer.mimetype == "text/html"
            assert "Set-Cookie" not in answer.headers

    @pytest.mark.parametrize(
        ("path", "goes_to"),
        [
            ("/ui/tasks/?state=SUCCESS&owner=%E5%AE%89", None),
            ("/ui/tasks/42", None),
            *(
                (path, "/ui/")
                for path in (
                    *("", "/", "/v3/", "/ui", "ui/", "//evil.example/ui/"),
                    *("https://evil.example/ui/", "javascript:alert(1)"),
                    *("/ui//evil.example", "/ui/\\evil.example", "\\ui/"),
                    *("/ui/\r\nSet-Cookie: a=b", "/ui/ x", "/ui/安"),
                )
            ),
        ],
    )
    def test_leads_on_to_pages_of_ours_alone(
        self, programs: FlaskClient, path: str, goes_to: str | None
    ) -> None:
        answer = sign_in(programs, ANN, form={"next": path})
        assert answer.headers["Location"] == (goes_to or path)
        again = programs.get("/ui/sign-in", query_string={"next": path})
        assert (again.status_code, again.headers["Location"]) == (303, goes_to or path)

    def test_a_form_that_is_too_large_is_not_read(self, programs: FlaskClient) -> None:
        form = {"username": "ann", "password": "x" * (1024 * 1024)}
        answer = programs.post("/ui/sign-in", data=form)
        assert (answer.status_code, answer.mimetype) == (413, "text/html")
        assert answer.headers["Connection"] == "close"
        of_any_length = programs.post(
            "/ui/sign-in",
            input_stream=BytesIO(urlencode(form).encode()),
            content_type="application/x-www-form-urlencoded",
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        )
        assert of_any_length.status_code == 411

    def test_where_there_is_no_user_the_page_says_how_to_make_one(
        self, app: Flask
    ) -> None:
        client = app.test_client()
        assert "flask --app server user add" in client.get("/ui/sign-in").text
        with_users(app)
        assert "user add" not in client.get("/ui/sign-in").text


class TestASession:
    def test_reads_as_its_user_does(self, browser: FlaskClient) -> None:
        assert browser.get("/v3/task/").status_code == 200
        assert browser.get("/v3/users/ann/tokens").status_code == 200
        problem(browser.get("/v3/users/bob/tokens"), 403)
        problem(browser.get("/v3/audit/"), 403)

    def test_changes_something_only_with_the_token_of_its_page(
        self, app: Flask, browser: FlaskClient
    ) -> None:
        wish = {"command": "echo"}
        others = with_csrf(signed_in(app, BOB))
        right = with_csrf(browser)
        for wrong in (
            {},
            {"X-CSRF-Token": ""},
            {"X-CSRF-Token": "\xe9"},
            {"X-CSRF-Token": right["X-CSRF-Token"][:-1]},
            {"X-CSRF-Token": text_of(browser)},
            others,
        ):
            told = problem(browser.post("/v3/exec/", json=wish, headers=wrong), 403)
            assert "X-CSRF-Token" in told["detail"]
            problem(browser.get("/v3/iostat/", headers=wrong), 403)
            problem(browser.delete("/v3/task/none", headers=wrong), 403)
        form = {"csrf": right["X-CSRF-Token"]}
        problem(browser.post("/v3/exec/", data=form), 403)
        assert browser.get("/v3/task/").json["tasks"] == []
        started = browser.post("/v3/exec/", json=wish, headers=right)
        assert (started.status_code, started.json["owner"]) == (201, "ann")

    def test_is_refused_from_another_site_also_with_the_token(
        self, browser: FlaskClient
    ) -> None:
        token = with_csrf(browser)
        for headers in FOREIGN:
            answer = browser.post(
                "/v3/exec/", json={"command": "echo"}, headers=token | headers
            )
            problem(answer, 403)

    def test_makes_no_other_credentials_unless_it_is_an_admins(
        self, app: Flask, browser: FlaskClient
    ) -> None:
        token = with_csrf(browser)
        for what in ("tokens", "signing-key"):
            path = f"/v3/users/ann/{what}"
            told = problem(browser.post(path, headers=token), 403)
            assert "password" in told["detail"]
            assert browser.post(path, headers=token, auth=ANN).status_code == 201
        boss = signed_in(app, ADMIN)
        made = boss.post("/v3/users/ann/tokens", headers=with_csrf(boss))
        assert made.status_code == 201

    def test_other_credentials_go_before_it_and_need_no_token(
        self, browser: FlaskClient
    ) -> None:
        assert browser.get("/v3/audit/", auth=ADMIN).status_code == 200
        problem(browser.get("/v3/task/", auth=(ANN[0], "wrong")), 401, by_page=True)
        bearer = {"Authorization": f"Bearer {token_of(browser, BOB)}"}
        answer = browser.post("/v3/exec/", json={"command": "echo"}, headers=bearer)
        assert (answer.status_code, answer.json["owner"]) == (201, "bob")
        as_bearer = {"Authorization": f"Bearer {text_of(browser)}"}
        problem(browser.get("/v3/task/", headers=as_bearer), 401, by_page=True)

    def test_is_nothing_to_a_route_that_asks_for_none(
        self, make_app: Callable[..., Flask]
    ) -> None:
        client = with_users(make_app())
        sign_in(client, ANN)
        answer = client.post("/v1/user", json={"name": "Tom", "age": 7})
        assert answer.status_code == 201, "in testing, that is open to all"
        assert client.post("/api/exec/ann", json={"cmd": "true"}).status_code == 202

    def test_that_has_ended_leads_to_sign_in_and_is_forgotten(
        self, browser: FlaskClient, programs: FlaskClient
    ) -> None:
        change = {"password": "another one"}
        programs.patch("/v3/users/ann", json=change, auth=ADMIN)
        problem(browser.get("/v3/task/"), 401, by_page=True)
        answer = browser.get("/ui/tasks/?state=LOST")
        assert answer.status_code == 303
        assert answer.headers["Location"] == (
            "/ui/sign-in?next=%2Fui%2Ftasks%2F%3Fstate%3DLOST"
        )
        assert browser.get_cookie(COOKIE) is None

    def test_that_a_browser_kept_to_itself_is_not_forgotten(
        self, programs: FlaskClient
    ) -> None:
        answer = programs.get("/ui/tasks/", headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 303
        assert "Set-Cookie" not in answer.headers
        headers = {"Sec-Fetch-Site": "cross-site"}
        page = programs.get(answer.headers["Location"], headers=headers)
        assert page.headers["Refresh"] == "0"
        headers = {"Sec-Fetch-Site": "same-origin"}
        page = programs.get(answer.headers["Location"], headers=headers)
        assert "Refresh" not in page.headers

    def test_is_ended_by_the_terminal_too(
        self, app: Flask, browser: FlaskClient
    ) -> None:
        runner = app.test_cli_runner()
        arguments = ["user", "password", "ann", "--password", "another one"]
        assert runner.invoke(args=arguments).exit_code == 0
        problem(browser.get("/v3/task/"), 401, by_page=True)


class TestSigningOut:
    def test_ends_the_session_wherever_its_text_is(self, browser: FlaskClient) -> None:
        kept, csrf = text_of(browser), csrf_of(browser)
        answer = browser.post("/ui/sign-out", data={"csrf": csrf})
        assert answer.headers["Location"] == "/ui/sign-in"
        assert browser.get_cookie(COOKIE) is None
        browser.set_cookie(COOKIE, kept)
        problem(browser.get("/v3/task/"), 401, by_page=True)

    def test_takes_the_token_of_the_page(self, browser: FlaskClient) -> None:
        for form in ({}, {"csrf": ""}, {"csrf": "x"}):
            assert browser.post("/ui/sign-out", data=form).status_code == 403
        assert browser.get("/v3/task/").status_code == 200


class TestTheBrowsersOwnBox:
    """A browser that is offered Basic asks for a password in a box of its own."""

    def test_is_not_asked_for_by_a_page_nor_where_a_session_has_ended(
        self, programs: FlaskClient
    ) -> None:
        answers = [programs.get("/v3/task/", headers=SCRIPT)]
        programs.set_cookie(COOKIE, "ended")
        answers += [programs.get("/v3/task/"), programs.get("/v3/nothing")]
        for answer in answers:
            problem(answer, 401, by_page=True)
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="bellhop"'

    def test_is_asked_for_by_everybody_else(self, programs: FlaskClient) -> None:
        for headers in (
            {},
            {"Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none"},
            {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-origin"},
        ):
            answer = programs.get("/v3/task/", headers=headers)
            assert answer.headers["WWW-Authenticate"] == (
                'Basic realm="bellhop", charset="UTF-8", Bearer realm="bellhop"'
            )


class TestWhatIsKeptOfIt:
    def test_the_audit_has_who_signed_in_who_did_not_and_what_a_session_did(
        self, browser: FlaskClient, programs: FlaskClient
    ) -> None:
        sign_in(programs, (BOB[0], "wrong"))
        sign_in(programs, ("nobody", "wrong"))
        token = with_csrf(browser)
        browser.post("/v3/exec/", json={"command": "echo"}, headers=token)
        browser.post("/v3/exec/", json={"command": "echo"})
        browser.post("/ui/choose", data={"theme": "dark"})
        browser.post("/ui/sign-out", headers=token)
        rows = programs.get("/v3/audit/", auth=ADMIN).json["audit"]
        members = ("actor", "via", "action", "outcome", "detail")
        assert [tuple(row.get(name) for name in members) for row in rows[::-1]] == [
            ("ann", "basic", "POST /ui/sign-in", "success", None),
            (None, "nothing", "POST /ui/sign-in", "refused", "claimed to be bob"),
            (
                *(None, "nothing", "POST /ui/sign-in", "refused"),
                "claimed to be nobody that there is",
            ),
            ("ann", "session", "POST /v3/exec/", "success", None),
            ("ann", "session", "POST /v3/exec/", "refused", None),
            ("ann", "session", "POST /ui/sign-out", "success", None),
        ]

    def test_no_session_is_in_audit_or_log(
        self,
        log_of: Callable[[], list[dict[str, Any]]],
        app: Flask,
        programs: FlaskClient,
    ) -> None:
        client = signed_in(app, ANN)
        text, csrf = text_of(client), csrf_of(client)
        client.get(f"/ui/tasks/{text}")
        client.post("/ui/sign-out", data={"csrf": csrf})
        found = str(programs.get("/v3/audit/", auth=ADMIN).json)
        lines = [line for line in log_of() if text not in str(line.get("path"))]
        assert len(lines) > 3
        for secret in (text, csrf, ANN[1]):
            assert secret not in found
            assert secret not in str(lines)

    def test_what_was_refused_is_counted_by_what_it_was(
        self, programs: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counted: list[str] = []
        monkeypatch.setattr(
            Figures, "credentials_refused", lambda _self, via: counted.append(via)
        )
        programs.get("/ui/")
        sign_in(programs, (ANN[0], "wrong"))
        programs.set_cookie(COOKIE, "ended")
        programs.get("/v3/task/")
        assert counted == ["password", "session"]


class TestEveryPage:
    def test_says_what_a_browser_may_do_with_it(self, browser: FlaskClient) -> None:
        page = browser.get("/ui/people/").text
        static = re.findall(r'(?:href|src)="(/ui/static/[^"]+)"', page)
        assert len(static) >= 3
        for path in ("/ui/people/", "/ui/sign-in?next=//x", "/ui/nothing", *static):
            with browser.get(path) as answer:
                headers = answer.headers
            assert headers["Content-Security-Policy"] == (
                "default-src 'none'; script-src 'self'; style-src 'self'; "
                "img-src 'self' data:; connect-src 'self'; form-action 'self'; "
                "base-uri 'none'; frame-ancestors 'none'"
            )
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "same-origin"
            assert headers["X-Request-ID"]
            kept = headers["Cache-Control"]
            if path in static:
                assert kept == "public, max-age=31536000, immutable"
            else:
                assert kept == "no-store"

    def test_has_files_of_its_version_and_none_from_elsewhere(
        self, programs: FlaskClient
    ) -> None:
        page = programs.get("/ui/sign-in").text
        [css] = re.findall(r'href="(/ui/static/[^"]+bellhop.css)"', page)
        old = re.sub("static/[0-9a-f]+/", "static/0/", css)
        with programs.get(old) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
        for path in ("../frame.py", "%2e%2e/frame.py", "js/../../frame.py", "none.js"):
            assert programs.get(f"/ui/static/0/{path}").status_code == 404

    def test_is_one_that_there_is_or_a_page_that_says_so(
        self, browser: FlaskClient, programs: FlaskClient
    ) -> None:
        for client in (browser, programs):
            answer = client.get("/ui/nothing")
            assert (answer.status_code, answer.mimetype) == (404, "text/html")
        answer = browser.post("/ui/people/", headers=with_csrf(browser))
        assert answer.status_code == 405
        assert "GET" in answer.headers["Allow"]
        assert browser.get("/ui/tasks/none").status_code == 404
        assert browser.get("/ui").headers["Location"] == "/ui/"

    def test_says_that_the_records_are_away(
        self, browser: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise StorageUnavailable

        monkeypatch.setattr("app.storage.engine.Database.first", fail)
        monkeypatch.setattr("app.storage.engine.Database.read", fail)
        for path in ("/ui/tasks/", "/ui/sign-in"):
            answer = browser.get(path)
            assert (answer.status_code, answer.mimetype) == (503, "text/html")
            assert answer.headers["Retry-After"] == "2"
            assert browser.get_cookie(COOKIE) is not None

    def test_is_in_the_language_that_was_chosen_or_is_preferred(
        self, programs: FlaskClient
    ) -> None:
        def language(accept: str) -> str:
            headers = {"Accept-Language": accept}
            page = programs.get("/ui/sign-in", headers=headers).text
            return re.findall('<html lang="(.*?)"', page)[0]

        for accept, expected in (
            ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
            ("zh-Hant-TW", "zh"),
            ("en-GB,zh;q=0.5", "en"),
            ("fr,de;q=0.5", "en"),
            ("", "en"),
            ("*", "en"),
        ):
            assert language(accept) == expected, accept
        answer = programs.post("/ui/choose", data={"language": "en", "next": "/ui/x"})
        assert answer.headers["Location"] == "/ui/x"
        assert language("zh") == "en"
        programs.post("/ui/choose", data={"language": "xx", "theme": "../x"})
        assert language("zh") == "en"
        assert programs.get_cookie("bellhop_theme") is None


class TestTheRoot:
    @pytest.mark.parametrize(
        ("accept", "status"),
        [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 303),
            ("*/*", 200),
            ("application/json", 200),
            ("application/json, text/html;q=0.9", 200),
            ("text/plain", 200),
            (None, 200),
        ],
    )
    def test_sends_a_browser_to_the_pages_and_programs_nowhere(
        self, client: FlaskClient, accept: str | None, status: int
    ) -> None:
        headers = {} if accept is None else {"Accept": accept}
        answer = client.get("/", headers=headers)
        assert answer.status_code == status
        if status == 303:
            assert answer.headers["Location"] == "/ui/"
        else:
            assert {"rel": "ui", "href": "/ui/"} in answer.json["links"]
        assert client.head("/", headers=headers).status_code == status
