"""Every setting, with type, default, unit and reason; the environments.

This package is the only reader of the process's environment. How a setting is
read stands in :mod:`config.settings`.
"""

import os
import secrets
import socket
import tempfile
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from dotenv.parser import Binding, parse_stream

from config.metrics import own_seat, shared_folder
from config.settings import (
    Setting,
    SettingsError,
    as_host_name,
    boolean,
    choice,
    host_name,
    integer,
    optional_text,
    pairs,
    seconds,
    text,
    url,
    url_prefixes,
    username,
)
from config.sms import SmsSettings

PROJECT = Path(__file__).resolve().parent.parent

#: Modules with a ``register(app)`` of their own, in the order of registration.
registered_app = ["app"]

_CHILD_DEFAULTS = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/",
    "LANG": "C.UTF-8",
}

# What is signed or remembered for as long as this service runs, and written nowhere.
# Workers are forked from the process that has it, so that they have the same.
_RUN_KEY = secrets.token_bytes(32)

# With the type that the setting has.
_NO_PREFIX: tuple[str, ...] = ()
_NO_LABELS: dict[str, str] = {}

# What TASK_BACKEND=celery needs beside what always runs, and the settings of it.
_CELERY_PACKAGES = ("celery", "redis")
_CELERY_URLS = ("CELERY_BROKER_URL", "REDIS_URL")

# SQLite in memory, which no other worker sees.
_NO_FILE = ("sqlite://", "sqlite:///", "sqlite:///:memory:")


class BaseConfig(SmsSettings):
    """What holds in every environment unless a subclass says otherwise."""

    FLASK_ENV = "base"
    TESTING = False
    # Whether routes that take an account in production are open to everybody.
    OPEN_TO_ALL = True

    PORT = Setting(integer(1, 65535), 5000, "the TCP port to listen on")
    BIND_ADDRESS = Setting(
        text, "127.0.0.1", "the address to listen on; 0.0.0.0 is every one"
    )
    WORKERS = Setting(integer(1, 256), 4, "gunicorn's worker processes")
    THREADS = Setting(
        integer(1, 1024), 32, "requests that one worker handles at a time"
    )
    LOG_LEVEL = Setting(
        choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        "INFO",
        "the lowest level that is logged",
    )
    LOG_FILE = Setting(
        optional_text, None, "a file for the log, rotated by size; unset: stdout"
    )
    LOG_FILE_BYTES = Setting(
        integer(1024, 10**12), 10_000_000, "size at which LOG_FILE rotates", unit="B"
    )
    LOG_FILE_COUNT = Setting(
        integer(1, 1000), 5, "rotated files that are kept beside LOG_FILE"
    )
    INSTANCE_PATH = Setting(
        text, str(PROJECT / "instance"), "the folder of everything that is kept"
    )
    SECRET_KEY = Setting(
        optional_text,
        None,
        "the key of what the service signs; unset: made once, kept in INSTANCE_PATH",
        secret=True,
    )
    DATABASE_URL = Setting(
        url("sqlite", "postgresql+psycopg"),
        "",
        "where records are kept; unset: SQLite in INSTANCE_PATH",
        secret=True,
    )
    TASK_BACKEND = Setting(
        choice("threads", "celery"),
        "threads",
        "what runs tasks: this service itself, or workers of Celery on any hosts",
    )
    CELERY_BROKER_URL = Setting(
        url("redis", "rediss", "amqp", "amqps"),
        "",
        "the broker of Celery's messages, with TASK_BACKEND=celery",
        secret=True,
    )
    REDIS_URL = Setting(
        url("redis", "rediss", "unix"),
        "",
        "Redis or Valkey for outputs, with TASK_BACKEND=celery",
        secret=True,
    )
    BELLHOP_LABELS = Setting(
        pairs, _NO_LABELS, "what this host is, for runs on all hosts that are the same"
    )
    BELLHOP_HOST = Setting(
        host_name,
        as_host_name(socket.gethostname()),
        "this host's name in tasks and paths; unset: its hostname",
    )
    MAX_CONTENT_LENGTH = Setting(
        integer(1, 10**9), 1024 * 1024, "the largest request body taken", unit="B"
    )
    RESPONSE_UUID = Setting(
        boolean, False, "put the request id into every JSON object answered"
    )
    CMD_LINE_NUM = Setting(
        integer(1, 1_000_000), 100, "the most lines that one poll gives"
    )
    EXEC_ALLOW_SHELL = Setting(
        boolean, True, "run `cmd` of a request in /bin/sh; whoever may call may all"
    )
    EXEC_TOKEN_REQUIRED = Setting(
        boolean, False, "take only signed uuids at /api/exec and /api/poll"
    )
    EXEC_TOKEN_SECONDS = Setting(
        integer(1, 86400), 300, "how long a signed uuid is good for", unit="s"
    )
    EXEC_COMMANDS = Setting(
        text,
        str(PROJECT / "config" / "commands.toml"),
        "the file of the commands that may be run; read again when it changes",
    )
    EXEC_MAX_RUNNING = Setting(
        integer(1, 10_000), 8, "commands that run at a time on this host"
    )
    EXEC_MAX_QUEUED = Setting(
        integer(0, 10_000), 64, "commands that wait on this host for room to run"
    )
    EXEC_TIMEOUT_SECONDS = Setting(
        seconds(0.1, 10**8), 3600.0, "how long a command may run", unit="s"
    )
    EXEC_GRACE_SECONDS = Setting(
        seconds(0, 3600), 5.0, "from TERM to KILL when a command is ended", unit="s"
    )
    EXEC_OUTPUT_HEAD_BYTES = Setting(
        integer(0, 10**9), 64 * 1024, "kept of an output's beginning", unit="B"
    )
    EXEC_OUTPUT_TAIL_BYTES = Setting(
        integer(4096, 10**9), 1024 * 1024, "kept of an output's end", unit="B"
    )
    NOTIFY_URL_PREFIXES = Setting(
        url_prefixes,
        _NO_PREFIX,
        "what a webhook's URL begins with that is told of the end of a command, by "
        "commas; unset: none is",
    )
    IOSTAT_SYNC_SECONDS = Setting(
        integer(1, 3600),
        30,
        "how long /v1/iostat/ may wait before it answers",
        unit="s",
    )
    IOSTAT_MAX_RUNNING = Setting(
        integer(1, 10_000), 8, "iostat tasks that run at a time on this host"
    )
    ADMIN_USERNAME = Setting(
        username, "admin", "the first admin's name, used while there is no admin"
    )
    ADMIN_PASSWORD = Setting(
        optional_text,
        None,
        "the first admin's password, used while there is no admin",
        secret=True,
    )
    PASSWORD_MIN_LENGTH = Setting(
        integer(1, 1000), 6, "characters that a password has at least"
    )
    SESSION_SECONDS = Setting(
        integer(60, 30 * 86400), 43200, "how long a browser stays signed in", unit="s"
    )
    AUDIT_RETENTION_SECONDS = Setting(
        seconds(1, 10**10), 365 * 86400.0, "how long the audit is kept", unit="s"
    )
    METRICS_TOKEN = Setting(
        optional_text,
        None,
        "the token that /metrics takes; unset: it is open to whoever reaches it",
        secret=True,
    )
    TASK_RETENTION_SECONDS = Setting(
        seconds(1, 10**10),
        7 * 86400.0,
        "how long a finished task and its output are kept",
        unit="s",
    )
    TASK_RETENTION_COUNT = Setting(
        integer(1, 10**9), 100_000, "how many finished tasks are kept"
    )

    def __init__(self) -> None:
        super().__init__()
        self.EXEC_ENVIRONMENT = child_environment()
        self.RUN_KEY = _RUN_KEY
        self.METRICS_FOLDER = shared_folder()
        self.METRICS_SEAT = own_seat
        self.INSTANCE_PATH = str(Path(self.INSTANCE_PATH).absolute())
        self.EXEC_COMMANDS = str(Path(self.EXEC_COMMANDS).absolute())
        self.SMS_TEMPLATES = str(Path(self.SMS_TEMPLATES).absolute())
        self.SMS_CONF = self.sms_conf()
        if not self.DATABASE_URL:
            self.DATABASE_URL = f"sqlite:///{quote(self.INSTANCE_PATH)}/bellhop.db"

    def cross_check(self) -> list[str]:
        """Return the faults that a cast alone cannot see."""
        return [
            *super().cross_check(),
            *self._database_faults(),
            *self._admin_faults(),
            *self._celery_faults(),
        ]

    def _admin_faults(self) -> list[str]:
        length, least = len(self.ADMIN_PASSWORD or ""), self.PASSWORD_MIN_LENGTH
        if 0 < length < least:
            return [f"ADMIN_PASSWORD is shorter than {least} characters"]
        return []

    def _celery_faults(self) -> list[str]:
        if self.TASK_BACKEND != "celery":
            return []
        unset = [name for name in _CELERY_URLS if not getattr(self, name)]
        faults = [f"TASK_BACKEND=celery needs {name}" for name in unset]
        if not all(map(find_spec, _CELERY_PACKAGES)):
            faults.append(
                "TASK_BACKEND=celery needs Celery: "
                "pip install -r requirements-celery.txt"
            )
        return faults

    def _database_faults(self) -> list[str]:
        if self.DATABASE_URL.partition("?")[0] in _NO_FILE:
            return ["DATABASE_URL names no file, and every worker would have its own"]
        if self.DATABASE_URL.startswith("postgresql") and not find_spec("psycopg"):
            return [
                "DATABASE_URL needs psycopg: pip install -r requirements-postgres.txt"
            ]
        return []


class DevelopmentConfig(BaseConfig):
    """On one's own machine: open to whoever reaches it, so localhost only."""

    FLASK_ENV = "development"


class TestingConfig(BaseConfig):
    """For tests: as development, but Flask's TESTING is on."""

    FLASK_ENV = "testing"
    TESTING = True
    SMS_PROVIDER = BaseConfig.SMS_PROVIDER.with_default(("memory",))


class ProductionConfig(BaseConfig):
    """In earnest: nothing runs without a signed caller and a catalogue."""

    FLASK_ENV = "production"
    OPEN_TO_ALL = False
    EXEC_ALLOW_SHELL = BaseConfig.EXEC_ALLOW_SHELL.with_default(False)
    EXEC_TOKEN_REQUIRED = BaseConfig.EXEC_TOKEN_REQUIRED.with_default(True)
    SMS_PROVIDER = BaseConfig.SMS_PROVIDER.with_default(())
    # Every message costs money, and whoever may send may be robbed of it.
    SMS_LIMIT_RECEIVER = BaseConfig.SMS_LIMIT_RECEIVER.with_default(
        ((5, 3600.0), (20, 86400.0))
    )
    SMS_LIMIT_CALLER = BaseConfig.SMS_LIMIT_CALLER.with_default(((2000, 3600.0),))
    SMS_LIMIT_COUNTRY = BaseConfig.SMS_LIMIT_COUNTRY.with_default(((5000, 86400.0),))
    SMS_LIMIT_TOTAL = BaseConfig.SMS_LIMIT_TOTAL.with_default(((10_000, 86400.0),))


config_map: dict[str, type[BaseConfig]] = {
    "development": DevelopmentConfig,
    "testing": TestingConfig,
    "production": ProductionConfig,
}


def read_config(env: str | None = None, *, default: str = "production") -> BaseConfig:
    """Return the settings of environment `env`, else of FLASK_ENV, else of `default`.

    Raises SettingsError naming every fault at once.
    """
    name = env or os.environ.get("FLASK_ENV") or default
    if name not in config_map:
        known = ", ".join(config_map)
        raise SettingsError([f"FLASK_ENV={name!r} is not one of {known}"])
    return config_map[name]()


def read_env_file(path: str | Path) -> None:
    """Put the settings of a file of NAME=VALUE lines into the environment.

    What the environment has already, it keeps. Raises SettingsError where a line
    is no setting, since a setting that is silently passed over is worse than none.
    """
    values, faults = {}, []
    try:
        with Path(path).open(encoding="utf-8") as file:
            bindings = list(parse_stream(file))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path} cannot be read: {error}"]) from error
    for binding in bindings:
        if binding.error or "\0" in binding.original.string:
            faults.append(f"{path}: line {_line(binding)} is no NAME=VALUE")
        elif binding.key is not None and binding.value is None:
            faults.append(f"{path}: {binding.key!r} has no = and value")
        elif binding.key is not None:
            values[binding.key] = binding.value or ""
    if faults:
        raise SettingsError(faults)
    for name, value in values.items():
        os.environ.setdefault(name, value)


def _line(binding: Binding) -> int:
    """Return the line that a binding stands on, after the blank ones before it."""
    given = binding.original.string
    blank = given[: len(given) - len(given.lstrip())]
    return binding.original.line + blank.count("\n")


def child_environment() -> dict[str, str]:
    """Return all that a command sees of this process's environment.

    Never more: the service's own environment holds its secrets.
    """
    kept = {name: os.environ.get(name) for name in ("PATH", "HOME", "LANG", "TZ")}
    return _CHILD_DEFAULTS | {name: value for name, value in kept.items() if value}


def prepare_instance(config: BaseConfig) -> None:
    """Make the instance folder and the secret key if they are not there.

    Raises SettingsError where the folder cannot be written.
    """
    folder = Path(config.INSTANCE_PATH)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "output").mkdir(mode=0o700, exist_ok=True)
        config.SECRET_KEY = config.SECRET_KEY or _kept_key(folder / "secret_key")
        config.SMS_RECEIPTS_SECRET = config.SMS_RECEIPTS_SECRET or _kept_key(
            folder / "sms_receipts_secret"
        )
    except (OSError, UnicodeDecodeError) as error:
        fault = f"INSTANCE_PATH={str(folder)!r} cannot be used: {error}"
        raise SettingsError([fault]) from error


def _kept_key(path: Path) -> str:
    """Return the key kept at `path`, making it first when there is none.

    Workers start at the same moment: a link either succeeds with a whole file or
    leaves the first one's in place, so that all of them read the same key. Their
    drafts have random names, since workers in containers may have the same pid.
    """
    if not path.exists():
        with tempfile.NamedTemporaryFile(  # which is made 0600
            "w", encoding="ascii", dir=path.parent, prefix=f"{path.name}."
        ) as draft:
            draft.write(secrets.token_hex(32))
            draft.flush()
            os.fsync(draft.fileno())
            try:
                os.link(draft.name, path)
            except FileExistsError:
                pass
    if key := path.read_text(encoding="utf-8").strip():
        return key
    raise SettingsError([f"{path} is empty: remove it, or set {path.name.upper()}"])
