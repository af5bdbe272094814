"""Clients that follow an output as it is written, many of them in one thread."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers import Server, wait_until

from .usage import descendants

CONNECTED_SECONDS = 30


@dataclass
class Followed:
    """What a follower was given, and how long each line with a moment was on its way.

    Lines from before it was there have no such time.
    """

    output: bytes
    milliseconds: list[float]


async def follow_all(
    server: Server,
    token: dict[str, str],
    task_ids: list[str],
    meanwhile: Callable[[], object],
) -> list[Followed]:
    """Follow each output to its end; do `meanwhile` once all are connected."""
    connected = asyncio.Barrier(len(task_ids) + 1)
    async with asyncio.TaskGroup() as group:
        following = [
            group.create_task(_follow(_connect(server), token, task_id, connected))
            for task_id in task_ids
        ]
        async with asyncio.timeout(CONNECTED_SECONDS):
            await connected.wait()
        await asyncio.to_thread(meanwhile)
    return [each.result() for each in following]


def follow_on_another_worker(
    server: Server, token: dict[str, str], task_id: str, meanwhile: Callable[[], object]
) -> Followed:
    """Follow an output on a worker that does not own the task; then do `meanwhile`."""
    with _on_another_worker(server, token, task_id) as connection:
        meanwhile()
        return asyncio.run(_rest(connection))


async def _follow(
    connection: socket.socket,
    token: dict[str, str],
    task_id: str,
    connected: asyncio.Barrier,
) -> Followed:
    with connection:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(connection, _request(token, task_id))
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            return await _read(reader, connected)
        finally:
            writer.close()


async def _rest(connection: socket.socket) -> Followed:
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        return await _read(reader, asyncio.Barrier(1))
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader, connected: asyncio.Barrier) -> Followed:
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0], head
    await connected.wait()
    begun, output, times = time.monotonic_ns(), b"", []
    while size := int(await reader.readline(), 16):
        chunk = (await reader.readexactly(size + 2))[:-2]
        now = time.monotonic_ns()
        moments = [int(line) for line in chunk.splitlines() if line.isdigit()]
        times += [(now - moment) / 1e6 for moment in moments if moment > begun]
        output += chunk
    return Followed(output, times)


def _connect(server: Server) -> socket.socket:
    where = urlsplit(server.url)
    connection = socket.create_connection((where.hostname, where.port))
    connection.setblocking(False)
    return connection


def _request(token: dict[str, str], task_id: str) -> bytes:
    lines = [
        f"GET /v3/task/{task_id}/output?follow=1 HTTP/1.1",
        "Host: 127.0.0.1",
        *(f"{name}: {value}" for name, value in token.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@contextmanager
def _on_another_worker(
    server: Server, token: dict[str, str], task_id: str
) -> Iterator[socket.socket]:
    """Connect until a worker has taken the connection that does not own the task."""
    owner = _owner(server, task_id)
    tried: list[socket.socket] = []
    try:
        for _ in range(100):
            connection = _connect(server)
            tried.append(connection)
            connection.settimeout(CONNECTED_SECONDS)
            connection.sendall(_request(token, task_id))
            connection.recv(1, socket.MSG_PEEK)  # it is answered, by whoever has it
            if _holder(server, connection) not in (owner, None):
                connection.setblocking(False)
                yield connection
                return
        raise AssertionError("no other worker takes a connection")
    finally:
        for connection in tried:
            connection.close()


def _owner(server: Server, task_id: str) -> int:
    """Return the worker that has started a command, which is marked by its task."""
    mark = f"BELLHOP_TASK_ID={task_id}".encode()

    def owner() -> int | None:
        for worker in server.workers()[1:]:
            if any(mark in _environment(pid) for pid in descendants(worker)):
                return worker
        return None  # a program that is being started has no environment

    return wait_until(owner)


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _holder(server: Server, connection: socket.socket) -> int | None:
    """Return the worker that holds the other end of a connection."""
    ours, theirs = connection.getsockname()[1], connection.getpeername()[1]
    wanted = f"socket:[{_inode(theirs, ours)}]"
    holders = [pid for pid in server.workers()[1:] if wanted in _descriptors(pid)]
    return holders[0] if holders else None


def _inode(local: int, remote: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if [int(fields[i].split(":")[1], 16) for i in (1, 2)] == [local, remote]:
            return fields[9]
    return "none"


def _descriptors(pid: int) -> set[str]:
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(path.readlink()))
        except OSError:
            continue
    return found
