"""The pictures of the README: made here, so that they show what there is.

make test ARGS="tests/browser/test_pictures.py --pictures"     writes them anew

Otherwise only the long dose takes them, to see that it can be done.
"""

import fcntl
import json
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PageOf
from tests.servers import PROJECT

PICTURES = PROJECT / "docs" / "pictures"
# What a picture in a README may weigh.
MOST_BYTES = 200_000
VIEW = {"width": 1100, "height": 720}

BACKUP = r"""
[commands.backup]
description = "Dump one database"
argv = ["/bin/sh", "-c", '''
say() {{ printf "\033[2m%s\033[0m %b\n" "$(date +%T)" "$*"; sleep 0.1; }}
say "dumping \033[1m$0\033[0m at level $1"
for table in accounts orders payments sessions; do
    say "$table \033[32mdone\033[0m"
done
say "\033[33mwarning\033[0m: events is large, this takes a while"
i=0
while [ $i -le 100 ]; do printf "\r  events %3d %%" $i; i=$((i + 4)); sleep 0.2; done
''', "{db}", "{level}"]
[commands.backup.params.db]
type = "string"
enum = ["main", "audit"]
[commands.backup.params.level]
type = "integer"
minimum = 0
maximum = 9
default = 1
"""


@pytest.fixture(scope="module", autouse=True)
def wanted(request: pytest.FixtureRequest) -> None:
    """Skip where nobody wants pictures: to take them is much work for a browser."""
    if not any(map(request.config.getoption, ("--pictures", "--soak"))):
        pytest.skip("no pictures are wanted")


@pytest.fixture(scope="module")
def commands() -> str:
    return BACKUP


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Give the host a name, and ten minutes to look back on, that end now."""
    instance = tmp_path_factory.mktemp("instance")
    lines = "".join(f"{json.dumps(sample)}\n" for sample in ten_minutes())
    (instance / "samples").write_text(lines)
    with (instance / "sampler.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # what is this host's does not come in
        yield {"BELLHOP_HOST": "pelican", "INSTANCE_PATH": str(instance)}


def ten_minutes() -> Iterator[dict[str, Any]]:
    """Return made-up samples up to now: somebody has dumped a database."""
    chance = random.Random(1)
    load = [0.4, 0.5, 0.6]
    for ago in range(600, 0, -1):
        busy = 140 < ago < 330
        for n, minutes in enumerate((1, 5, 15)):
            wanted = 1.7 if busy else 0.3
            load[n] += (wanted - load[n] + chance.gauss(0, 1)) / (60 * minutes)
        wrtn = chance.uniform(26e3, 58e3) if busy else chance.expovariate(1 / 400)
        read = chance.uniform(4e3, 9e3) if busy else chance.expovariate(1 / 60)
        time = datetime.now(UTC) - timedelta(seconds=ago)
        disk = {
            "device": "nvme0n1",
            "tps": wrtn / 50,
            "kB_read_per_s": read,
            "kB_wrtn_per_s": wrtn,
            "r_await_ms": chance.uniform(0.1, 0.3),
            "w_await_ms": chance.uniform(1.5, 5) if busy else chance.uniform(0.3, 0.9),
            "queue": 0.2,
            "util_percent": min(100, wrtn / 700 + chance.uniform(0, 3)),
        }
        yield {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "load": [round(each, 2) for each in load],
            "uptime_seconds": monotonic() - ago,
            "users": None,
            "devices": [disk],
        }


@pytest.fixture
def keep(request: pytest.FixtureRequest, tmp_path: Path):
    """Return what takes a picture, to be kept if that is wanted."""
    folder = PICTURES if request.config.getoption("--pictures") else tmp_path

    def take(page: Page, name: str) -> None:
        path = folder / f"{name}.png"
        path.write_bytes(page.screenshot())
        assert 10_000 < path.stat().st_size < MOST_BYTES
        assert (PICTURES / path.name).exists()

    return take


def test_the_host(page_of: PageOf, keep) -> None:
    page = page_of("admin", viewport=VIEW, color_scheme="light")
    page.goto("/ui/")
    expect(page.get_by_text("Live")).to_be_visible()
    keep(page, "host")


def test_a_run(page_of: PageOf, keep) -> None:
    page = page_of("admin", viewport=VIEW, color_scheme="dark")
    page.goto("/ui/commands/backup")
    page.get_by_label("db").select_option("main")
    page.get_by_role("button", name=re.compile("^Run")).click()
    expect(page.get_by_role("log")).to_contain_text(re.compile(r"events +[2-9][0-9] %"))
    keep(page, "run")
