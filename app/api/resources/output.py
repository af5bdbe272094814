"""What a task has written: read by offset, waited for, followed."""

import errno
import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, ClassVar

import structlog
from flask import Response, request, stream_with_context

from app.api.guard import authenticate, caller
from app.api.operation import Answer, Operation
from app.api.rendering import (
    EVENTS,
    JSON,
    TEXT,
    prefers_events,
    prefers_text,
    render_head,
    render_json,
)
from app.api.resource import BaseResource, services
from app.api.schemas.answer import STRING, a
from app.api.schemas.task import OUTPUT_LIMIT_BYTES, OUTPUT_QUERY
from app.api.task_view import show
from app.auth.permissions import Identity
from app.errors import (
    BellhopError,
    Fault,
    InvalidInput,
    PasswordChecksExceeded,
    ShuttingDown,
    TaskNotFound,
    TooManyAttempts,
    WaitersExceeded,
)
from app.tasks.follow import Viewing
from app.tasks.lookup import OutputPart
from app.tasks.output import STDOUT
from app.tasks.record import TaskRecord

# How often one who follows is looked at, whether there still is somebody who may.
TICK_SECONDS = 1.0
# Ticks without output between signs of life, for proxies that would hang up.
HEARTBEAT_TICKS = 15

# Where to read on after what came as text, and what of it is no longer kept.
NEXT_OFFSET = "X-Next-Offset"
DROPPED_BYTES = "X-Dropped-Bytes"

# A proxy is to pass on at once what comes.
_LIVE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

# Line ends to Unicode, and so to clients that split events by its rules.
_LINE_ENDS = str.maketrans({c: f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"})

log = structlog.get_logger(__name__)


class TaskOutput(BaseResource):
    """What the task has written, by byte offset; reading does not consume."""

    operations: ClassVar = {
        "get": Operation(
            "What the task has written, from a byte on",
            {
                200: Answer(
                    "A part of it; as text the very bytes, as events as they come",
                    {JSON: a("Output"), TEXT: STRING, EVENTS: STRING},
                    (NEXT_OFFSET, DROPPED_BYTES),
                )
            },
            query=OUTPUT_QUERY,
            problems=(TaskNotFound, WaitersExceeded, ShuttingDown),
            headers=("Last-Event-ID",),
        )
    }

    def get(self, task_id: str, query: dict[str, Any]) -> Response:
        """Return a part of it, or all of it as it comes."""
        task = self._task(task_id)
        stream, offset = query.get("stream", STDOUT), query.get("offset", 0)
        if prefers_events():
            return _events(task, stream, _resumed(offset))
        if query.get("follow"):
            return _followed(task, stream, offset)
        return _part(task, stream, offset, query)

    def head(self, task_id: str, query: dict[str, Any]) -> Response:
        """Wait for nothing, and follow nothing."""
        task = self._task(task_id)
        stream, offset = query.get("stream", STDOUT), query.get("offset", 0)
        if prefers_events():
            _check(task, stream, _resumed(offset))
            return render_head(mimetype=EVENTS)
        if query.get("follow"):
            _check(task, stream, offset)
            return render_head(mimetype=TEXT)
        return _part(task, stream, offset, {**query, "wait_seconds": 0})

    def _task(self, task_id: str) -> TaskRecord:
        return services().lookup.get(task_id, services().viewer(caller()))


def _check(task: TaskRecord, stream: str, offset: int) -> None:
    """Raise InvalidInput for an offset beyond the end, before an answer is begun."""
    services().lookup.read(
        task, stream=stream, offset=offset, limit=1, whole_characters=False
    )


def _part(
    task: TaskRecord, stream: str, offset: int, query: dict[str, Any]
) -> Response:
    raw = prefers_text()
    wait_seconds = query.get("wait_seconds", 0)
    with ExitStack() as held:
        if wait_seconds:
            held.enter_context(services().waiting())
        try:
            task, part = services().follower.read(
                task,
                _viewing(),
                stream=stream,
                offset=offset,
                limit=query.get("limit", OUTPUT_LIMIT_BYTES),
                whole_characters=not raw,
                wait_seconds=wait_seconds,
            )
        except TaskNotFound:
            if caller() is not None:
                authenticate()  # or who was removed meanwhile is told so
            raise
    if raw:
        headers = {
            NEXT_OFFSET: str(part.next_offset),
            DROPPED_BYTES: str(part.dropped_bytes),
        }
        return Response(part.data, 200, headers, mimetype=TEXT)
    return render_json(
        {
            "task_id": task.task_id,
            "stream": stream,
            "offset": part.offset,
            "next_offset": part.next_offset,
            "dropped_bytes": part.dropped_bytes,
            "text": part.data.decode(errors="replace"),
            "eof": part.eof,
            "state": task.state,
        }
    )


def _followed(task: TaskRecord, stream: str, offset: int) -> Response:
    """Return the very bytes as they come."""
    _check(task, stream, offset)

    def pieces() -> Iterator[bytes]:
        yield b""  # the head is sent, so that the client knows that it is followed
        for part in _parts(task, _viewing(), stream, offset, whole_characters=False):
            yield part.data if part is not None else b""

    return _streamed(pieces(), TEXT)


def _events(task: TaskRecord, stream: str, offset: int) -> Response:
    """Return the text as events whose ids are offsets, and the task in the end."""
    _check(task, stream, offset)

    def pieces() -> Iterator[bytes]:
        yield b"retry: 1000\n\n"
        ticks, viewer = 0, _viewing()
        try:
            for part in _parts(task, viewer, stream, offset, whole_characters=True):
                ticks = ticks + 1 if part is None else 0
                if part is not None:
                    yield _event(part)
                elif ticks % HEARTBEAT_TICKS == 0:
                    yield b": still there\n\n"
        except ShuttingDown:
            return  # the client asks again, and another worker goes on
        ended = show(services().lookup.get(task.task_id, viewer()))
        yield b"event: end\n" + _data(ended)

    return _streamed(pieces(), EVENTS)


def _event(part: OutputPart) -> bytes:
    data: dict[str, Any] = {"text": part.data.decode(errors="replace")}
    if part.dropped_bytes:
        data["dropped_bytes"] = part.dropped_bytes
    return b"event: output\nid: %d\n" % part.next_offset + _data(data)


def _data(data: dict[str, Any]) -> bytes:
    """Return the data of an event, and its end: one line, whatever stands in it."""
    text = json.dumps(data, ensure_ascii=False).translate(_LINE_ENDS)
    return b"data: %s\n\n" % text.encode("utf-8", "backslashreplace")


def _parts(
    task: TaskRecord,
    viewer: Viewing,
    stream: str,
    offset: int,
    *,
    whole_characters: bool,
) -> Iterator[OutputPart | None]:
    """Give the parts as they come, for as long as there is somebody to take them."""
    parts = services().follower.follow(
        task,
        viewer,
        stream=stream,
        offset=offset,
        whole_characters=whole_characters,
        idle_seconds=TICK_SECONDS,
    )
    for part in parts:
        if part is None and _hung_up():
            raise ConnectionResetError(errno.ECONNRESET, "the client has hung up")
        yield part


def _streamed(pieces: Iterator[bytes], mimetype: str) -> Response:
    """Return an answer that holds one of the places to wait until it is over."""
    with ExitStack() as held:
        held.enter_context(services().waiting())
        body = stream_with_context(_broken_off(pieces))
        response = Response(body, 200, _LIVE, mimetype=mimetype)
        response.call_on_close(held.pop_all().close)
    return response


def _broken_off(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Give all pieces, or break off where they fail: half is not taken for all.

    The answer has begun, so that the error cannot be told any more.
    """
    try:
        yield from pieces
    except BellhopError as error:
        reason = type(error).__name__
        log.info("stream.broken_off", reason=reason)
        raise ConnectionResetError(errno.ECONNRESET, reason) from error


def _viewing() -> Viewing:
    """Return what tells as whom the caller sees tasks: who may, may no more later."""
    asked, identity = time.monotonic(), caller()

    def now() -> Identity | None:
        nonlocal asked, identity
        if identity is not None and time.monotonic() - asked >= TICK_SECONDS:
            asked, identity = time.monotonic(), _still(identity)
        return identity

    return lambda: services().viewer(now())


def _still(identity: Identity) -> Identity:
    """Return who calls now; raise NotAuthenticated where that is nobody any more."""
    try:
        return authenticate()
    except (TooManyAttempts, PasswordChecksExceeded):  # says nothing of this caller
        return identity


def _resumed(offset: int) -> int:
    """Return where a client goes on that has lost its connection."""
    last = request.headers.get("Last-Event-ID")
    if last is None:
        return offset
    if not (last.isascii() and last.isdecimal() and len(last) <= 18):
        raise InvalidInput([Fault("Last-Event-ID", "is not one that was given")])
    return int(last)


def _hung_up() -> bool:
    """Return whether the client has closed its connection: writing would not tell."""
    connection = request.environ.get(
        "gunicorn.socket", request.environ.get("werkzeug.socket")
    )
    if not isinstance(connection, socket.socket):
        return False
    try:
        # Gevent's sockets wait for something to read, whatever the flags say.
        readable = select.poll()
        readable.register(connection, select.POLLIN)
        return bool(readable.poll(0)) and not connection.recv(1, socket.MSG_PEEK)
    except ValueError:  # TLS, which cannot peek
        return False
    except OSError:
        return True
