"""A host made of files, and the local time zone, for the tests of app/host."""

import os
import shutil
import time

import pytest

from app.host.procfs import Procfs


class FakeHost:
    """The /proc, /sys and utmp of a host that does not exist, to be changed at will."""

    def __init__(self, root):
        self.proc = root / "proc"
        self.sys = root / "sys"
        self.utmp = root / "utmp"
        self.machine = "x86_64"
        self.cpus = self.sys / "devices/system/cpu"
        self.proc.mkdir()
        (self.sys / "block").mkdir(parents=True)
        for name in ("cpu0", "cpu1", "cpufreq", "cpuidle"):
            (self.cpus / name).mkdir(parents=True)
        self.set_uptime("100000.00")
        self.set_load("0.52 0.41 0.38")
        self.set_disks({})

    @property
    def procfs(self):
        return Procfs(proc=self.proc, sys=self.sys, utmp=self.utmp, uname=self.uname)

    def uname(self):
        return os.uname_result(
            ("Linux", "pelican", "6.1.0-13-amd64", "#1 SMP", self.machine)
        )

    def set_uptime(self, seconds):
        (self.proc / "uptime").write_text(f"{seconds} 4321.00\n")

    def set_load(self, averages):
        (self.proc / "loadavg").write_text(f"{averages} 1/234 5678\n")

    def set_disks(self, whole, partitions=()):
        """Write the counters where this program and where iostat read them."""
        lines = [
            f"   8       0 {name} {' '.join(map(str, counters))}\n"
            for name, counters in [*whole.items(), *dict(partitions).items()]
        ]
        (self.proc / "diskstats").write_text("".join(lines))
        directories = {name.replace("/", "!"): name for name in whole}
        for path in (self.sys / "block").iterdir():
            if path.name not in directories:
                shutil.rmtree(path)
        for directory, name in directories.items():
            path = self.sys / "block" / directory
            path.mkdir(exist_ok=True)
            (path / "stat").write_text(" ".join(map(str, whole[name])) + "\n")


@pytest.fixture
def host(tmp_path):
    return FakeHost(tmp_path)


@pytest.fixture
def set_time_zone(monkeypatch):
    def set_to(zone):
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield set_to
    monkeypatch.undo()
    time.tzset()
