"""One chain for every log line: structlog's and the stdlib's, to JSON lines.

Gunicorn, werkzeug and any other library that logs through the stdlib leave by
the same formatter as our own lines. What is logged of a request stands in
:mod:`app.api.request_log`.
"""

import json
import logging
import re
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import structlog

from config.settings import SettingsError

if TYPE_CHECKING:
    from flask import Flask

_HANDLER_NAME = "bellhop"
# What follows the caller in a signed uuid: a time and a signature, which is as good
# as a password while it is fresh.
_SIGNATURE = re.compile(r"\.[0-9]+\.[0-9A-Fa-f]{16,}")
# In a path also a signature whose sender has lost the time before it.
_IN_PATH = re.compile(r"(?:\.[0-9]+\.)?[0-9A-Fa-f]{60,}")
# Where vendors send receipts: who knows the last part may send some as well.
# It may also stand in the place of another part.
_RECEIPTS_SECRET = re.compile(
    r"(/sms/receipts/+(?:[a-z]+/+)?).+", re.IGNORECASE | re.DOTALL
)
# A phone number, as callers and vendors write it: plain, or in a URL.
_NUMBER = re.compile(r"((?:\+|%2[Bb])[0-9]{2,4})[0-9]{2,9}([0-9]{4})(?![0-9])")
# What may be one without a plus, in the words of a library.
_DIGITS = re.compile(r"(?<![\w.-])([0-9]{3})[0-9]{3,8}([0-9]{4})(?![\w-]|\.\w)")
_QUERY = re.compile(r"\?[^\s\"'<>]+")
# The loggers of servers, and how they quote what they could not read.
_SERVERS = ("gunicorn.error", "werkzeug", "gevent")
_QUOTED = re.compile(r"(['\"]).*\1", re.DOTALL)

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
]
_ENCODER = json.JSONEncoder(ensure_ascii=True, default=repr)
_LEVELS = logging.getLevelNamesMapping()


class JsonLogger:
    """A Flask extension that sets up the log as an app's settings say."""

    def __init__(self, app: "Flask | None" = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: "Flask") -> None:
        """Apply LOG_LEVEL and LOG_FILE of `app`; raise SettingsError if faulty."""
        config_logger(**log_settings(app.config))
        app.extensions["json_logger"] = self


def log_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `settings` say of the log, as config_logger takes it."""
    return {
        "level": settings["LOG_LEVEL"],
        "file": settings["LOG_FILE"],
        "file_bytes": settings["LOG_FILE_BYTES"],
        "file_count": settings["LOG_FILE_COUNT"],
    }


def config_logger(
    *,
    level: str = "INFO",
    file: str | None = None,
    file_bytes: int = 10_000_000,
    file_count: int = 5,
    stream: TextIO | None = None,
) -> None:
    """Send every line of this process through one chain to `file` or to `stream`.

    Without either it goes to stdout. It may be called again; the last call holds.
    Raises SettingsError where `file` cannot be written.
    """
    structlog.configure(
        processors=[*_SHARED, _with_level],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelName(level)
        ),
        logger_factory=cache(_OurLogger),
        cache_logger_on_first_use=False,
    )
    handler = _handler(file, file_bytes, file_count, stream or sys.stdout)
    handler.name = _HANDLER_NAME
    handler.setFormatter(_formatter())
    # Here too: a logger with a level of its own passes the root's level by.
    handler.setLevel(level)
    root = logging.getLogger()
    for old in [h for h in root.handlers if h.name == _HANDLER_NAME]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level)
    threading.excepthook = _log_thread_exception


class _OurLine(logging.LogRecord):
    """A line that structlog has made; its message is the line's members."""


class _OurLogger:
    """Gives structlog's lines to the stdlib's handlers.

    The stdlib's own methods would look in the stack for who calls, which no line shows:
    that takes as long as all else.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._stdlib = logging.getLogger(name)

    def give(self, level: int, line: Any) -> None:
        """Give a line to all handlers that are to have it."""
        if self._stdlib.isEnabledFor(level):
            self._stdlib.handle(_OurLine(self.name, level, "", 0, line, None, None))

    debug = info = warning = error = critical = give


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Makes JSON of our lines, and through a chain of processors of all others."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a line as it is written."""
        if isinstance(record, _OurLine):
            return _dump(record.msg)
        return super().format(record)


def _formatter() -> logging.Formatter:
    return _Formatter(
        foreign_pre_chain=[*_SHARED, _cut_quoted, _cut_queries],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            lambda _logger, _method, line: _dump(line),
        ],
    )


def _with_level(_logger: Any, _method: str, line: Any) -> Any:
    """Return what a method of _OurLogger is called with."""
    return (_LEVELS[line["level"].upper()], line), {}


def _cut_quoted(_logger: Any, _method: str, line: Any) -> Any:
    """Cut what a server quotes of a faulty request: its credentials may be there."""
    if line["logger"] in _SERVERS and line["level"] in ("warning", "error"):
        line["event"] = _QUOTED.sub("…", str(line["event"]))
    return line


def _cut_queries(_logger: Any, _method: str, line: Any) -> Any:
    """Cut what a library shows of URLs: vendors have numbers, texts and keys there."""
    for name in ("event", "exception"):
        if name in line:
            line[name] = _DIGITS.sub(r"\1****\2", _QUERY.sub("?…", str(line[name])))
    return line


def _dump(line: Any) -> str:
    """Return a line as JSON without signatures and without whole phone numbers.

    It is ASCII only: C1 controls, line separators and marks of direction in what a
    caller sent can then neither forge a line nor reach a terminal.
    """
    if isinstance(path := line.get("path"), str):
        path = _RECEIPTS_SECRET.sub(r"\1***", path)
        line = line | {"path": _IN_PATH.sub("", path)}
    return _NUMBER.sub(r"\1****\2", _SIGNATURE.sub("", _ENCODER.encode(line)))


def _handler(
    file: str | None, file_bytes: int, file_count: int, stream: TextIO
) -> logging.Handler:
    if file is None:
        return logging.StreamHandler(stream)
    # The stdlib's handler loses lines when several workers rotate one file.
    from config.log_file import LogFile  # noqa: PLC0415 - only where it is used

    try:
        Path(file).open("a", encoding="utf-8").close()
    except OSError as error:
        raise SettingsError(
            [f"LOG_FILE={file!r} cannot be written: {error}"]
        ) from error
    return LogFile(file, maxBytes=file_bytes, backupCount=file_count, encoding="utf-8")


def _log_thread_exception(args: threading.ExceptHookArgs) -> None:
    """Log what ended a thread, where the stdlib would print a bare trace."""
    if args.exc_type is SystemExit:  # sys.exit() in a thread ends it, no more
        return
    name = args.thread.name if args.thread else "unknown"
    structlog.get_logger("bellhop").error(
        "thread.failed", thread=name, exc_info=args.exc_value
    )
