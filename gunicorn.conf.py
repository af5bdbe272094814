"""Gunicorn's settings, from ours; what is given on its command line wins."""

import gc
import os
import sys
from pathlib import Path
from typing import Any

import structlog
from gunicorn.glogging import Logger

from config import metrics
from config.config import prepare_instance, read_config
from config.logger import config_logger, log_settings
from config.secrecy import hide_process
from config.settings import SettingsError

log = structlog.get_logger("gunicorn.conf")

try:
    _config = read_config()
    prepare_instance(_config)
    _log_settings = log_settings(vars(_config))
    config_logger(**_log_settings)
    hide_process()
except SettingsError as error:
    sys.exit(str(error))

try:
    metrics.share_figures(Path(_config.INSTANCE_PATH))
except OSError as error:
    log.warning("metrics.not_shared", error=str(error))

bind = f"{_config.BIND_ADDRESS}:{_config.PORT}"
# What these are unless they are set follows from what was measured on two cores, see
# docs/performance.md. Workers: two give as many readings as four, four some more runs,
# since one may wait for SQLite's only writer while another goes on; from six on each
# costs memory and gives nothing.
workers = _config.WORKERS
# Threads, as a run mostly waits for its command; 200 connections that send half a
# request take none of them, nor does a look at the service's health.
worker_class = "config.slow_clients.PatientWorker"
# Half of them are for those who wait for a command or follow it. One that is not used
# costs nothing; with more of them at work at a time each has less of the interpreter.
threads = _config.THREADS
timeout = 60
# Between TERM and KILL of a worker: time for its longest request, then for its runs,
# then to write their ends down.
_longest = max(_config.IOSTAT_SYNC_SECONDS, _config.SMS_TIMEOUT_SECONDS)
graceful_timeout = int(_longest + _config.EXEC_GRACE_SECONDS + 5)
keepalive = 5
# A second service of the same user would take over the socket of the first, and the
# thread behind it makes every fork of the master a risk.
control_socket_disable = True


class JsonLines(Logger):  # type: ignore[misc]
    """Gunicorn's log, through the chain of all others."""

    def setup(self, cfg: Any) -> None:
        """Have no handler of its own, so that the root's gets every line."""
        super().setup(cfg)
        config_logger(**_log_settings)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True


logger_class = JsonLines


def on_starting(_server: Any) -> None:
    """Look, once and before any worker, whether there is anybody to let in.

    In a process of its own: what this one imports, every worker has, before gevent
    can patch it.
    """
    if pid := os.fork():
        _, status = os.waitpid(pid, 0)
        if status:
            sys.exit(1)
        return
    gc.disable()  # nothing that is imported now goes before the process does
    from application import check_admin  # noqa: PLC0415

    try:
        check_admin(_config)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        os._exit(1)
    os._exit(0)


def when_ready(_server: Any) -> None:
    """Have nobody look for garbage in what stays: see config/memory.py."""
    gc.freeze()


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker a seat that no living one has."""
    taken = [each.seat for each in server.WORKERS.values()]
    worker.seat = metrics.free_seat(taken)


def post_fork(_server: Any, worker: Any) -> None:
    """Have the worker count where the last one on its seat has."""
    try:
        metrics.take_seat(worker.seat)
    except OSError as error:
        log.warning("metrics.not_shared", error=str(error))


def post_worker_init(worker: Any) -> None:
    """Start what works by itself, after the fork."""
    worker.wsgi.extensions["bellhop"].start(stopping=lambda: not worker.alive)


def worker_exit(_server: Any, worker: Any) -> None:
    """End what the worker runs."""
    if getattr(worker, "wsgi", None) is not None:
        worker.wsgi.extensions["bellhop"].close()


def child_exit(_server: Any, worker: Any) -> None:
    """Forget what the worker was doing when it ended, in whatever way."""
    metrics.leave_seat(worker.seat)


def on_exit(_server: Any) -> None:
    """Remove what was counted: the next master begins anew."""
    metrics.end_sharing()
