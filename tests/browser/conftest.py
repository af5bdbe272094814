"""A real service with real users, and a real browser that looks at its pages."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tests.servers import Server, running

USERS = {"admin": "change-me", "ann": "ann-secret"}
ADMIN = ("admin", USERS["admin"])

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Longer than anything here takes on a busy machine, shorter than a test may.
WAIT_MS = 15_000

#: What may be run: at once, for a while, in colours, and to no avail.
COMMANDS = r"""
[commands.hello]
description = "Say hello"
argv = ["/bin/echo", "hello {name}"]
[commands.hello.params.name]
type = "string"
default = "world"
maxLength = 40

[commands.count]
description = "Count slowly"
argv = ["/bin/sh", "-c", "for i in $(seq $0); do echo line $i; sleep 0.2; done", "{to}"]
[commands.count.params.to]
type = "integer"
minimum = 1
maximum = 1000
default = 5

[commands.colours]
description = "Print colours"
argv = ["/usr/bin/printf", '\033[31mred\033[0m \033[1mbold\033[0m <b>not html</b>\n']

[commands.fail]
description = "Fail with a word on stderr"
argv = ["/bin/sh", "-c", "echo trouble >&2; exit 3"]
stderr = "separate"
"""

PageOf = Callable[..., Page]


@dataclass
class Watch:
    """What a page did that none may; `forgiven` are parts of what a test expects."""

    url: str
    forgiven: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.seen.append(f"console: {message.text} {message.location}")

    def on_request(self, request: Request) -> None:
        asked = urlsplit(request.url)
        if asked.scheme in ("http", "https") and asked.netloc != urlsplit(self.url)[1]:
            self.seen.append(f"request to another host: {request.url}")

    def unforgiven(self) -> list[str]:
        return [s for s in self.seen if not any(part in s for part in self.forgiven)]


@pytest.fixture(scope="module")
def commands() -> str:
    """Return the catalogue of the service; a module may have one of its own."""
    return COMMANDS


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Return further settings of the service, for a module that needs them."""
    return {}


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, commands: str, settings: dict[str, str]
) -> Iterator[Server]:
    """Start the service as in production, with two workers, an admin and Ann."""
    folder = tmp_path_factory.mktemp("service")
    catalogue = folder / "commands.toml"
    catalogue.write_text(commands)
    given = {
        "FLASK_ENV": "production",
        "ADMIN_PASSWORD": ADMIN[1],
        "EXEC_COMMANDS": str(catalogue),
        "SMS_PROVIDER": "memory",
        "SMS_LIMIT_RECEIVER": "off",
    }
    with running(folder, "-w", "2", **given | settings) as server:
        ann = {"username": "ann", "password": USERS["ann"], "fullname": "Ann Ng"}
        assert server.post("/v3/users/", json=ann, auth=ADMIN).status_code == 201
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start a browser; skip where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield started
        started.close()


@pytest.fixture
def open_page(service: Server, browser: Browser) -> Iterator[PageOf]:
    """Return what opens pages, signed in as nobody, that do nothing that none may.

    `forgiven` are parts of what a test expects in the console; what else is given
    goes to the browser's context: viewport, color_scheme, locale, …
    """
    contexts, watches = [], []

    def make(*, forgiven: tuple[str, ...] = (), **options: Any) -> Page:
        context = browser.new_context(base_url=service.url, **options)
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page, watch = context.new_page(), Watch(service.url, list(forgiven))
        page.on("console", watch.on_console)
        page.on("pageerror", lambda error: watch.seen.append(f"error: {error}"))
        page.on("request", watch.on_request)
        watches.append(watch)
        return page

    yield make
    for context in contexts:
        context.close()
    found = [fault for watch in watches for fault in watch.unforgiven()]
    assert not found, "\n".join(found)


@pytest.fixture(scope="module")
def sessions() -> dict[str, Any]:
    """Keep the cookies of who has signed in: to check a password takes its time."""
    return {}


@pytest.fixture
def page_of(open_page: PageOf, sessions: dict[str, Any]) -> PageOf:
    """Return what opens pages for a user of that name, who has signed in.

    It shows nothing yet: go to where the test begins. Options as of `open_page`.
    """

    def make(username: str, **options: Any) -> Page:
        page = open_page(**options)
        page.context.add_cookies(sessions.get(username, []))
        # By the context's own client, which shares its cookies with the page.
        if page.request.get("/ui/commands/", max_redirects=0).status != 200:
            form = {"username": username, "password": USERS[username]}
            answer = page.request.post("/ui/sign-in", form=form, max_redirects=0)
            assert answer.status == 303, answer.text()
            sessions[username] = page.context.cookies()
        return page

    return make


@pytest.fixture
def page(page_of: PageOf) -> Page:
    """Return a page for the admin."""
    return page_of("admin")
