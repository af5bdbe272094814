"""An end is an end: whatever a command has made of itself, nothing of it is left."""

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.commands import DAEMON, OBEYS_TERM, python_argv
from tests.servers import Server, running, wait_until
from tests.trees import (
    PASSWORD,
    Tree,
    alive_in,
    delete,
    end_of,
    kill_all,
    kill_server,
    start,
    task_of,
)

pytestmark = pytest.mark.timeout(600)  # of the long doses

WAVE = 8  # trees at a time
KEPT_BYTES = 10_000  # of an output

# Starts something that leaves the session and would not end when asked, goes on.
LEAVES = (
    "setsid /bin/sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' >&- 2>&- & "
    "sleep 0.2; "
)
CATALOGUE = f"""
[commands.burn]
argv = ["/bin/sh", "-c", '''{LEAVES} while :; do :; done''']
cwd = "FOLDER"
limits.cpu_seconds = 1

[commands.fill]
argv = ["/bin/sh", "-c", '''{LEAVES} exec head -c 100000 /dev/zero > big''']
cwd = "FOLDER"
limits.file_bytes = 5000

[commands.grow]
argv = ["/bin/sh", "-c", '''{LEAVES} exec head -c 1G /dev/zero | tail''']
cwd = "FOLDER"
limits.memory_bytes = 100000000

[commands.flood]
argv = ["/bin/sh", "-c", '''{LEAVES} exec yes''']
cwd = "FOLDER"
on_overflow = "end"
"""


@contextmanager
def served(tmp_path: Path, *arguments: str, **settings: str) -> Iterator[Server]:
    """Start a server with an admin, a short grace and the catalogue; kill it."""
    catalogue = tmp_path / "commands.toml"
    catalogue.write_text(CATALOGUE.replace("FOLDER", str(tmp_path)))
    known = {
        "ADMIN_PASSWORD": PASSWORD,
        "EXEC_COMMANDS": str(catalogue),
        "EXEC_GRACE_SECONDS": "1",
        "EXEC_MAX_RUNNING": "32",
        "EXEC_OUTPUT_HEAD_BYTES": "1000",
        "EXEC_OUTPUT_TAIL_BYTES": f"{KEPT_BYTES - 1000}",
        "LOG_LEVEL": "WARNING",
    }
    with running(tmp_path, *arguments, **(known | settings)) as server:
        try:
            yield server
        finally:
            kill_server(server)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("server"), "-w", "2") as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder for commands; whoever is in it in the end is killed."""
    made = tmp_path / "commands"
    made.mkdir()
    yield made
    for each in [made, *(path for path in made.iterdir() if path.is_dir())]:
        kill_all(each)


@pytest.fixture
def grow(folder: Path) -> Callable[[int], list[list[Tree]]]:
    """Plan so many random trees, in waves."""

    def plan(count: int) -> list[list[Tree]]:
        seeds = [random.randrange(10**9) for _ in range(count)]
        trees = [Tree(folder / str(seed), seed) for seed in seeds]
        return [trees[first : first + WAVE] for first in range(0, count, WAVE)]

    return plan


class TestTrees:
    def test_one_that_is_cancelled_is_gone_when_that_is_answered(
        self, server: Server, grow: Callable[[int], list[list[Tree]]], soak: bool
    ) -> None:
        for trees in grow(50 if soak else 4):
            hrefs = start_trees(server, trees)
            with ThreadPoolExecutor(WAVE) as pool:
                left = list(pool.map(lambda h, t: cancel(server, h, t), hrefs, trees))
            assert left == [set()] * len(trees), trees
            for href, tree in zip(hrefs, trees, strict=True):
                check(tree, task_of(server, href), ("REVOKED", "cancelled"))

    def test_one_that_is_out_of_time_is_gone_when_that_is_told(
        self, server: Server, grow: Callable[[int], list[list[Tree]]], soak: bool
    ) -> None:
        for trees in grow(50 if soak else 3):
            hrefs = start_trees(server, trees, timeout_seconds=1)
            for href, tree in zip(hrefs, trees, strict=True):
                found = end_of(server, href)
                assert tree.alive() == set(), tree
                check(tree, found, ("FAILURE", "timeout"))

    def test_one_of_a_killed_worker_is_gone_and_no_other(
        self, server: Server, grow: Callable[[int], list[list[Tree]]], soak: bool
    ) -> None:
        for trees in grow(50 if soak else 3):
            hrefs = start_trees(server, trees)
            killed = trees[0].worker()
            os.kill(killed, signal.SIGKILL)
            for href, tree in zip(hrefs, trees, strict=True):
                if tree.worker() == killed:
                    check_lost(server, href, tree)
                else:
                    assert tree.alive(), "another worker runs it"
                    assert cancel(server, href, tree) == set()

    def test_one_of_a_killed_server_is_gone_after_the_next_start(
        self, tmp_path: Path, grow: Callable[[int], list[list[Tree]]], soak: bool
    ) -> None:
        for trees in grow(50 if soak else 3):
            with served(tmp_path, "-w", "2") as server:
                hrefs = start_trees(server, trees)
            assert all(tree.alive() for tree in trees), "nobody was there to end them"
            with served(tmp_path, "-w", "2") as server:
                for href, tree in zip(hrefs, trees, strict=True):
                    check_lost(server, href, tree)


class TestCancel:
    def test_a_command_that_obeys_is_gone_within_two_seconds(
        self, server: Server, folder: Path
    ) -> None:
        for _ in range(4):  # in whichever worker
            href = start(server, cmd=f"exec 2>&1; {OBEYS_TERM}", cwd=str(folder))
            wait_until(lambda: has_said(server, href, 6))  # noqa: B023
            begun = time.monotonic()
            assert delete(server, href) == 204
            assert time.monotonic() - begun < 2
            assert alive_in(folder) == set()
            found = task_of(server, href)
            assert (found["state"], found["reason"]) == ("REVOKED", "cancelled")
            assert (found["returncode"], found["leftovers"]) == (0, False)
            assert "signal" not in found
            assert found["result"]["output"] == "ready\nbye\n"

    def test_one_that_has_ended_keeps_its_end_and_its_daemon(
        self, server: Server, folder: Path
    ) -> None:
        daemon = python_argv(DAEMON, "sleep", "300")
        href = start(server, argv=daemon, cwd=str(folder))
        found = end_of(server, href)
        assert (found["state"], found["returncode"]) == ("SUCCESS", 0)
        assert found["leftovers"] is False
        assert delete(server, href) == 204
        assert task_of(server, href) == found
        assert commands_in(folder) == ["sleep 300"]


class TestLimits:
    @pytest.mark.parametrize(
        ("command", "limit", "signal_name"),
        [
            ("burn", "cpu_seconds", "SIGXCPU"),
            ("fill", "file_bytes", "SIGXFSZ"),
        ],
    )
    def test_one_that_is_reached_ends_the_whole_tree_and_is_named(
        self, server: Server, command: str, limit: str, signal_name: str
    ) -> None:
        href = start(server, command=command)
        found = end_of(server, href)
        assert alive_in(server.log_path.parent) == set()
        assert (found["state"], found["reason"]) == ("FAILURE", "limit")
        assert found["signal"] == signal_name
        assert found["leftovers"] is False
        assert limit in detail_of(server, href)
        if command == "burn":  # the limit counts ticks, the usage nanoseconds
            assert 0.5 <= found["usage"]["cpu_seconds"] < 3

    def test_memory_is_refused_and_what_came_of_that_is_told(
        self, server: Server
    ) -> None:
        found = end_of(server, start(server, command="grow"))
        assert (found["state"], found["reason"]) == ("FAILURE", "exit")
        assert found["returncode"] == 1
        assert "memory" in found["result"]["output"]
        kill_all(server.log_path.parent)

    def test_output_that_overflows_ends_the_whole_tree_where_its_entry_says_so(
        self, server: Server
    ) -> None:
        found = end_of(server, start(server, command="flood"))
        assert alive_in(server.log_path.parent) == set()
        assert (found["state"], found["reason"]) == ("FAILURE", "overflow")
        assert (found["signal"], found["leftovers"]) == ("SIGTERM", False)
        output = found["output"]
        assert output["dropped_bytes"] == output["end_offset"] - KEPT_BYTES > 0


def test_a_stopped_server_ends_what_runs_and_what_waits_and_says_so(
    tmp_path: Path, grow: Callable[[int], list[list[Tree]]]
) -> None:
    [trees] = grow(2)
    settings = {"EXEC_MAX_RUNNING": "2"}
    with served(tmp_path, "-w", "2", **settings) as server:
        ran = start_trees(server, trees)
        mark = tmp_path / "ran"
        waited = [start(server, cmd=f"touch {mark}") for _ in range(4)]
        assert server.stop() == 0
    assert [tree.alive() for tree in trees] == [set(), set()], trees
    with served(tmp_path, "-w", "1", **settings) as server:
        for tree, href in zip(trees, ran, strict=True):
            check(tree, task_of(server, href), ("REVOKED", "shutdown"))
        for href in waited:
            found = task_of(server, href)
            assert (found["state"], found["reason"]) == ("REVOKED", "shutdown")
            assert "started" not in found
    assert not mark.exists()


def start_trees(server: Server, trees: Sequence[Tree], **options: Any) -> list[str]:
    """Start trees; return their tasks, once every process is there."""
    hrefs = [start(server, argv=tree.argv, **options) for tree in trees]
    for tree in trees:
        wait_until(tree.is_ready, seconds=20)
    return hrefs


def cancel(server: Server, href: str, tree: Tree) -> set[int]:
    """Cancel a tree; return who of it is alive when that has been answered."""
    assert delete(server, href) == 204
    return tree.alive()


def check(tree: Tree, found: dict[str, Any], end: tuple[str, str]) -> None:
    """Check that a tree that was ended tells how."""
    assert (found["state"], found["reason"]) == end, tree
    expected = ("SIGTERM", 143) if tree.obeys else ("SIGKILL", 137)
    assert (found["signal"], found["returncode"]) == expected, tree
    assert found["leftovers"] is False, tree
    assert found["usage"]["cpu_seconds"] > 0, tree
    assert found["result"]["returncode"] == found["returncode"], tree


def check_lost(server: Server, href: str, tree: Tree) -> None:
    """Check that a tree is lost within ten seconds, and that nobody is left of it."""
    found = end_of(server, href, seconds=10)
    assert tree.alive() == set(), tree
    assert (found["state"], found["reason"]) == ("LOST", "worker_lost"), tree
    assert "returncode" not in found, tree
    assert isinstance(found["result"], str)


def has_said(server: Server, href: str, count: int) -> bool:
    return bool(task_of(server, href)["output"]["end_offset"] >= count)


def commands_in(folder: Path) -> list[str]:
    """Return the command lines of the processes in that folder."""
    lines = []
    for pid in alive_in(folder):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        lines.append(b" ".join(words).decode())
    return lines


def detail_of(server: Server, href: str) -> str:
    """Return what the record says of an end beside its reason."""
    path = server.log_path.parent / "instance" / "bellhop.db"
    query = "SELECT detail FROM tasks WHERE task_id = ?"
    records = sqlite3.connect(path)
    try:
        [(detail,)] = records.execute(query, [href.rpartition("/")[2]])
    finally:
        records.close()
    return str(detail)
