"""Where the CPU time of one command goes, in a process of its own.

    python -m bench.phases COUNT     prints microseconds by phase, as JSON

The application is called as gunicorn would, without a socket, and what each phase does
is timed where it is called, less the phases inside. What a clock costs is small beside.
"""

import io
import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

PASSWORD = "change-me"
BODY = {"command": "echo", "params": {"text": "hello"}, "wait_seconds": 30}

#: Where each phase is, by module and name; what is not there takes no time.
PHASES = {
    "who may: the token looked up": ["app.api.routes:_admit"],
    "what is asked, checked": [
        "app.api.resource:BaseResource._checked",
        "app.tasks.catalogue:Catalogue.order",
    ],
    "taken on, and let go": [
        "app.tasks.runs:Runs.grant",
        "app.tasks.thread_backend:ThreadBackend.submit",
        "app.tasks.runner:Runner._end",
        "app.tasks.runner:Runner._run",
    ],
    "the record, made": [
        "app.storage.task_store:TaskStore.add",
        "app.storage.task_store:TaskStore.start",
    ],
    "the file of its output": [
        "app.tasks.output:OutputFolder.create",
        "app.tasks.output_log:OutputLog.append",
        "app.tasks.output_log:OutputLog.close",
    ],
    "the command started": [
        "app.processes.child:_start",
        "app.processes.child:Child.start",
    ],
    "the command followed to its end": [
        "app.processes.child:Child.attend",
        "app.processes.child:Child.run",
    ],
    "the record, ended": ["app.storage.task_store:TaskStore.finish"],
    "the next one let in": ["app.storage.task_store:TaskStore.let_in"],
    "the audit": ["app.api.audit_log:_keep"],
    "the log": [
        "app.api.request_log:_end",
        "config.logger:_OurLogger.give",
        "logging:Logger.handle",
    ],
    "the answer": ["app.api.task_view:show", "app.api.rendering:render_json"],
}
REST = "Flask, and what is between"
COMMAND = "the command itself"


class Clock(threading.local):
    """The time of a thread, by phase: of one within another, the inner has it."""

    seconds = dict.fromkeys(PHASES, 0.0)  # of all threads

    def __init__(self) -> None:
        self._open: list[str] = []
        self._since = 0.0

    def _turn(self) -> None:
        now = time.thread_time()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose time is a phase's."""

        def call(*args: Any, **named: Any) -> Any:
            self._turn()
            self._open.append(phase)
            try:
                return function(*args, **named)
            finally:
                self._turn()
                self._open.pop()

        return call


def instrument(clock: Clock) -> None:
    """Have all phases timed, also where their functions are imported by name."""
    for phase, places in PHASES.items():
        for place in places:
            module_name, _, path = place.partition(":")
            module = import_module(module_name)
            *owners, name = path.split(".")
            owner: Any = module
            for each in owners:
                owner = getattr(owner, each, None)
            found = getattr(owner, name, None) if owner is not None else None
            if found is not None:
                _replace(owner, name, found, clock.timed(phase, found))


def _replace(owner: Any, name: str, old: Any, new: Any) -> None:
    setattr(owner, name, new)
    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get(name) is old:
            setattr(module, name, new)


def main(count: int) -> dict[str, float]:
    """Run so many commands; return microseconds for each, by phase."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "FLASK_ENV": "production",
            "ADMIN_PASSWORD": PASSWORD,
            "INSTANCE_PATH": folder,
        }
        printed = os.dup(1)
        with open(os.path.join(folder, "log"), "w") as log:  # noqa: PTH118, PTH123
            os.dup2(log.fileno(), 1)
        clock = Clock()
        import_module("application")
        instrument(clock)
        app = import_module("application").create_app()
        token = app.test_client().post(
            "/v3/users/admin/tokens",
            json={"scopes": ["exec"]},
            auth=("admin", PASSWORD),
        )
        ask = _asker(app, token.json["token"])
        for _ in range(count // 10):
            ask()
        clock.seconds.update(dict.fromkeys(PHASES, 0.0))
        before = _cpu_seconds()
        for _ in range(count):
            ask()
        own, command = (a - b for a, b in zip(_cpu_seconds(), before, strict=True))
        app.extensions["bellhop"].close()
        os.dup2(printed, 1)
    rest = own - sum(clock.seconds.values())
    seconds = clock.seconds | {REST: rest, COMMAND: command}
    return {phase: spent / count * 1e6 for phase, spent in seconds.items()}


def _cpu_seconds() -> list[float]:
    """Return what this process has used, and what its children that ended have."""
    whose = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return [used.ru_utime + used.ru_stime for used in map(resource.getrusage, whose)]


def _asker(app: Any, token: str) -> Callable[[], None]:
    body = json.dumps(BODY).encode()

    def answered(status: str, *_: Any) -> None:
        assert status.startswith("201"), status

    def ask() -> None:
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/v3/exec/",
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "127.0.0.1",
            "HTTP_AUTHORIZATION": f"Bearer {token}",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
        }
        answer = app(environ, answered)
        assert b'"SUCCESS"' in b"".join(answer)
        answer.close()

    return ask


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]))))
