"""Puts an application together: the log first, then settings, then the rooms."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import click
import structlog
from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface

from app.errors import StorageUnavailable
from app.services import Services
from app.sms.registry import FaultyProvider
from config.config import BaseConfig, prepare_instance, read_config, registered_app
from config.logger import JsonLogger, config_logger
from config.memory import give_back_large_blocks
from config.settings import SettingsError

_NO_ADMIN = (
    "there is no admin: set ADMIN_PASSWORD (and ADMIN_USERNAME), "
    "or run: flask --app server user add NAME"
)

log = structlog.get_logger(__name__)


class NoSession(SessionInterface):
    """No cookie is read or set: every request says for itself who sends it."""

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002
        """Return a session that can hold nothing."""
        return NullSession()


def check_admin(conf: BaseConfig) -> None:
    """Make the first admin; raise SettingsError where production would have none.

    A database that is away now may have one: then the service starts, and lets in
    nobody before it is back.
    """
    with _faults_told():
        services = Services.build(vars(conf))
    try:
        if not services.accounts.has_admin() and not conf.OPEN_TO_ALL:
            raise SettingsError([_NO_ADMIN])
    except StorageUnavailable as error:
        log.warning("admin.not_checked", error=str(error.__cause__))
    finally:
        services.close()


def create_app(env: str | None = None) -> Flask:
    """Return the application for `env`, else for FLASK_ENV, else for production.

    It starts no thread, no process and no connection. Raises SettingsError, which
    names every faulty setting at once; below a command of `flask`, as that takes it.
    """
    config_logger()
    try:
        return create_app_by_config(read_config(env))
    except SettingsError as error:
        if click.get_current_context(silent=True) is None:
            raise
        raise click.ClickException(str(error)) from error


def create_app_by_config(conf: BaseConfig) -> Flask:
    """Return the application that `conf` describes."""
    config_logger()
    give_back_large_blocks()
    prepare_instance(conf)
    app = Flask("bellhop", instance_path=conf.INSTANCE_PATH, static_folder=None)
    app.config.from_object(conf)
    app.session_interface = NoSession()
    JsonLogger(app)
    with _faults_told():
        for name in registered_app:
            import_module(name).register(app)
    return app


@contextmanager
def _faults_told() -> Iterator[None]:
    """Tell a setting that only its provider can read as any other that is faulty."""
    try:
        yield
    except FaultyProvider as error:
        raise SettingsError([str(error)]) from error
