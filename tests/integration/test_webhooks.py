"""Webhooks by real workers: receivers that fail, and a service that does."""

from pathlib import Path
from typing import Any

from tests.postgres import Postgres
from tests.receiver import Receiver, receiving
from tests.servers import Server, free_port, running, wait_until
from tests.trees import PASSWORD, kill_server, start, task_of

SECRET = "whsec_" + "QUJD" * 8
SETTINGS = {"ADMIN_PASSWORD": PASSWORD, "LOG_LEVEL": "WARNING", "WORKERS": "2"}
# The first attempt, some five seconds, and the sweeper's round.
AGAIN_SECONDS = 30


def telling(url: str, cmd: str = "true", *, on: str = "success") -> dict[str, Any]:
    """Return the wish for a command whose end a receiver is told."""
    webhook = {"url": url, "secret": SECRET}
    return {"cmd": cmd, "notify": {"on": [on], "webhook": webhook}}


def webhook_of(server: Server, task: str) -> dict[str, Any]:
    found: dict[str, Any] = task_of(server, task)["notify"]["webhook"]
    return found


def delivered(server: Server, task: str) -> dict[str, Any]:
    """Return a webhook once it has been told."""

    def found() -> dict[str, Any] | None:
        webhook = webhook_of(server, task)
        return webhook if webhook["state"] == "delivered" else None

    return wait_until(found, seconds=AGAIN_SECONDS) or {}


def test_each_receiver_is_told_as_it_lets_itself_be_told(tmp_path: Path) -> None:
    down = f"http://127.0.0.1:{free_port()}/"
    with receiving(500, 503) as busy, receiving() as aim, receiving() as slow:
        slow.open.clear()
        away = [("Location", aim.url)]
        named = f"http://localhost:{aim.port}/"
        with receiving(*[302] * 9, headers=away) as redirecting:
            urls = [down, busy.url, slow.url, redirecting.url, named]
            settings = {**SETTINGS, "NOTIFY_URL_PREFIXES": ",".join(urls)}
            with running(tmp_path, **settings) as server:
                _tell_all(server, urls, busy)
                # One that says nothing does not keep the service from its end.
            assert not [e for e in server.log_lines() if "not_closed" in e["event"]]
    assert aim.got == []
    assert len(slow.got) == 1


def _tell_all(server: Server, urls: list[str], busy: Receiver) -> None:
    tasks = [start(server, **telling(url)) for url in urls]
    to_down, to_busy, to_slow, to_redirecting, to_name = tasks
    wait_until(lambda: "detail" in webhook_of(server, to_down))
    assert webhook_of(server, to_down)["detail"].startswith("has not answered")
    with receiving(port=int(urls[0].split(":")[2].strip("/"))) as up:
        assert delivered(server, to_down)["attempts"] == 2
        assert len(up.got) == 1
    wait_until(lambda: webhook_of(server, to_busy)["attempts"] == 2, seconds=30)
    first, second = busy.got
    assert (first.id, first.body) == (second.id, second.body)
    assert second.verified(SECRET)["data"]["state"] == "SUCCESS"
    said = webhook_of(server, to_redirecting)
    assert (said["state"], said["status"]) == ("waiting", 302)
    said = webhook_of(server, to_name)
    assert said["detail"].endswith("leads to what is not public")
    assert "status" not in said
    assert webhook_of(server, to_slow)["attempts"] == 0


def test_a_service_that_dies_tells_the_rest_once_it_is_back(
    tmp_path: Path, postgres: Postgres
) -> None:
    with (
        receiving(500) as receiver,
        receiving() as other,
        postgres.new_database() as database,
    ):
        settings = {**SETTINGS, "DATABASE_URL": database}
        settings["NOTIFY_URL_PREFIXES"] = f"{receiver.url} {other.url}"
        with running(tmp_path, **settings) as server:
            runs = start(server, **telling(other.url, "sleep 300", on="lost"))
            wait_until(lambda: task_of(server, runs)["state"] == "STARTED")
            task = start(server, **telling(receiver.url))
            wait_until(lambda: webhook_of(server, task)["attempts"] == 1)
            kill_server(server)
        with running(tmp_path, **settings) as server:
            again = delivered(server, task)
            assert delivered(server, runs)["attempts"] == 1
            lost = task_of(server, runs)
    first, second = receiver.got
    assert again["id"] == first.id == second.id
    assert first.body == second.body
    [told] = other.got
    said = told.verified(SECRET)
    assert (said["type"], said["timestamp"]) == ("task.lost", lost["finished"])
    assert said["data"]["reason"] == "worker_lost"
