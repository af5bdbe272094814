"""A client where there is no wrk; slower, so that it takes more of the machine.

python plain_client.py URL CLIENTS SECONDS FILE, which has the work as JSON.
"""

import http.client
import json
import re
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit


class Client:
    """A thread with one connection."""

    def __init__(self, url, work, ends):
        self._address = urlsplit(url).netloc
        self._work = work
        self._ends = ends
        self.times = []
        self.fault = ""

    def run(self):
        connection = http.client.HTTPConnection(self._address, timeout=30)
        try:
            while time.monotonic() < self._ends and not self.fault:
                begun = time.monotonic()
                gathered = "".join(self._answers(connection))
                lost = [part for part in self._work["contains"] if part not in gathered]
                if lost:
                    self.fault = self.fault or f"without {lost}: {gathered}"
                self.times.append(time.monotonic() - begun)
        except (OSError, http.client.HTTPException) as error:
            self.fault = repr(error)
        finally:
            connection.close()

    def _answers(self, connection):
        captured = ""
        for step in self._work["steps"]:
            path = step["path"].replace("{}", captured)
            while True:
                body = self._answer(connection, step, path)
                yield body
                if self.fault or step["until"] in body:
                    break
            found = step["capture"] and re.search(step["capture"], body)
            captured = found[1] if found else ""

    def _answer(self, connection, step, path):
        connection.request(step["method"], path, step["body"], step["headers"])
        answer = connection.getresponse()
        body = answer.read().decode()
        if answer.status != step["status"]:
            self.fault = f"status {answer.status}: {body}"
        return body


def main(url, clients, seconds, file):
    work = json.loads(Path(file).read_text())
    begun = time.monotonic()
    those = [Client(url, work, begun + float(seconds)) for _ in range(int(clients))]
    threads = [threading.Thread(target=each.run) for each in those]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    faults = [each.fault for each in those if each.fault]
    print(*faults, sep="\n")
    times = sorted(time for each in those for time in each.times) or [0.0]
    result = {
        "fault": len(faults),
        "works": len(times),
        "seconds": time.monotonic() - begun,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[int(len(times) * 0.99)] * 1000,
    }
    print("RESULT", json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
