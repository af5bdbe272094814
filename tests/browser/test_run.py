"""A run as it is watched: what it writes, all of it, at once, and never as markup."""

import os
import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import ADMIN, WAIT_MS, PageOf
from tests.commands import python_argv
from tests.servers import Server, alive_with, free_port, running, wait_until

HEAD_BYTES = 1000
TAIL_BYTES = 4_000_000
SETTINGS = {
    "EXEC_ALLOW_SHELL": "1",
    "EXEC_OUTPUT_HEAD_BYTES": str(HEAD_BYTES),
    "EXEC_OUTPUT_TAIL_BYTES": str(TAIL_BYTES),
    "NOTIFY_URL_PREFIXES": "http://127.0.0.1:1/",  # where nobody is
}

# What the page knows of its first output; lines that are not in the document too.
_TEXT = """async () => {
    const script = document.querySelector("script[src$='/run.js']").src;
    return (await import(script)).outputs[0].terminal.text;
}"""

# Gives pieces to a screen, and returns its lines with the styles of their parts.
_LINES = """async ([pieces, url]) => {
    const { Screen } = await import(url);
    const screen = new Screen();
    for (const piece of pieces) screen.write(piece);
    screen.finish();
    const styles = ({ runs }) => runs.map(({ at, style }) => [at, style]);
    return screen.lines.map((line) => [line.text, styles(line)]);
}"""

# 100,000 lines, of which some are coloured, and two that are very long.
_FLOOD = """
import sys, time
out, began = sys.stdout.buffer, time.monotonic()
for n in range(100_000):
    out.write(b"%06d \\x1b[32mok\\x1b[0m \\xe4\\xb8\\xad\\n" % n)
    if n == 50_000:
        out.write(b"x" * 1_000_000 + b"\\n")
    if n % 500 == 0:
        out.flush()
        time.sleep(max(0, began + n / 30_000 - time.monotonic()))
print("the end")
"""


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return SETTINGS


def start(server: Server, **wish: Any) -> str:
    """Start a command; return its task's id."""
    made = server.post("/v3/exec/", json=wish, auth=ADMIN)
    assert made.status_code == 201, made.text
    return str(made.json()["task_id"])


def hold(server: Server, gate: Path, before: str, after: str = "") -> str:
    """Start a command that waits for the gate between two things that it does."""
    waits = f"while [ ! -e {shlex.quote(str(gate))} ]; do sleep 0.02; done"
    return start(server, cmd=f"{before}\n{waits}\n{after}")


def opened(page: Page, task_id: str) -> Locator:
    """Open the page of a task; return where its output is shown."""
    page.goto(f"/ui/tasks/{task_id}")
    return page.get_by_role("log")


def badge(page: Page) -> Locator:
    return page.locator("[data-part=state]")


def raw(server: Server, task_id: str) -> str:
    """Return an output as the API has it."""
    path, text = f"/v3/task/{task_id}/output?limit=1048576", {"Accept": "text/plain"}
    return server.get(path, auth=ADMIN, headers=text).text


def test_lines_are_seen_as_they_are_written(
    service: Server, page: Page, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    task_id = hold(service, gate, "echo first; printf sec", "echo ond; exit 3")
    output = opened(page, task_id)
    expect(output).to_contain_text("first")
    expect(output.locator(".line").nth(1)).to_have_text("sec")
    expect(badge(page)).to_have_text("Running")
    gate.touch()
    expect(output.locator(".line").nth(1)).to_have_text("second")
    expect(badge(page)).to_have_text("Failed")
    expect(page.locator("[data-fact=exit]")).to_have_text("3")
    expect(page.locator("#said")).to_have_text("Failed")
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()


def test_how_far_its_webhook_is_stands_with_its_facts(
    service: Server, page: Page
) -> None:
    webhook = {"url": "http://127.0.0.1:1/hook?token=secret-word"}
    notify = {"on": ["success"], "webhook": webhook}
    task_id = start(service, cmd="true", notify=notify)

    def attempts() -> int:
        task = service.get(f"/v3/task/{task_id}", auth=ADMIN).json()
        return int(task["notify"]["webhook"]["attempts"])

    wait_until(attempts)
    opened(page, task_id)
    expect(page.locator("[data-fact=webhook]")).to_have_text(
        "http://127.0.0.1:1/hook · to be told"
        " · has not answered: ConnectionRefusedError"
    )
    expect(page.locator("[data-fact=message]")).to_be_hidden()
    assert "secret-word" not in page.content()


def test_whatever_is_written_is_text_and_nothing_of_it_is_done(
    service: Server, page: Page
) -> None:
    marks = "<script>window.done=1</script><img src=x onerror='window.done=1'>"
    script = "import sys; sys.stdout.buffer.write(bytes.fromhex(sys.argv[1]))"
    written = (
        f"{marks}\n".encode()
        + b"a\xffb\n\x1b[31mred\x1b[0m \x1b]0;title\x07end\n"
        + "\u202egnp.exe \x01\x9b\n".encode()
    )
    task_id = start(service, argv=python_argv(script, written.hex()))
    lines = opened(page, task_id).locator(".line")
    expect(lines.nth(0)).to_have_text(marks)
    expect(lines.nth(1)).to_have_text("a\ufffdb")
    expect(lines.nth(2)).to_have_text("red end")
    expect(lines.nth(2).locator(".ansi-1")).to_have_text("red")
    expect(lines.nth(3)).to_have_text("<U+202E>gnp.exe ^A<U+009B>")
    assert page.evaluate("window.done") is None
    assert "title" not in page.title()


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("10%\r20%\r100%\n", ["100%", ""]),
        ("a long line\rshort\x1b[K\n", ["short", ""]),
        ("gone\x1b[2K\rnew", ["new"]),
        ("abc\b\bX", ["aXc"]),
        ("abc\x1b[1GX\x1b[2Cd", ["Xbcd"]),
        ("\x1b]8;;http://a/\x1b\\link\x1b]8;;\x07 \x1b[?25l\x1b(Bx", ["link x"]),
        ("\x1b]never ended\n", ["^[]never ended", ""]),
        ("tab\there\r\n", ["tab\there", ""]),
        ("x" * 2500, ["x" * 2000, "x" * 500]),
    ],
)
def test_sequences_do_what_they_do_in_a_terminal_also_when_torn(
    page: Page, written: str, lines: list[str]
) -> None:
    for pieces in ([written], list(written)):
        assert [text for text, _ in screen(page, pieces)] == lines


@pytest.mark.parametrize(
    ("sequence", "style"),
    [
        ("1;31", {"bold": True, "ink": 1}),
        ("97;44", {"ink": 15, "paper": 4}),
        ("38;5;208", {"ink": [255, 135, 0]}),
        ("38:2::1:2:3", {"ink": [1, 2, 3]}),
        ("48;2;1;2;3;4", {"paper": [1, 2, 3], "underline": True}),
        ("7;0", None),
        ("38;5;999;9", {"strike": True}),
    ],
)
def test_styles_are_read(page: Page, sequence: str, style: dict[str, Any]) -> None:
    [(text, runs)] = screen(page, [f"a\x1b[{sequence}mb"])
    assert text == "ab"
    assert (runs[-1] if runs else [1, None]) == [1, style]


def test_a_part_that_is_overwritten_keeps_the_styles_beside_it(page: Page) -> None:
    [(text, runs)] = screen(page, ["\x1b[31mred\x1b[32mgreen\x1b[m\x1b[2GEE"])
    assert text == "rEEgreen"
    assert runs == [[0, {"ink": 1}], [1, None], [3, {"ink": 2}]]
    [(text, runs)] = screen(page, ["plain\r\x1b[31mPL\x1b[m"])
    assert text == "PLain"
    assert runs == [[0, {"ink": 1}], [2, None]]
    [(text, runs)] = screen(page, ["\x1b[31mred\rRE\rR\x1b[K"])
    assert (text, runs) == ("R", [[0, {"ink": 1}]])


def screen(page: Page, pieces: list[str]) -> list[Any]:
    """Return the lines that pieces make, each with its styles."""
    if page.url == "about:blank":
        page.goto("/ui/tasks/")
    url = page.evaluate("document.querySelector('script[src$=\"/page.js\"]').src")
    lines: list[Any] = page.evaluate(
        _LINES, [pieces, url.replace("page.js", "ansi.js")]
    )
    return lines


def test_what_was_dropped_is_said_where_it_was(service: Server, page: Page) -> None:
    task_id = start(service, cmd="seq -f 'line %090.0f' 50000", wait_seconds=30)
    output = opened(page, task_id)
    expect(badge(page)).to_have_text("Succeeded")
    expect(output).to_contain_text("0050000")
    task = service.get(f"/v3/task/{task_id}", auth=ADMIN).json()
    dropped = f"{task['output']['dropped_bytes']:,}"
    said = f"… {dropped} bytes were dropped here …"
    assert said in page.evaluate(_TEXT)
    output.press("Home")
    expect(output.locator(".notice-line")).to_have_text(said)


def test_of_100000_lines_and_a_very_long_one_few_are_in_the_document(
    service: Server, page: Page
) -> None:
    output = opened(page, start(service, argv=python_argv(_FLOOD)))
    expect(output).to_contain_text("the end")
    expect(badge(page)).to_have_text("Succeeded")
    assert page.evaluate(_TEXT).count(" ok 中\n") == 100_000
    assert output.locator(".line").count() < 200
    assert page.locator("*").count() < 2000


def test_by_keyboard_one_searches_and_comes_back(service: Server, page: Page) -> None:
    task_id = start(service, cmd="seq -f 'Line %g' 1000", wait_seconds=10)
    output = opened(page, task_id)
    expect(output).to_contain_text("Line 1000")
    page.keyboard.press("/")
    field = page.get_by_label("Search the output")
    expect(field).to_be_focused()
    page.keyboard.type("line 77")
    count = page.locator("[data-part=count]")
    expect(count).to_have_text("11 found")
    page.keyboard.press("Shift+Enter")
    expect(output.locator("mark.current")).to_be_in_viewport()
    expect(count).to_have_text("11 of 11")
    page.keyboard.press("Enter")
    expect(count).to_have_text("1 of 11")
    line = output.locator(".line", has=page.locator("mark.current"))
    expect(line).to_have_text("Line 77")
    expect(line).to_be_in_viewport()
    follows = page.get_by_role("button", name="Follow")
    expect(follows).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("Escape")
    expect(output).to_be_focused()
    expect(output.locator("mark")).to_have_count(0)
    page.keyboard.press("f")
    expect(follows).to_have_attribute("aria-pressed", "true")
    expect(output.locator(".line", has_text="Line 1000")).to_be_in_viewport()


def test_who_scrolls_up_stays_there_and_who_pauses_misses_nothing(
    service: Server, page: Page, tmp_path: Path
) -> None:
    gates = [tmp_path / "one", tmp_path / "two"]
    waits = [f"while [ ! -e {gate} ]; do sleep 0.02; done" for gate in gates]
    cmd = f"seq 500; {waits[0]}; seq 501 600; {waits[1]}; seq 601 700"
    output = opened(page, start(service, cmd=cmd))
    follows, pauses = (page.get_by_role("button", name=n) for n in ("Follow", "Pause"))
    last = output.locator(".line").get_by_text(re.compile("^500$"))
    expect(last).to_be_in_viewport()
    output.press("PageUp")
    expect(follows).to_have_attribute("aria-pressed", "false")
    expect(last).not_to_be_in_viewport()
    top = settled(output)
    gates[0].touch()
    wait_until(lambda: page.evaluate(_TEXT).endswith("\n600\n"))
    assert settled(output) == top
    output.press("p")
    expect(pauses).to_have_attribute("aria-pressed", "true")
    gates[1].touch()
    expect(badge(page)).to_have_text("Succeeded")
    assert page.evaluate(_TEXT).endswith("\n600\n")
    output.press("p")
    output.press("End")
    expect(output.locator(".line", has_text="700")).to_be_in_viewport()
    assert page.evaluate(_TEXT) == "".join(f"{n}\n" for n in range(1, 701))


def settled(region: Locator) -> float:
    """Return where it is scrolled to, once it stays there."""
    seen = [-1.0]

    def stays() -> bool:
        seen.append(region.evaluate("region => region.scrollTop"))
        return seen[-1] == seen[-2]

    wait_until(stays)
    return seen[-1]


def test_long_lines_are_wrapped_and_copied_as_they_were(
    service: Server, page_of: PageOf
) -> None:
    page = page_of("admin", viewport={"width": 390, "height": 800})
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    written = " ".join(map(str, range(1000)))
    task_id = start(service, argv=python_argv("print(' '.join(map(str, range(1000))))"))
    output = opened(page, task_id)
    expect(output).to_contain_text("999")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert output.evaluate("r => r.scrollWidth > r.clientWidth")
    output.press("w")
    expect(output.locator(".wrapped").first).to_be_attached()
    assert output.evaluate("r => r.scrollWidth <= r.clientWidth")
    lines = output.locator(".line")
    rows = lines.all_text_contents()
    output.evaluate("r => getSelection().selectAllChildren(r)")
    page.keyboard.press("Control+c")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert len(rows) > 10
    assert copied.strip() in written
    assert "".join(rows).startswith(copied[:100])


def test_a_run_is_cancelled_by_keyboard(service: Server, page: Page) -> None:
    mark = "4711.25"
    output = opened(page, start(service, cmd=f"echo up; sleep {mark}"))
    expect(output).to_contain_text("up")
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    page.get_by_role("button", name="Cancel").press("Enter")
    expect(badge(page)).to_have_text("Cancelled")
    expect(page.locator("[data-part=outcome]")).to_have_text("It was cancelled")
    assert asked == ["End this run, and all that it has started?"]
    assert not alive_with(f"sleep\0{mark}")


def test_standard_error_has_a_tab_of_its_own(service: Server, page: Page) -> None:
    cmd = "echo good; echo bad >&2"
    task_id = start(service, cmd=cmd, stderr="separate", wait_seconds=10)
    page.goto(f"/ui/tasks/{task_id}")
    expect(page.get_by_role("log")).to_have_text("good")
    page.get_by_role("tab", name="stdout").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="stderr")).to_be_focused()
    expect(page.get_by_role("log", name="Output: stderr")).to_have_text("bad")
    expect(page.get_by_role("log", name="Output: stdout")).to_be_hidden()


def test_the_download_has_the_very_bytes(service: Server, page: Page) -> None:
    written = b"\xff\x00<b>\r\n" * 100_000
    script = r"import sys; sys.stdout.buffer.write(b'\xff\0<b>\r\n' * 100_000)"
    task_id = start(service, argv=python_argv(script), wait_seconds=10)
    page.goto(f"/ui/tasks/{task_id}")
    with page.expect_download() as found:
        page.get_by_role("link", name="Download").click()
    assert found.value.path().read_bytes() == written
    assert found.value.suggested_filename == f"exec-{task_id[:8]}.txt"


def test_a_run_of_somebody_else_is_not_there(service: Server, page_of: PageOf) -> None:
    task_id = start(service, cmd="echo secret", wait_seconds=10)
    page = page_of("ann", forgiven=("status of 404",))
    for path in (f"/ui/tasks/{task_id}", f"/ui/tasks/{task_id}/output.txt"):
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 404
        assert "secret" not in page.content()


def test_a_report_shows_its_progress_and_what_it_found(
    service: Server, page: Page
) -> None:
    made = service.post("/v3/iostat/?count=2&wait=1", auth=ADMIN)
    output = opened(page, made.json()["task_id"])
    expect(page.get_by_label("Progress")).to_be_visible()
    expect(output).to_contain_text("Device")
    expect(badge(page)).to_have_text("Succeeded")
    expect(page.locator("[data-part=share]")).to_have_text("2 / 2")
    expect(page.get_by_role("heading", name="The last sample")).to_be_visible()


def test_it_can_be_run_again_with_what_it_was_given(
    service: Server, page: Page
) -> None:
    wish = {"command": "hello", "params": {"name": "<b>Ann</b>"}}
    task_id = start(service, **wish, wait_seconds=10)
    page.goto(f"/ui/tasks/{task_id}")
    facts = page.get_by_role("complementary", name="Facts")
    expect(facts).to_contain_text("<b>Ann</b>")
    page.get_by_role("link", name="Run again").click()
    expect(page).to_have_url(re.compile(rf"/ui/commands/hello\?again={task_id}$"))


def test_where_no_stream_is_to_be_had_the_output_is_read(
    service: Server, page_of: PageOf, tmp_path: Path
) -> None:
    page = page_of("admin", forgiven=("status of 503",))

    def refuse_events(route: Any) -> None:
        if route.request.headers["accept"] == "text/event-stream":
            route.fulfill(status=503)
        else:
            route.continue_()

    page.route("**/output?*", refuse_events)
    gate = tmp_path / "gate"
    output = opened(page, hold(service, gate, "echo first", "echo second"))
    expect(output).to_contain_text("first")
    told = page.locator("[data-part=connection]")
    expect(told).to_have_text("The output is read every few seconds.")
    gate.touch()
    expect(output).to_contain_text("second")
    expect(badge(page)).to_have_text("Succeeded")
    expect(told).to_be_hidden()


@contextmanager
def watching(browser: Browser, server: Server) -> Iterator[Page]:
    """Open a page for the admin of a server of the test's own."""
    context = browser.new_context(base_url=server.url)
    context.set_default_timeout(WAIT_MS)
    form = {"username": ADMIN[0], "password": ADMIN[1]}
    assert context.request.post("/ui/sign-in", form=form, max_redirects=0).status == 303
    yield context.new_page()
    context.close()


def test_after_a_crash_of_the_service_the_page_has_every_byte_once(
    browser: Browser, tmp_path: Path
) -> None:
    given = {"FLASK_ENV": "production", "ADMIN_PASSWORD": ADMIN[1], **SETTINGS}
    given["PORT"] = str(free_port())
    cmd = 'i=0; while :; do i=$((i+1)); echo "$i é"; sleep 0.002; done'
    with ExitStack() as stack:
        with running(tmp_path, "-w", "2", **given) as before:
            page = stack.enter_context(watching(browser, before))
            task_id = start(before, cmd=cmd)
            opened(page, task_id)
            wait_until(lambda: "\n100 é\n" in page.evaluate(_TEXT))
            for pid in before.workers():
                os.kill(pid, signal.SIGKILL)
            before.process.wait()
            told = page.locator("[data-part=connection]")
            expect(told).to_contain_text("The connection is lost.")
        after = stack.enter_context(running(tmp_path, "-w", "2", **given))
        expect(badge(page)).to_have_text("Lost", timeout=WAIT_MS)
        expect(page.locator("[data-part=outcome]")).to_contain_text("is gone")
        expect(told).to_be_hidden()
        written = raw(after, task_id)
        wait_until(lambda: page.evaluate(_TEXT) == written)
        assert written.startswith("1 é\n2 é\n")


def test_a_connection_that_breaks_in_the_middle_is_taken_up_there(
    service: Server, page: Page
) -> None:
    task_id = start(service, cmd="seq 2000", wait_seconds=10)
    event = 'event: output\nid: 5\ndata: {"text": "1\\n2\\n3"}\n\n'
    answer = {"content_type": "text/event-stream", "body": event}
    page.route("**/output?*", lambda route: route.fulfill(**answer), times=1)
    output = opened(page, task_id)
    expect(output).to_contain_text("2000")
    assert page.evaluate(_TEXT) == "".join(f"{n}\n" for n in range(1, 2001))
