"""`flask sms …`: what is set is looked at, vendors are stood in for, and asked."""

import re
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from app.sms.fake.server import FakeServer
from app.sms.fake.vendors import all_vendors
from tests import terminal
from tests.sending import known_to, message, send, sending, states, write_templates
from tests.servers import PROJECT, Server, free_port, running, wait_until
from tests.vendors import FIRST

REPORTING = ("aliyun", "huawei", "tencent", "twilio", "kannel")
EVERYBODY = (*REPORTING, "sns")


def flask(folder: Path, *arguments: str, **env: str) -> terminal.Ran:
    return terminal.do(terminal.environment(folder) | env, "sms", *arguments)


def told(ran: terminal.Ran, *, code: int = 0) -> list[str]:
    """Return what a command has told, beside the log."""
    assert ran.returncode == code, ran.stderr
    errors = [line for line in ran.stderr.splitlines() if not line.startswith("{")]
    return [*ran.stdout.splitlines(), *errors]


class TestDoctor:
    def test_it_tells_what_can_be_sent_and_sends_nothing(self, tmp_path: Path) -> None:
        with FakeServer(all_vendors()) as fake:
            known = known_to(fake) | {"SMS_TEMPLATES": write_templates(tmp_path)}
            lines = told(
                flask(
                    tmp_path,
                    "doctor",
                    SMS_PROVIDER="aliyun,sns",
                    PUBLIC_URL="https://sms.example/",
                    SMS_RECEIPTS_SECRET="s3cret",
                    **known,
                )
            )
            assert fake.asked() == []
        assert lines == [
            "ok    template captcha: is sent by aliyun, sns",
            "ok    aliyun: reports deliveries to "
            "https://sms.example/api/sms/receipts/aliyun/s3cret",
            "ok    sns: sends no delivery receipts",
        ]

    def test_what_keeps_messages_from_being_sent_is_a_fault(
        self, tmp_path: Path
    ) -> None:
        templates = tmp_path / "templates.toml"
        templates.write_text("[templates.captcha]\ntext = 3\n")
        ran = flask(tmp_path, "doctor", SMS_TEMPLATES=str(templates))
        provider, fault = told(ran, code=1)
        assert provider == "FAULT SMS_PROVIDER: is not set: nothing can be sent"
        assert fault.startswith("FAULT SMS_TEMPLATES: templates.captcha.text 3 ")


@contextmanager
def faking(
    folder: Path, ends_by: signal.Signals, **env: str
) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Run the stand-in; give the settings that it prints, and what it prints later."""
    with subprocess.Popen(
        terminal.command("sms", "fake", "--port", "0"),
        cwd=PROJECT,
        env=terminal.environment(folder) | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            settings = takewhile(lambda line: not line.startswith("#"), lines)
            later: list[str] = []
            yield dict(line.rstrip("\n").split("=", 1) for line in settings), later
            process.send_signal(ends_by)
            later += process.communicate(timeout=terminal.SECONDS)[0].splitlines()
            assert process.returncode == 0
        finally:
            process.kill()


class TestFake:
    def test_a_server_sends_by_what_it_prints_and_is_reported_to(
        self, tmp_path: Path
    ) -> None:
        port = str(free_port())
        public = {"PUBLIC_URL": f"http://127.0.0.1:{port}"}
        order = {"SMS_PROVIDER": ",".join(EVERYBODY), "PORT": port}
        with faking(tmp_path, signal.SIGTERM, **public) as (printed, later):
            templates = {"SMS_TEMPLATES": write_templates(tmp_path)}
            known = public | order | printed | templates
            with running(tmp_path, WORKERS="1", **known) as server:
                ids = {name: sent_by(server, name) for name in EVERYBODY}
                found = [ids[name] for name in REPORTING]
                wait_until(lambda: told_of(server, found) == {"delivered"})
                assert told_of(server, [ids["sns"]]) == {"sent"}
        assert [line.partition(":")[0] for line in later] == [
            f"{name} to {FIRST}" for name in EVERYBODY
        ]

    def test_a_port_that_is_taken_is_told_in_one_line(self, tmp_path: Path) -> None:
        with faking(tmp_path, signal.SIGINT) as (printed, later):
            port = printed["TWILIO_URL"].rpartition(":")[2]
            [line] = told(flask(tmp_path, "fake", "--port", port), code=1)
            assert line == (
                f"Error: Nothing can listen on port {port}: Address already in use."
            )
        assert later == []


class TestStatus:
    def test_what_is_not_known_is_asked_of_those_who_can_be(
        self, tmp_path: Path
    ) -> None:
        with FakeServer(all_vendors()) as fake:
            for name in ("aliyun", "tencent"):
                fake.script(name, "error")
            order = {"SMS_PROVIDER": "aliyun,tencent,twilio,kannel"}
            with sending(tmp_path, fake, WORKERS="1", **order) as server:
                ids = {
                    "aliyun": sent_by(server, "aliyun", status=202),
                    "tencent": sent_by(server, "tencent", status=202),
                    "twilio": sent_by(server, "twilio"),
                    "kannel": sent_by(server, "kannel"),
                }
                assert told_of(server, [ids["aliyun"], ids["tencent"]]) == {"unknown"}
                known = known_to(fake) | order
                for name in ("aliyun", "tencent", "twilio"):
                    asked = told(flask(tmp_path, "status", ids[name], **known))
                    assert re.match(r"\+8613\*{4}0000 delivered\b", asked.pop())
                    assert (name, asked) == (name, [])
                nobody, shown = told(flask(tmp_path, "status", ids["kannel"], **known))
                assert nobody.startswith("Nobody was asked")
                assert shown == "+8613****0000 sent"
                settled = [ids[name] for name in ("aliyun", "tencent", "twilio")]
                assert told_of(server, settled) == {"delivered"}

    def test_what_is_not_there_is_told_in_one_line(self, tmp_path: Path) -> None:
        [line] = told(flask(tmp_path, "status", "x"), code=1)
        assert line == "Error: There is no message of that id."


def sent_by(server: Server, name: str, *, status: int = 200) -> str:
    """Send by one provider; return the message's id."""
    answer = send(server, FIRST, provider=name)
    assert answer.status_code == status, answer.text
    return str(answer.json()["id"])


def told_of(server: Server, ids: Iterable[str]) -> set[str]:
    return {state for each in ids for state in states(message(server, each))}
