"""The development server: python run.py [-h HOST] [-p PORT] [-e ENV] [-f ENV_FILE]."""

import logging
import signal
import sys
from contextlib import suppress
from typing import Any

import click
import structlog
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from config.config import read_config, read_env_file
from config.memory import kept_to_the_end
from config.secrecy import hide_process
from config.settings import SettingsError

log = structlog.get_logger(__name__)


class QuietHandler(WSGIRequestHandler):
    """Leaves requests to the log, which has a line of each already."""

    def log_request(self, *_: Any) -> None:
        """Log nothing."""


@click.command(context_settings={"help_option_names": ["--help"]})
@click.option("-h", "--host", help="The address to listen on.  [BIND_ADDRESS]")
@click.option("-p", "--port", type=click.IntRange(1, 65535), help="The port.  [PORT]")
@click.option("-e", "--env", help="development, testing or production.  [FLASK_ENV]")
@click.option(
    "-f",
    "--env-file",
    type=click.Path(exists=True, dir_okay=False),
    help="A file of NAME=VALUE lines; the real environment wins over it.",
)
@click.option("--gevent", is_flag=True, help="Serve by gevent's WSGI server.")
def main(
    host: str | None,
    port: int | None,
    env: str | None,
    env_file: str | None,
    gevent: bool,
) -> None:
    """Serve Bellhop from one process, for development or a small container."""
    if gevent:
        _patch()
    with kept_to_the_end():
        from application import (  # noqa: PLC0415 - gevent patches before it is imported
            check_admin,
            create_app_by_config,
        )

    try:
        if env_file:
            read_env_file(env_file)
        config = read_config(env, default="development")
        app = create_app_by_config(config)
        hide_process()
        check_admin(config)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    serve = _serve_gevent if gevent else _serve_threads
    _serve(app, serve, host or config.BIND_ADDRESS, port or config.PORT)


def _serve(app: Flask, serve: Any, host: str, port: int) -> None:
    """Serve until a signal, then end what runs."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    services = app.extensions["bellhop"]
    services.start()
    try:
        with suppress(KeyboardInterrupt):
            serve(app, host, port)
    except OSError as error:
        raise click.ClickException(f"{host}:{port}: {error}") from error
    finally:
        services.close()


def _serve_threads(app: Flask, host: str, port: int) -> None:
    server = make_server(host, port, app, threaded=True, request_handler=QuietHandler)
    log.info("server.listening", host=host, port=server.port)
    server.serve_forever()


def _serve_gevent(app: Flask, host: str, port: int) -> None:
    import gevent  # noqa: PLC0415 - an optional part
    from gevent.pywsgi import WSGIHandler, WSGIServer  # noqa: PLC0415

    class Handler(WSGIHandler):  # type: ignore[misc]
        def get_environ(self) -> dict[str, Any]:
            """Tell the connection, so that one who hangs up is noticed."""
            environ: dict[str, Any] = super().get_environ()
            return environ | {"werkzeug.socket": self.socket}

        def finalize_headers(self) -> None:
            """Chunk no answer to a HEAD: the last chunk would be sent, as a body."""
            super().finalize_headers()
            self.response_use_chunked &= self.command != "HEAD"

    server = WSGIServer(
        (host, port),
        app,
        log=None,
        error_log=logging.getLogger("gevent"),
        handler_class=Handler,
    )
    server.start()
    # An exception in a handler of Python's would end whichever greenlet runs just then.
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, server.stop)
    log.info("server.listening", host=host, port=server.server_port)
    server.serve_forever()


def _patch() -> None:
    try:
        from gevent import monkey  # noqa: PLC0415 - an optional part
    except ImportError as error:
        raise click.ClickException(
            "--gevent needs gevent: pip install -r requirements-gevent.txt"
        ) from error
    monkey.patch_all()


if __name__ == "__main__":
    main()
