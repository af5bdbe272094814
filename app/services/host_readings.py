"""How a host is and was: this one by its kernel, another one by asking its worker."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.errors import HostAway, HostReadingFailed
from app.host.samples import KEPT, Sample, Samples
from app.host.uptime import UptimeReader
from app.moment import rfc3339
from app.tasks.hosts import Hosts

Members = Mapping[str, Any]

#: ``ask(host, name, params)`` returns what :meth:`HostReadings.answer` does there.
#: Raises HostAway where no answer comes in time, BrokerUnavailable.
Ask = Callable[[str, str, Members], Members]


class HostReadings:
    """Reads this host, whose name is `own`, and asks the others."""

    def __init__(
        self,
        *,
        own: str,
        uptime: UptimeReader,
        samples: Samples,
        hosts: Hosts,
    ) -> None:
        self._own = own
        self._uptime = uptime
        self._samples = samples
        self._hosts = hosts
        #: Where there are other hosts, it asks one of their workers.
        self.ask: Ask = _ask_nobody

    def uptime(self, host: str | None = None) -> Members:
        """Return how long a host is up, and how loaded it is; None is this one.

        As JSON has it. Raises HostNotFound, HostAway, HostReadingFailed and
        BrokerUnavailable.
        """
        return self._read(host, "uptime")

    def samples(
        self, host: str, since: str | None, *, limit: int = KEPT
    ) -> Sequence[Sample]:
        """Return how a host was: see Samples.newer_than; raises as uptime."""
        found = self._read(host, "samples", since=since, limit=limit)
        samples: Sequence[Sample] = found["samples"]
        return samples

    def answer(self, name: str, params: Members) -> Members:
        """Return how this host is, for another one that asks: a failure by its words.

        Raises LookupError where nothing of that name is read.
        """
        try:
            return {"found": self._reading(name, params)}
        except HostReadingFailed as error:
            return {"failed": str(error)}

    def _read(self, host: str | None, name: str, **params: Any) -> Members:
        if host in (None, self._own):
            return self._reading(name, params)
        return self._asked(str(host), name, params)

    def _asked(self, name_of_host: str, name: str, params: Members) -> Members:
        host = self._hosts.get(name_of_host)
        if not host.alive:
            raise HostAway(host.name)
        answer = self.ask(host.name, name, params)
        if "failed" in answer:
            raise HostReadingFailed(answer["failed"])
        found: Members = answer["found"]
        return found

    def _reading(self, name: str, params: Members) -> Members:
        readings: Mapping[str, Callable[..., Members]] = {
            "uptime": self._read_uptime,
            "samples": self._read_samples,
        }
        return readings[name](**params)

    def _read_uptime(self) -> Members:
        uptime = self._uptime.read()
        return {
            "uptime": uptime.line,
            "seconds": uptime.seconds,
            "boot_time": rfc3339(uptime.boot_time),
            "users": uptime.users,
            "load": uptime.load,
        }

    def _read_samples(self, since: str | None, limit: int) -> Members:
        return {"samples": self._samples.newer_than(since, limit=limit)}


def _ask_nobody(host: str, _name: str, _params: Members) -> Members:
    raise HostAway(host)
