"""The log: one JSON line for everything, whoever logs it and whatever is in it."""

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from flask import Flask

from config.config import read_config
from config.logger import JsonLogger, config_logger
from config.settings import SettingsError
from tests.racing import race_processes

Lines = Callable[[], list[dict[str, Any]]]

pytestmark = pytest.mark.usefixtures("logging_put_back")

# Newlines of every kind, an escape sequence, C1, marks of direction, NUL.
HOSTILE = "a\nb\r\nc\u2028d\u2029e\x1b[31mf\x9b2Jg\x85h\x0b\x0ci\u202ej\0k\x1c"

ROTATE = """
import logging, sys
import structlog
from config.logger import config_logger
config_logger(file=sys.argv[1], file_bytes=20_000, file_count=1000)
"""

WRITE = """
log = structlog.get_logger("racer")
for number in range(250):
    if number % 2:
        log.info("line.written", racer=sys.argv[2], number=number, pad="x" * 100)
    else:
        logging.getLogger("racer").info("%s %s %s", sys.argv[2], number, "y" * 100)
"""

FORK = """
import os, sys
import structlog
from config.logger import config_logger
config_logger(file=sys.argv[1], file_bytes=20_000, file_count=1000)
log = structlog.get_logger("racer")
log.info("line.written", racer="master", number=0)
children = []
for racer in range(4):
    child = os.fork()
    if child == 0:
        for number in range(250):
            log.info("line.written", racer=str(racer), number=number, pad="x" * 100)
        os._exit(0)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
sys.exit(max(codes))
"""


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """Return what gives the lines on stdout so far, each parsed."""

    def read() -> list[dict[str, Any]]:
        captured = capsys.readouterr()
        assert captured.err == ""
        assert captured.out == "" or captured.out.endswith("\n")
        return [json.loads(line) for line in captured.out.splitlines()]

    return read


def kept_lines(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a log file and of all that it was rotated into."""
    found = []
    for path in file.parent.glob(f"{file.name}*"):
        text = path.read_text(encoding="utf-8")
        assert text == "" or text.endswith("\n"), "no line is torn"
        found += [json.loads(line) for line in text.splitlines()]
    return found


def test_a_line_of_ours_is_json_with_its_facts(lines: Lines) -> None:
    config_logger()
    structlog.get_logger("bellhop.test").warning("thing.happened", count=3, ok=None)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "bellhop.test",
        "event": "thing.happened",
        "count": 3,
        "ok": None,
    }


def test_a_line_of_any_library_is_json_too(lines: Lines) -> None:
    config_logger()
    logging.getLogger("gunicorn.error").info("Listening at: %s (%d)", "here", 7)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "gunicorn.error",
        "event": "Listening at: here (7)",
    }


@pytest.mark.parametrize("logger", [structlog.get_logger, logging.getLogger])
def test_an_exception_is_in_the_line(logger: Callable[..., Any], lines: Lines) -> None:
    config_logger()
    try:
        int("of the caller\nsecond line")
    except ValueError:
        logger("bellhop.test").exception("thing.failed")
    (line,) = lines()
    assert (line["level"], line["event"]) == ("error", "thing.failed")
    assert "Traceback (most recent call last)" in line["exception"]
    assert "ValueError: invalid literal" in line["exception"]
    assert "exc_info" not in line


def test_the_request_id_is_in_the_lines_of_all_loggers(lines: Lines) -> None:
    config_logger()
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger("bellhop.test").info("thing.happened")
        logging.getLogger("sqlalchemy.pool").warning("a library's")
    logging.getLogger("sqlalchemy.pool").warning("later")
    assert [line.get("request_id") for line in lines()] == ["r-1", "r-1", None]


def test_nothing_in_a_value_can_make_a_second_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config_logger()
    log, plain = structlog.get_logger(HOSTILE), logging.getLogger(HOSTILE)
    log.info(HOSTILE, value=HOSTILE, nested={HOSTILE: [HOSTILE]}, other=Path(HOSTILE))
    plain.info("%s", HOSTILE)
    plain.error(HOSTILE, exc_info=ValueError(HOSTILE))
    with structlog.contextvars.bound_contextvars(request_id=HOSTILE):
        plain.info("bound")

    out = capsys.readouterr().out

    written = out.splitlines()
    assert len(written) == 4
    assert all(line.isascii() and line.isprintable() for line in written)
    first, second, third, fourth = map(json.loads, written)
    assert first["event"] == first["value"] == first["logger"] == HOSTILE
    assert first["nested"] == {HOSTILE: [HOSTILE]}
    assert second["event"] == third["event"] == fourth["request_id"] == HOSTILE
    assert HOSTILE in third["exception"]


def test_a_value_that_json_does_not_know_is_shown(lines: Lines) -> None:
    config_logger()
    structlog.get_logger("x").info("e", path=Path("/a"), raw=b"\xff", lone="\udc80")
    (line,) = lines()
    assert line["path"] == "PosixPath('/a')"
    assert line["raw"] == repr(b"\xff")
    assert line["lone"] == "\udc80"


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("DEBUG", ["debug", "info", "warning", "error", "critical"]),
        ("WARNING", ["warning", "error", "critical"]),
        ("CRITICAL", ["critical"]),
    ],
)
@pytest.mark.parametrize("logger", [structlog.get_logger, logging.getLogger])
def test_only_the_level_and_above_is_logged(
    logger: Callable[..., Any], level: str, expected: list[str], lines: Lines
) -> None:
    config_logger(level=level)
    log = logger("bellhop.test")
    for name in ("debug", "info", "warning", "error", "critical"):
        getattr(log, name)("thing.happened")
    assert [line["level"] for line in lines()] == expected


def test_a_logger_with_a_level_of_its_own_does_not_pass_the_level_by(
    lines: Lines,
) -> None:
    """Gunicorn sets such a level."""
    config_logger(level="ERROR")
    library = logging.getLogger("a library with a level of its own")
    library.setLevel("INFO")
    library.info("chatter")
    library.error("trouble")
    assert [line["event"] for line in lines()] == ["trouble"]


def test_to_set_it_up_twice_does_not_double_lines_and_the_last_call_holds(
    lines: Lines,
) -> None:
    config_logger(level="DEBUG")
    config_logger()
    config_logger(level="WARNING")
    for log in (structlog.get_logger("ours"), logging.getLogger("theirs")):
        log.info("quiet")
        log.warning("loud")
    assert [line["event"] for line in lines()] == ["loud", "loud"]


def test_handlers_of_others_stay_where_they_are(lines: Lines) -> None:
    others = logging.NullHandler()
    logging.getLogger().addHandler(others)
    config_logger()
    config_logger()
    assert others in logging.getLogger().handlers
    logging.getLogger().removeHandler(others)


def test_a_threads_end_by_an_error_is_a_line(lines: Lines) -> None:
    config_logger()

    def fail() -> None:
        raise ValueError("of the thread")

    thread = threading.Thread(target=fail, name="counter")
    thread.start()
    thread.join()

    (line,) = lines()
    assert (line["level"], line["event"]) == ("error", "thread.failed")
    assert line["thread"] == "counter"
    assert "ValueError: of the thread" in line["exception"]


def test_a_thread_that_exits_has_not_failed(lines: Lines) -> None:
    config_logger()
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join()
    assert lines() == []


def test_a_log_file_gets_the_lines_and_stdout_none(
    tmp_path: Path, lines: Lines
) -> None:
    file = tmp_path / "bellhop.log"
    config_logger(file=str(file))
    structlog.get_logger("ours").info("thing.happened", word="中文")
    logging.getLogger("theirs").info("a library's")
    assert [line["event"] for line in kept_lines(file)] == [
        "thing.happened",
        "a library's",
    ]
    assert lines() == []


def test_a_log_file_is_added_to(tmp_path: Path) -> None:
    file = tmp_path / "bellhop.log"
    file.write_text('{"event": "of before"}\n')
    config_logger(file=str(file))
    structlog.get_logger("ours").info("of now")
    assert [line["event"] for line in kept_lines(file)] == ["of before", "of now"]


@pytest.mark.parametrize("how", [Path.unlink, lambda p: p.rename(p.parent / "moved")])
def test_a_log_file_that_others_took_away_is_made_anew(
    tmp_path: Path, how: Callable[[Path], Any]
) -> None:
    file = tmp_path / "bellhop.log"
    config_logger(file=str(file))
    log = structlog.get_logger("ours")
    log.info("of before")
    log.info("of before")
    how(file)
    log.info("of now")
    log.info("of later")
    assert [line["event"] for line in kept_lines(file)] == ["of now", "of later"]


def test_a_log_file_rotates_and_the_oldest_goes(tmp_path: Path) -> None:
    file = tmp_path / "bellhop.log"
    config_logger(file=str(file), file_bytes=2000, file_count=2)
    log = structlog.get_logger("ours")
    for number in range(100):
        log.info("thing.happened", number=number)
    files = sorted(path.name for path in tmp_path.glob("bellhop.log*"))
    assert files == ["bellhop.log", "bellhop.log.1", "bellhop.log.2"]
    sizes = [(tmp_path / name).stat().st_size for name in files]
    assert max(sizes) < 2000 + 200, "a line more at most"
    numbers = sorted(line["number"] for line in kept_lines(file))
    assert 10 < len(numbers) < 100
    assert numbers == list(range(100 - len(numbers), 100)), "the newest are kept"


def test_processes_that_write_one_file_at_once_lose_and_tear_no_line(
    tmp_path: Path,
) -> None:
    file = tmp_path / "bellhop.log"
    race_processes(4, ROTATE, WRITE, str(file))
    written = kept_lines(file)
    assert len(written) == 1000
    ours = {
        (line["racer"], line["number"])
        for line in written
        if line["event"] == "line.written"
    }
    assert ours == {(str(r), n) for r in range(4) for n in range(1, 250, 2)}
    theirs = {line["event"][:-101] for line in written} - {"line.written"[:-101]}
    assert theirs == {f"{r} {n}" for r in range(4) for n in range(0, 250, 2)}
    assert len(list(tmp_path.glob("bellhop.log.*"))) > 5, "it was rotated meanwhile"


def test_workers_forked_with_the_file_open_lose_and_tear_no_line(
    tmp_path: Path,
) -> None:
    file = tmp_path / "bellhop.log"
    subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK, str(file)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": "."},
        check=True,
        timeout=60,
    )
    written = [(line["racer"], line["number"]) for line in kept_lines(file)]
    assert len(written) == 1001
    assert set(written) == {("master", 0)} | {
        (str(racer), number) for racer in range(4) for number in range(250)
    }


@pytest.mark.parametrize("place", ["missing/bellhop.log", ".", "file/bellhop.log"])
def test_a_log_file_that_cannot_be_written_is_a_faulty_setting(
    tmp_path: Path, place: str, lines: Lines
) -> None:
    (tmp_path / "file").write_text("")
    config_logger()
    file = str(tmp_path / place)
    with pytest.raises(SettingsError) as raised:
        config_logger(file=file)
    (fault,) = raised.value.faults
    assert fault.startswith(f"LOG_FILE={file!r} cannot be written")
    structlog.get_logger("ours").info("still logged")
    assert [line["event"] for line in lines()] == ["still logged"]


def test_an_app_is_logged_as_its_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    file = tmp_path / "bellhop.log"
    monkeypatch.setenv("LOG_LEVEL", "warning")
    monkeypatch.setenv("LOG_FILE", str(file))
    app = Flask("an app")
    app.config.from_object(read_config("testing"))
    extension = JsonLogger(app)
    assert app.extensions["json_logger"] is extension
    app.logger.info("quiet")
    app.logger.warning("loud")
    assert [line["event"] for line in kept_lines(file)] == ["loud"]
    assert lines() == []


class TestNumbers:
    """Whoever logs them, whole phone numbers are in no line."""

    @pytest.mark.parametrize(
        ("written", "shown"),
        [
            ("+8613800000000", "+8613****0000"),
            ("to +8613800000000, now", "to +8613****0000, now"),
            ("%2B8613800000000", "%2B8613****0000"),
            ("%2b8613800000000&x", "%2b8613****0000&x"),
            ("+14155550100", "+1415****0100"),
            ("+8613800000000,+8613900000000", "+8613****0000,+8613****0000"),
            ("+6834000", "+6834000"),  # of Niue: seven digits are hardly a secret
        ],
    )
    def test_are_masked_with_a_plus_in_every_place(
        self, lines: Lines, written: str, shown: str
    ) -> None:
        config_logger()
        log = structlog.get_logger("ours")
        log.info(written, path=written, nested={written: [written]})
        with structlog.contextvars.bound_contextvars(request_id=written):
            logging.getLogger("a library").info("x %s", written)
        first, second = lines()
        assert first["event"] == first["path"] == second["request_id"] == shown
        assert first["nested"] == {shown: [shown]}
        assert not re.search("[0-9]{8}", second["event"])

    @pytest.mark.parametrize(
        ("written", "shown"),
        [
            ("cannot send to 13800000000.", "cannot send to 138****0000."),
            ("to=8613800000000, x", "to=861****0000, x"),
            ("(13800000000)", "(138****0000)"),
            ("took 1700000000.123456 s", "took 1700000000.123456 s"),
            ("version 1.20240101", "version 1.20240101"),
            ("pid 4711", "pid 4711"),
            ("id 3a1b13800000000", "id 3a1b13800000000"),
        ],
    )
    def test_are_masked_without_one_in_the_words_of_a_library(
        self, lines: Lines, written: str, shown: str
    ) -> None:
        config_logger()
        logging.getLogger("a library").warning(written)
        structlog.get_logger("ours").info(written)
        first, second = lines()
        assert first["event"] == shown
        assert second["event"] == written, "we write none"


def test_what_a_library_shows_of_a_url_ends_before_its_query(lines: Lines) -> None:
    config_logger()
    library = logging.getLogger("a library")
    url = "/sendsms?to=%2B8613800000000&text=Your+code+is+736251&password=hunter2"
    library.warning("Retrying after %r: %s", "x", url)
    library.warning('"GET %s HTTP/1.1" 202', url)
    fault = OSError(f"cannot reach <http://kannel{url}>")
    library.error("Failed", exc_info=fault)
    structlog.get_logger("ours").info("shown", word="who?me")
    written = lines()
    shown = json.dumps(written)
    assert not [w for w in ("736251", "hunter2", "8613800000000") if w in shown]
    assert written[1]["event"] == '"GET /sendsms?… HTTP/1.1" 202'
    assert written[2]["exception"].endswith("cannot reach <http://kannel/sendsms?…>")
    assert written[3]["word"] == "who?me"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/api/sms/receipts/aliyun/s3cret", "/api/sms/receipts/aliyun/***"),
        ("/api/sms/receipts/aliyun/more/s3cret", "/api/sms/receipts/aliyun/***"),
        ("/api/sms/receipts/s3cret", "/api/sms/receipts/***"),
        ("/api/SMS/receipts/kan%2Fnel/s3cret", "/api/SMS/receipts/***"),
        ("//api/sms/receipts//aliyun//s3cret", "//api/sms/receipts//aliyun//***"),
        ("/api/sms/receipts/aliyun", "/api/sms/receipts/***"),
        ("/api/sms/m-1", "/api/sms/m-1"),
    ],
)
def test_whoever_knows_where_receipts_go_does_not_know_it_from_the_log(
    lines: Lines, path: str, shown: str
) -> None:
    config_logger()
    structlog.get_logger("ours").info("request.finished", path=path)
    [line] = lines()
    assert line["path"] == shown
