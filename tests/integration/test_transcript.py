"""The tutorial's transcript, on every server that Bellhop is run with."""

from pathlib import Path

import pytest

from tests.servers import GUNICORN, RUN, Server, running, wait_until

COUNTING = """
import sys, time
for number in range(28, 49):
    print(number, flush=True)
    time.sleep(float(sys.argv[1]))
"""

SERVERS = {
    "gunicorn with one worker": (GUNICORN, ["-w", "1"]),
    "gunicorn with four workers": (GUNICORN, ["-w", "4"]),
    "gevent workers": (GUNICORN, ["-k", "gevent", "-w", "2"]),
    "run.py": (RUN, []),
    "run.py with gevent": (RUN, ["--gevent"]),
}


@pytest.fixture(params=SERVERS, scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    command, arguments = SERVERS[request.param]
    folder = tmp_path_factory.mktemp("server")
    with running(folder, *arguments, command=command) as started:
        yield started
    assert "Traceback" not in started.log_path.read_text(), "it ended quietly"


def test_a_command_is_started_watched_and_started_again(
    server: Server, tmp_path: Path
) -> None:
    script = tmp_path / "test.py"
    script.write_text(COUNTING)
    cmd = f"python3 {script} 0.2"

    accepted = server.exec("bob", cmd)
    assert accepted.status_code == 202
    assert accepted.json()["status"] == "accepted"
    busy = server.exec("bob", cmd)
    assert busy.status_code == 409
    assert busy.json()["status"] == "busy"
    assert server.exec("alice", "true").status_code == 202, "another's slot is free"

    polls = server.poll_until_finished("bob")
    lines = [line for poll in polls for line in poll["output"].split("\n") if line]
    assert lines == [str(number) for number in range(28, 49)], "none twice, none lost"
    assert sum(poll["output"] != "" for poll in polls) > 5, "it was seen while it ran"
    assert polls[-1]["returncode"] == 0
    assert polls[-1]["next_offset"] == 3 * 21

    assert server.poll("bob") == {"mode": "poll", "status": "finished"}
    assert server.exec("bob", "true").status_code == 202
    server.poll_until_finished("bob")


def test_a_poll_gives_the_newest_lines_and_says_what_it_passed_over(
    server: Server, tmp_path: Path
) -> None:
    written = tmp_path / "written"
    server.exec("bob", f"seq 1000; touch {written}; sleep 1")
    wait_until(written.exists)
    newest = wait_until(lambda: _with_output(server.poll("bob")))
    assert newest["output"] == "\n".join(str(number) for number in range(901, 1001))
    given = len(newest["output"]) + 1
    assert newest["dropped_bytes"] == newest["next_offset"] - given
    assert server.poll_until_finished("bob")[-1]["next_offset"] == 3893


def _with_output(poll: dict) -> dict | None:
    return poll if poll["output"] else None


def test_a_command_that_ends_at_once_has_its_exit_code(server: Server) -> None:
    for code in [*range(20), 137]:
        command = "kill -9 $$" if code == 137 else f"exit {code}"
        assert server.exec("bob", command).status_code == 202
        last = server.poll_until_finished("bob")[-1]
        assert (last["returncode"], last["reason"]) == (
            code,
            "signal" if code == 137 else "exit",
        )
