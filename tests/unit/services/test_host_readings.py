"""How a host is: this one, or another one that is asked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.errors import HostAway, HostNotFound, HostReadingFailed
from app.host.procfs import Procfs
from app.host.samples import Samples, SampleWriter
from app.host.uptime import UptimeReader
from app.services.host_readings import HostReadings
from app.tasks.hosts import Hosts
from tests.unit.tasks.test_hosts import AWAY, Known, a_host


class Two:
    """Two hosts that ask each other."""

    def __init__(self, tmp_path: Path, **state: Any) -> None:
        hosts = Hosts(Known(a_host("a"), a_host("b", **state)), own="a", counts=dict)
        self.a, self.b = (
            HostReadings(
                own=name,
                uptime=UptimeReader(Procfs()),
                samples=Samples(tmp_path / name),
                hosts=hosts,
            )
            for name in ("a", "b")
        )
        self.asked: list[tuple[str, str, Mapping[str, Any]]] = []
        self.a.ask = self._ask

    def _ask(self, host: str, name: str, params: Mapping[str, Any]) -> Any:
        self.asked.append((host, name, params))
        return self.b.answer(name, params)


def test_this_one_is_read_and_nobody_is_asked(tmp_path: Path) -> None:
    two = Two(tmp_path)
    found = [two.a.uptime(), two.a.uptime("a")]
    assert {*found[0]} == {*found[1]} == {"uptime", "seconds", "boot_time", *_MORE}
    assert two.a.samples("a", None) == []
    assert two.asked == []


_MORE = ("users", "load")


def test_another_one_is_asked_and_answers_the_same(tmp_path: Path) -> None:
    two = Two(tmp_path)
    writer = SampleWriter(tmp_path / "b")
    for second in range(3):
        writer.append({"time": f"2026-03-09T12:00:0{second}.000Z"})
    assert two.a.uptime("b").keys() == two.a.uptime().keys()
    newest = two.a.samples("b", "2026-03-09T12:00:00.000Z", limit=1)
    assert newest == [{"time": "2026-03-09T12:00:02.000Z"}]
    given = {"since": "2026-03-09T12:00:00.000Z", "limit": 1}
    assert two.asked == [("b", "uptime", {}), ("b", "samples", given)]
    two.b._samples.close()


def test_what_cannot_be_read_there_cannot_be_read_here(tmp_path: Path) -> None:
    two = Two(tmp_path)
    (tmp_path / "b").mkdir()
    with pytest.raises(HostReadingFailed, match="no samples can be read"):
        two.a.samples("b", None)


def test_one_that_is_away_is_not_asked(tmp_path: Path) -> None:
    two = Two(tmp_path, **AWAY)
    with pytest.raises(HostAway, match="'b'"):
        two.a.uptime("b")
    assert two.asked == []


def test_one_that_is_not_known_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(HostNotFound):
        Two(tmp_path).a.uptime("c")


def test_where_nobody_can_be_asked_it_is_away(tmp_path: Path) -> None:
    two = Two(tmp_path)
    with pytest.raises(HostAway):
        two.b.uptime("a")


def test_what_is_no_reading_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LookupError):
        Two(tmp_path).b.answer("password", {})
